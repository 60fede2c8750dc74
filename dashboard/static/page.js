// Pasted pictures go where dropped ones go; a clicked map fills the screen; a slider's number stays within its bounds.
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
// An emptied box gets its number back, one out of bounds the nearest in them, before Gradio sends it on: the server would
// refuse it in words about its own insides.
document.addEventListener('focusin', (event) => {
  if (event.target.matches?.('input[type=number][min][max]')) event.target.dataset.kept = event.target.value;
});
document.addEventListener('blur', (event) => {
  const box = event.target;
  if (!box.matches?.('input[type=number][min][max]')) return;
  const wanted = box.value === '' ? box.dataset.kept : Math.min(Math.max(box.value, box.min), box.max);
  if (String(wanted) === box.value) return;
  box.value = wanted;
  box.dispatchEvent(new Event('input', { bubbles: true }));
}, true);
