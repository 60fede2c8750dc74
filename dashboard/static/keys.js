// What the keyboard does beyond Gradio: a row of tabs and the strip of pictures are one stop each, arrow keys go on
// from there; Escape closes parameters; sliders over many orders of magnitude move by doubling.
(() => {
  const visible = (one) => one.offsetParent !== null;
  const typing = (one) => one.matches?.('input, textarea, select, [contenteditable=true], [role=option]');

  // -- tabs
  const tabs = () => [...document.querySelectorAll('#tabs > .tab-wrapper button[role=tab]')].filter(visible);
  const one_stop = () => {
    for (const tab of tabs()) {
      const wanted = tab.getAttribute('aria-selected') === 'true' ? '0' : '-1';
      if (tab.getAttribute('tabindex') !== wanted) tab.setAttribute('tabindex', wanted);
    }
  };
  let due = 0;
  const soon = () => { cancelAnimationFrame(due); due = requestAnimationFrame(() => { one_stop(); ladders(); }); };
  new MutationObserver(soon).observe(document, { childList: true, subtree: true, attributes: true, attributeFilter: ['aria-selected'] });

  // -- pictures: the next and the previous one, wherever one is on the tab
  const pictures = () => {
    const rows = [...document.querySelectorAll('#gallery tr[data-id] button[data-act=pick]')].filter(visible);
    return rows.length > 1 ? rows : [...document.querySelectorAll('#strip button[data-act=pick]')].filter(visible);
  };
  const now = () => document.querySelector('#strip li[aria-current] button[data-act=pick]')?.dataset.id;
  let follow = false;
  const turn = (by) => {
    const every = pictures(), at = every.findIndex((one) => one.dataset.id === now());
    const next = every[(at + by + every.length) % every.length];
    follow = document.activeElement?.closest?.('#strip') !== null;
    next?.click();
  };
  new MutationObserver(() => {  // the strip or the rows are drawn anew
    for (const row of document.querySelectorAll('#gallery tr[data-id]')) row.classList.toggle('current', row.dataset.id === now());
    if (!follow || !document.querySelector('#strip [aria-current]')) return;
    if (document.activeElement === document.body) document.querySelector('#strip [aria-current] button').focus();
  }).observe(document, { childList: true, subtree: true });

  document.addEventListener('keydown', (event) => {
    if (event.defaultPrevented || event.altKey || event.ctrlKey || event.metaKey) return;
    const by = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (by && event.target.matches?.('button[role=tab]')) {
      const every = tabs(), next = every[(every.indexOf(event.target) + by + every.length) % every.length];
      next?.focus();
      next?.click();
      event.preventDefault();
    } else if (by && !typing(event.target) && !document.querySelector('dialog[open]') && pictures().length > 1) {
      turn(by);
      event.preventDefault();
    } else if (event.key === 'Delete' && event.target.closest?.('#strip')) {
      event.target.closest('li')?.querySelector('[data-act=remove]')?.click();
    } else if (event.key === 'Escape') {
      const open = [...document.querySelectorAll('[id^=parameters-] > .label-wrap.open')].filter(visible);
      const mine = open.find((label) => label.parentElement.contains(event.target)) ?? open.at(-1);
      mine?.click();
      mine?.focus();
    }
  });

  // -- sliders of powers: a handle of its own that moves the number beside it
  const steps = (low, high) => {
    const found = [];
    for (let value = low; value < high; value *= 2) found.push(value);
    return [...found, high];
  };
  const nearest = (ladder, value) => {
    const far = (one) => Math.abs(Math.log(one) - Math.log(Math.max(value, ladder[0])));
    return ladder.reduce((best, one, i) => (far(one) < far(ladder[best]) ? i : best), 0);
  };
  const ladders = () => {
    for (const block of document.querySelectorAll('.powers:not(.laddered)')) {
      const handle = block.querySelector('input[type=range]'), box = block.querySelector('input[type=number]');
      if (!handle || !box) continue;
      const ladder = steps(Number(box.min), Number(box.max));
      const own = Object.assign(document.createElement('input'), { type: 'range', min: 0, max: ladder.length - 1, step: 1, className: `${handle.className} ladder` });
      own.setAttribute('aria-label', handle.getAttribute('aria-label') ?? '');
      const follow = () => {
        if (own === document.activeElement && own.matches(':active')) return;
        own.value = nearest(ladder, Number(box.value));
        own.setAttribute('aria-valuetext', box.value);
        own.style.setProperty('--range_progress', `${own.value / (ladder.length - 1) * 100}%`);
      };
      own.addEventListener('input', () => {
        handle.value = ladder[own.value];
        handle.dispatchEvent(new Event('input', { bubbles: true }));
        own.setAttribute('aria-valuetext', ladder[own.value]);
        own.style.setProperty('--range_progress', `${own.value / (ladder.length - 1) * 100}%`);
      });
      own.addEventListener('pointerup', () => handle.dispatchEvent(new PointerEvent('pointerup', { bubbles: true })));
      own.addEventListener('pointerup', (event) => event.stopPropagation());
      own.addEventListener('keyup', () => {
        clearTimeout(own.timer);
        own.timer = setTimeout(() => handle.dispatchEvent(new PointerEvent('pointerup', { bubbles: true })), 250);
      });
      handle.after(own);
      handle.tabIndex = -1;
      handle.setAttribute('aria-hidden', 'true');
      block.classList.add('laddered');
      // the server may set the number, too
      for (const event of ['input', 'change', 'pointerenter', 'focusin']) block.addEventListener(event, () => setTimeout(follow));
      new MutationObserver(follow).observe(handle, { attributes: true });  // Gradio paints the part that is filled
      follow();
    }
  };
})();
