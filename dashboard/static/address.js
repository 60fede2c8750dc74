// The address follows what is in view; a link, Back and Forward bring it again. The server says what is in view in
// #address; the tab is known here.
(() => {
  const KNOWN = ['model', 'data', 'picture', 'report', 'cell', 'tab'];
  const tabs = () => [...document.querySelectorAll('#tabs button[role=tab]')];
  const nameOf = (button) => button.textContent.trim().toLowerCase();
  let told = null, settled = false, waiting = 0;
  const write = () => {
    const own = new URLSearchParams(location.search);
    const wanted = new URLSearchParams(told ?? '');
    const open = tabs().find((button) => button.getAttribute('aria-selected') === 'true');
    if (open) wanted.set('tab', nameOf(open));
    for (const name of KNOWN) wanted.has(name) ? own.set(name, wanted.get(name)) : own.delete(name);
    const address = `${location.pathname}?${own}${location.hash}`;
    if (address === location.pathname + location.search + location.hash) return;
    settled ? history.pushState(null, '', address) : history.replaceState(null, '', address);
  };
  // several parts change with one click
  const soon = () => { clearTimeout(waiting); waiting = setTimeout(write, 500); };
  new MutationObserver(() => {
    const now = document.querySelector('#address [data-address]')?.dataset.address;
    if (now !== undefined && now !== told) { told = now; soon(); }
  }).observe(document, { childList: true, subtree: true, attributes: true, attributeFilter: ['data-address'] });
  document.addEventListener('click', (event) => { if (event.target.closest?.('#tabs button[role=tab]')) soon(); });
  for (const kind of ['pointerdown', 'keydown']) document.addEventListener(kind, () => { settled = true; }, true);
  window.addEventListener('popstate', () => location.reload());
  // the tab that a link names, or that was open before a reload, instead of the one that the page opens with
  const asked = new URLSearchParams(location.search).get('tab');
  if (!asked) return;
  const started = Date.now();
  const back = setInterval(() => {
    const tab = tabs().find((button) => nameOf(button) === asked);
    if (tab && tab.getAttribute('aria-selected') !== 'true') tab.click();
    if (tab || Date.now() - started > 20000) clearInterval(back);
  }, 100);
})();
