// What the page adds to Gradio's components: pasted pictures, maps that fill the screen, boxes that hold what they may,
// sliders and lists that listen to the keyboard, tables that are reached by it.
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
  if (!canvas || canvas.querySelector('[data-frame]')) return; // maps have a viewer of their own
  if (document.fullscreenElement) document.exitFullscreen();
  else canvas.requestFullscreen?.();
});
// An emptied box gets its number back, one out of bounds or between steps the nearest, before Gradio sends it on: the
// server would refuse it in words about its own insides.
const NUMBER = 'input[type=number][min][max]';
document.addEventListener('focusin', (event) => {
  if (event.target.matches?.(NUMBER)) event.target.dataset.kept = event.target.value;
});
document.addEventListener('blur', (event) => {
  const box = event.target;
  if (!box.matches?.(NUMBER)) return;
  let wanted = box.dataset.kept;
  if (box.value !== '') {
    wanted = Math.min(Math.max(box.value, box.min), box.max);
    if (Number.isInteger(Number(box.step)) && Number.isInteger(Number(box.min))) wanted = Math.round(wanted);
  }
  if (String(wanted) === box.value) return;
  box.value = wanted;
  box.dispatchEvent(new Event('input', { bubbles: true }));
}, true);

// A slider's number is sent when its box is left, its handle's when the pointer lets go; Enter and the arrow keys as well.
let handle = 0;
document.addEventListener('keyup', (event) => {
  const slider = event.target;
  if (!slider.matches?.('input[type=range]') || !/^(Arrow|Page|Home|End)/.test(event.key)) return;
  clearTimeout(handle);
  handle = setTimeout(() => slider.dispatchEvent(new PointerEvent('pointerup', { bubbles: true })), 250);
});
document.addEventListener('keydown', (event) => {
  if (event.key !== 'Enter' || !event.target.matches?.(`${NUMBER}[data-testid=number-input]`)) return;
  event.target.blur();
  event.target.focus();
});

// A list is searched by typing over what it shows. Gradio opens it again on the very Tab that leaves it, and keeps words
// that fit nothing until it is left.
const LIST = 'input[role=combobox]';
document.addEventListener('focusin', (event) => {
  if (event.target.matches?.(LIST)) event.target.dataset.entered = 'yes';
});
document.addEventListener('click', (event) => {
  if (!event.target.matches?.(LIST) || !event.target.dataset.entered) return;
  delete event.target.dataset.entered;
  event.target.select();
});
window.addEventListener('keydown', (event) => {
  const list = event.target;
  if (!list.matches?.(LIST)) return;
  delete list.dataset.entered;
  if (event.key === 'Tab') event.stopPropagation();
  if (event.key === 'Escape' || event.key === 'Enter') setTimeout(() => list.blur(), 100);
}, true);

// What is wider than its place is reached by key, and only then.
let measured = 0;
const reachable = () => {
  measured = 0;
  document.querySelectorAll('.scroll').forEach((box) => { box.tabIndex = box.scrollWidth > box.clientWidth ? 0 : -1; });
};
const look = () => { measured ||= requestAnimationFrame(reachable); };
new MutationObserver(look).observe(document, { childList: true, subtree: true });
addEventListener('resize', look);
