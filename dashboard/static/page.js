// Pasted pictures go where dropped ones go; a clicked map fills the screen.
document.addEventListener('paste', (event) => {
  const files = [...(event.clipboardData?.files ?? [])];
  const input = document.querySelector('#upload input[type=file]');
  if (!files.length || !input) return;
  const transfer = new DataTransfer();
  files.forEach((file) => transfer.items.add(file));
  input.files = transfer.files;
  input.dispatchEvent(new Event('change', { bubbles: true }));
  event.preventDefault();
});
document.addEventListener('click', (event) => {
  const canvas = event.target.closest?.('figure.map .canvas');
  if (!canvas) return;
  if (document.fullscreenElement) document.exitFullscreen();
  else canvas.requestFullscreen?.();
});
