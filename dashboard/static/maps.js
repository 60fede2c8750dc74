// Maps on the Explain tab: one pointer over all of them, with each map's number and the segment's name; rows of the
// evidence and regions of the picture point at each other; zoom, pan and threshold for all at once. Nobody is asked for
// any of it: the numbers came with the maps (data-grid), the segments with the picture.
const maps = (() => {
  const style = document.documentElement.style;
  const known = new WeakMap();
  const all = () => [...document.querySelectorAll('.maps figure.map, .viewer figure.map')];
  const photoOf = (figure) => figure.querySelector('.photo[data-frame]');

  // {rows, columns, at: numbers row by row, average, top, linked, signed} of a figure with a finished map, or null.
  const numbers = (figure) => {
    const text = figure.dataset.grid;
    if (!text) return null;
    const found = known.get(figure);
    if (found?.text === text) return found;
    const bytes = Int8Array.from(atob(text), (c) => c.charCodeAt(0));
    const { rows, columns, most, average, top, linked, signed } = figure.dataset;
    const at = Float32Array.from(bytes, (b) => Math.sign(b) * (b / 127) ** 2 * most);
    const made = { text, rows: +rows, columns: +columns, at, average: +average, top: +top, linked: linked === '1', signed: signed === '1' };
    known.set(figure, made);
    return made;
  };

  const minus = (text) => text.replace('-', '\u2212');
  const figures = (value) => minus(Math.abs(value) < 10 ? value.toFixed(1) : value.toFixed(0));
  const said = (map, value) => {
    const text = map.linked ? `${figures(value / map.average)}x average` : minus(value.toPrecision(2));
    return /^\u22120\.0x/.test(text) ? text.slice(1) : map.signed && value > 0 && !text.startsWith('0.0x') ? `+${text}` : text;
  };

  // What a figure says at a place of the picture, given in parts of its width and height.
  const told = (figure, u, v) => {
    const map = numbers(figure);
    if (!map) return '';
    const [left, top, width, height] = photoOf(figure).dataset.frame.split(',').map(Number);
    const x = Math.floor((u - left) / width * map.columns), y = Math.floor((v - top) / height * map.rows);
    if (x < 0 || y < 0 || x >= map.columns || y >= map.rows) return 'not seen by the model';
    return said(map, map.at[y * map.columns + x]);
  };

  // -- segments
  const drawn = () => document.querySelector('#picture svg.segments');
  const pathsOf = (svg) => [...svg.querySelectorAll('path[data-segment]')];
  const under = (u, v) => {
    const svg = drawn();
    if (!svg) return null;
    const { width, height } = svg.viewBox.baseVal;
    const point = new DOMPoint(u * width, v * height);
    return pathsOf(svg).reverse().find((path) => path.isPointInFill(point)) ?? null;
  };
  let lit = null;
  // The segment of this number is lit in the picture, in every map and in the rows of the evidence; null for none.
  const light = (segment) => {
    const svg = drawn();
    const path = segment === null || !svg ? null : pathsOf(svg).find((one) => one.dataset.segment === segment);
    for (const row of document.querySelectorAll('.erow[data-segment]')) row.classList.toggle('lit', row.dataset.segment === segment);
    if (svg) for (const one of pathsOf(svg)) one.classList.toggle('lit', one === path);
    for (const figure of all()) {
      const photo = photoOf(figure);
      if (!photo || photo.contains(svg)) continue;
      let echo = photo.querySelector('svg.echo');
      if (!path) { echo?.remove(); continue; }
      if (!echo) {
        echo = svg.cloneNode(false);
        echo.classList.add('echo');
        photo.append(echo);
      }
      if (echo.dataset.segment !== segment || !echo.firstChild) echo.replaceChildren(path.cloneNode(false));
      echo.dataset.segment = segment;
    }
    lit = segment;
  };

  // -- the pointer
  const clear = () => {
    for (const one of document.querySelectorAll('.readout, .photo > .spot')) one.remove();
    if (lit !== null) light(null);
  };
  const part = (parent, name) => {
    let found = parent.querySelector(`:scope > .${name}`);
    if (!found) {
      found = Object.assign(document.createElement('span'), { className: name });
      found.setAttribute('aria-hidden', 'true');
      parent.append(found);
    }
    return found;
  };
  const point = (u, v) => {
    const path = under(u, v);
    light(path?.dataset.segment ?? null);
    const name = path?.dataset.name ?? '';
    for (const figure of all()) {
      const photo = photoOf(figure);
      if (!photo) continue;
      const spot = part(photo, 'spot');
      spot.style.left = `${u * 100}%`;
      spot.style.top = `${v * 100}%`;
      const words = [...(figure.peers ?? [figure]).map((one) => told(one, u, v)), name].filter(Boolean);
      const readout = part(photo.parentElement, 'readout');
      readout.textContent = words.join(' \u00b7 ');
      readout.hidden = !words.length;
    }
  };
  const placeOf = (event) => {
    const photo = event.target.closest?.('.canvas')?.querySelector(':scope > .photo[data-frame]');
    if (!photo) return null;
    const box = photo.getBoundingClientRect();
    const u = (event.clientX - box.left) / box.width, v = (event.clientY - box.top) / box.height;
    return u >= 0 && v >= 0 && u < 1 && v < 1 ? { photo, u, v } : null;
  };
  let frame = 0, shown = false;
  document.addEventListener('pointermove', (event) => {
    cancelAnimationFrame(frame);
    frame = requestAnimationFrame(() => {
      const place = dragged ? null : placeOf(event);
      const row = event.target.closest?.('.erow[data-segment]');
      if (place) point(place.u, place.v);
      else if (row) { if (lit !== row.dataset.segment) { clear(); light(row.dataset.segment); } }
      else if (shown) clear();
      shown = Boolean(place || row);
    });
  });

  // -- zoom and pan, the same for all
  let zoom = 1, left = 0, top = 0, dragged = null;
  const slider = (name) => document.querySelector(`.tools input[name=${name}]`);
  const look = (to, u, v) => {
    const before = zoom;
    zoom = Math.min(16, Math.max(1, to));
    // what lies under the pointer stays there
    const inside = (corner, at) => Math.min(1 - 1 / zoom, Math.max(0, at - (at - corner) * before / zoom));
    left = inside(left, u);
    top = inside(top, v);
    style.setProperty('--zoom', zoom);
    style.setProperty('--left', left);
    style.setProperty('--top', top);
    document.documentElement.classList.toggle('zoomed', zoom > 1);
    const field = slider('zoom');
    if (field) {
      field.value = Math.log2(zoom);
      field.nextElementSibling.textContent = `${zoom.toFixed(1)}x`;
    }
  };
  document.addEventListener('wheel', (event) => {
    const place = event.ctrlKey || event.metaKey ? placeOf(event) : null;
    if (!place) return;
    event.preventDefault();
    look(zoom * Math.exp(-event.deltaY / 300), place.u, place.v);
  }, { passive: false });
  document.addEventListener('pointerdown', (event) => {
    const place = zoom > 1 && event.button === 0 ? placeOf(event) : null;
    if (!place) return;
    const box = place.photo.getBoundingClientRect();
    dragged = { x: event.clientX, y: event.clientY, left, top, width: box.width, height: box.height, far: false };
  });
  document.addEventListener('pointermove', (event) => {
    if (!dragged) return;
    const x = event.clientX - dragged.x, y = event.clientY - dragged.y;
    dragged.far ||= Math.hypot(x, y) > 4;
    left = Math.min(1 - 1 / zoom, Math.max(0, dragged.left - x / dragged.width));
    top = Math.min(1 - 1 / zoom, Math.max(0, dragged.top - y / dragged.height));
    style.setProperty('--left', left);
    style.setProperty('--top', top);
  });
  document.addEventListener('pointerup', () => {
    if (dragged?.far) window.addEventListener('click', (event) => event.stopPropagation(), { capture: true, once: true });
    dragged = null;
  });

  // -- threshold
  let cut = 0;
  // What is less than this part of a map's scale is masked away.
  const hide = (figure) => {
    const layer = figure.querySelector('.photo > img');
    const map = layer && numbers(figure);
    if (!map) return;
    if (cut === 0) { layer.style.maskImage = ''; return; }
    if (layer.dataset.cut === String(cut) && layer.style.maskImage) return;
    const canvas = Object.assign(document.createElement('canvas'), { width: map.columns, height: map.rows });
    const context = canvas.getContext('2d');
    const image = context.createImageData(map.columns, map.rows);
    map.at.forEach((value, i) => { image.data[4 * i + 3] = Math.abs(value) >= cut * map.top ? 255 : 0; });
    context.putImageData(image, 0, 0);
    const [x, y, width, height] = photoOf(figure).dataset.frame.split(',').map(Number);
    const along = (start, size) => (Math.abs(1 - size) < 1e-6 ? 0 : start / (1 - size) * 100);
    layer.style.maskImage = `url(${canvas.toDataURL()})`;
    layer.style.maskRepeat = 'no-repeat';
    layer.style.maskSize = `${width * 100}% ${height * 100}%`;
    layer.style.maskPosition = `${along(x, width)}% ${along(y, height)}%`;
    layer.dataset.cut = cut;
  };
  const threshold = (part) => {
    cut = part;
    style.setProperty('--cut', part);
    all().forEach(hide);
    const map = all().map(numbers).find(Boolean);
    const field = slider('cut');
    if (field) field.nextElementSibling.textContent = map?.linked ? `${(part * map.top / map.average).toFixed(1)}x average` : `${Math.round(part * 100)} % of the scale`;
  };
  document.addEventListener('input', (event) => {
    if (!event.target.closest?.('.tools')) return;
    if (event.target.name === 'zoom') look(2 ** event.target.value, left + 0.5 / zoom, top + 0.5 / zoom);
    if (event.target.name === 'cut') threshold(event.target.value / 100);
  });
  // a map that was drawn anew is cut off like the others
  new MutationObserver(() => { if (cut > 0) all().forEach(hide); }).observe(document, { childList: true, subtree: true });

  return { numbers, photoOf, clear, hide, light };
})();
