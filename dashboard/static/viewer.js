// A map enlarged, by a click or by Enter, with its title, legend and numbers: arrow keys go on to the next one, and any
// other map can be laid beside it, with a line to drag, their difference and their rank correlation.
(() => {
  const FOR = [207, 31, 43], AGAINST = [23, 99, 198], FULL = 0.6, TOP = 4;
  const figures = () => [...document.querySelectorAll('.maps figure.map')].filter((f) => f.offsetParent && maps.photoOf(f));
  const titleOf = (figure) => figure.querySelector('figcaption b')?.textContent ?? '';
  let dialog = null, current = '', other = '', at = 0.5, differing = false;

  const build = () => {
    dialog = document.createElement('dialog');
    dialog.className = 'viewer';
    dialog.innerHTML = `
      <div class="bar">
        <button name="back" aria-label="Previous map">\u2190</button><button name="next" aria-label="Next map">\u2192</button>
        <h2></h2><label>beside <select></select></label>
        <label class="both"><input type="checkbox" name="difference"> difference</label>
        <span class="both said"></span><button name="close" aria-label="Close">\u00d7</button>
      </div>
      <figure class="map"><div class="canvas"></div></figure>
      <label class="both line">left of the line <span></span><input type="range" min="0" max="1" step="0.01"
        aria-label="where one map ends and the other begins"><span></span> right of it</label>
      <p class="differing-key" hidden></p><div class="facts"></div>`;
    document.querySelector('.gradio-container').append(dialog);
    dialog.addEventListener('click', (event) => {
      const name = event.target.name;
      if (event.target === dialog || name === 'close') dialog.close();
      if (name === 'back' || name === 'next') step(name === 'next' ? 1 : -1);
    });
    dialog.addEventListener('input', (event) => {
      if (event.target.type === 'range') {
        at = Number(event.target.value);
        dialog.style.setProperty('--at', at);
        return;
      }
      if (event.target.matches('select')) other = event.target.value;
      if (event.target.name === 'difference') differing = event.target.checked;
      draw();
    });
    dialog.addEventListener('keydown', (event) => {
      if (event.target.matches('input[type=range], select') || !/^Arrow(Left|Right)$/.test(event.key)) return;
      event.preventDefault();
      step(event.key === 'ArrowRight' ? 1 : -1);
    });
    dialog.addEventListener('close', () => {
      maps.clear();
      figures().find((figure) => titleOf(figure) === current)?.querySelector('.canvas').focus();
    });
  };

  const named = (title) => figures().find((figure) => titleOf(figure) === title);
  const step = (by) => {
    const titles = figures().map(titleOf);
    current = titles[(titles.indexOf(current) + by + titles.length) % titles.length];
    draw();
  };
  const open = (figure) => {
    if (!dialog) build();
    current = titleOf(figure);
    draw();
    if (!dialog.open) dialog.showModal();
  };

  // Each value's rank, those that are equal sharing theirs.
  const ranks = (values) => {
    const order = Uint32Array.from(values.keys()).sort((a, b) => values[a] - values[b]);
    const found = new Float64Array(values.length);
    for (let i = 0; i < order.length;) {
      let j = i;
      while (j < order.length && values[order[j]] === values[order[i]]) j += 1;
      for (let k = i; k < j; k += 1) found[order[k]] = (i + j - 1) / 2;
      i = j;
    }
    return found;
  };
  const correlation = (a, b) => {
    const x = ranks(a), y = ranks(b), middle = (a.length - 1) / 2;
    let xy = 0, xx = 0, yy = 0;
    for (let i = 0; i < x.length; i += 1) {
      xy += (x[i] - middle) * (y[i] - middle);
      xx += (x[i] - middle) ** 2;
      yy += (y[i] - middle) ** 2;
    }
    return xx && yy ? xy / Math.sqrt(xx * yy) : null;
  };

  // Both maps in multiples of their own averages; of one that has no sign against one that has, the magnitudes.
  const together = (one, two) => {
    const a = maps.numbers(one), b = maps.numbers(two);
    if (!a || !b || a.at.length !== b.at.length) return null;
    const plain = !(a.signed && b.signed);
    const own = (map) => map.at.map((value) => (plain ? Math.abs(value) : value) / map.average);
    return { a: own(a), b: own(b), plain, rows: a.rows, columns: a.columns };
  };
  const difference = (both, photo) => {
    const canvas = Object.assign(document.createElement('canvas'), { width: both.columns, height: both.rows, className: 'difference' });
    const context = canvas.getContext('2d'), image = context.createImageData(both.columns, both.rows);
    both.a.forEach((value, i) => {
      const more = value - both.b[i], part = Math.min(1, Math.abs(more) / TOP / FULL);
      image.data.set([...(more > 0 ? FOR : AGAINST), 255 * part * part * (3 - 2 * part)], 4 * i);
    });
    context.putImageData(image, 0, 0);
    const [left, top, width, height] = photo.dataset.frame.split(',').map((part) => `${part * 100}%`);
    Object.assign(canvas.style, { left, top, width, height });
    return canvas;
  };

  const facts = (figure) => {
    const box = document.createElement('div');
    box.append(...[...figure.querySelectorAll('figcaption, .scale, p.figures')].map((one) => one.cloneNode(true)));
    return box;
  };
  const draw = () => {
    const figure = named(current), beside = other === current ? undefined : named(other);
    if (!figure) return dialog.close();
    const one = maps.photoOf(figure), photo = one.cloneNode(true);
    for (const extra of photo.querySelectorAll('.echo, .spot')) extra.remove();
    const large = dialog.querySelector('figure.map'), canvas = large.querySelector('.canvas');
    Object.assign(large.dataset, { grid: '', ...figure.dataset, testid: 'viewer' });
    large.peers = beside ? [figure, beside] : [figure];
    let both = null;
    if (beside) {
      both = together(figure, beside);
      photo.querySelector(':scope > img')?.classList.add('first');
      const second = maps.photoOf(beside).querySelector(':scope > img');
      if (second) {
        photo.append(second.cloneNode());
        photo.lastChild.className = 'second';
      }
      photo.append(Object.assign(document.createElement('i'), { className: 'border' }));
      if (both && differing) photo.append(difference(both, photo));
    }
    photo.classList.toggle('differing', Boolean(both && differing));
    canvas.replaceChildren(photo);
    maps.hide(large);
    dialog.classList.toggle('two', Boolean(beside));
    dialog.classList.toggle('comparable', Boolean(both));
    dialog.style.setProperty('--at', at);
    dialog.querySelector('h2').textContent = current;
    const names = figures().map(titleOf).filter((title) => title !== current);
    dialog.querySelector('select').replaceChildren(...['nothing', ...names].map((title) => new Option(title, title === 'nothing' ? '' : title, false, title === (beside ? other : ''))));
    dialog.querySelector('[name=difference]').checked = differing;
    const [first, last] = dialog.querySelectorAll('.line span');
    [first.textContent, last.textContent] = [current, other];
    dialog.querySelector('.line input').value = at;
    const rho = both && correlation(both.a, both.b);
    dialog.querySelector('.said').textContent = rho === null ? '' : `rank correlation ${rho.toFixed(2).replace('-', '\u2212')}${both.plain ? ' of magnitudes' : ''}`;
    dialog.querySelector('.facts').replaceChildren(facts(figure), ...(beside ? [facts(beside)] : []));
    const key = dialog.querySelector('.differing-key');
    key.hidden = !(both && differing);
    key.textContent = `Red: more in ${current}; blue: more in ${other}; clear: the same. Each map is divided by its own average; full colour from ${FULL * TOP} of it.`;
    dialog.classList.toggle('plain', key.hidden);
  };

  const mine = (target) => target.closest?.('.maps figure.map .canvas')?.closest('figure.map');
  document.addEventListener('click', (event) => {
    const figure = mine(event.target);
    if (figure && maps.photoOf(figure)) open(figure);
  });
  document.addEventListener('keydown', (event) => {
    if (!event.target.matches?.('.maps .canvas') || !(event.key === 'Enter' || event.key === ' ')) return;
    event.preventDefault();
    open(mine(event.target));
  });
})();
