// The address follows what is in view; a link, Back and Forward bring it again. The server says what is in view in
// #address, and what is explained in #address-explain; the tab is known here.
(() => {
  const KNOWN = ['tab', 'model', 'data', 'picture', 'report', 'cell', 'explainers', 'target', 'contrast', 'seed'];
  const tabs = () => [...document.querySelectorAll('#tabs button[role=tab]')];
  const nameOf = (button) => button.textContent.trim().toLowerCase();
  // as they stand in a link that people read
  const plain = (text) => text.replace(/%(3A|2C|3D|40|2F)/g, decodeURIComponent);
  let told = null, settled = false, waiting = 0;
  const write = () => {
    const own = new URLSearchParams(location.search);
    const wanted = new URLSearchParams(told ?? '');
    const open = tabs().find((button) => button.getAttribute('aria-selected') === 'true');
    if (open) wanted.set('tab', nameOf(open));
    for (const name of KNOWN) {
      own.delete(name);
      if (wanted.has(name)) own.append(name, wanted.get(name));
    }
    const address = `${location.pathname}?${plain(String(own))}${location.hash}`;
    if (address === location.pathname + location.search + location.hash) return;
    settled ? history.pushState(null, '', address) : history.replaceState(null, '', address);
  };
  // several parts change with one click
  const soon = () => { clearTimeout(waiting); waiting = setTimeout(write, 500); };
  new MutationObserver(() => {
    const parts = ['#address', '#address-explain'].map((id) => document.querySelector(`${id} [data-address]`)?.dataset.address);
    if (parts.includes(undefined)) return; // half of it would take the rest away
    const now = parts.filter(Boolean).join('&');
    if (now !== told) { told = now; soon(); }
  }).observe(document, { childList: true, subtree: true, attributes: true, attributeFilter: ['data-address'] });
  document.addEventListener('click', (event) => { if (event.target.closest?.('#tabs button[role=tab]')) soon(); });
  for (const kind of ['pointerdown', 'keydown']) document.addEventListener(kind, () => { settled = true; }, true);
  // the header's part asks whether this is another address or the same page again
  window.addEventListener('popstate', () => { sessionStorage.setItem('satchel-back', 'yes'); location.reload(); });
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
