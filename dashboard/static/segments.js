// The picture of the Segments tab: masks over it, what the pointer is on, clicks, boxes and keys. The server keeps the
// masks; here is only which of them are chosen. Data comes in two holders, the picture and its masks; painting.js paints.
(() => {
  const text = window.satchelText;
  const percent = (part) => (part >= 0.0995 ? (100 * part).toFixed(0) : (100 * part).toFixed(1)) + ' %';
  const inflated = async (packed) => {
    const bytes = Uint8Array.from(atob(packed), (letter) => letter.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream('deflate'));
    return new Response(stream).arrayBuffer();
  };
  const PROVENANCE = { typed: 'typed', proposed: 'proposed', accepted: 'accepted', file: 'from a file', model: 'by a model' };

  class Desk {
    constructor(root, trigger) {
      this.root = root;
      this.trigger = trigger;
      this.part = (name) => root.querySelector('.' + name);
      this.canvas = this.part('masks-over');
      this.chosen = new Set();
      this.under = null;
      this.mode = 'choose';
      this.data = null;
      this.listen();
      this.watch('segments-picture', 'picture', (data) => this.showPicture(data));
      this.watch('segments-masks', 'masks', (data) => this.takeMasks(data));
      this.watch('segments-state', 'state', (data) => { this.state = data; this.take(); });
    }

    watch(id, name, use) {
      const find = () => {
        const holder = document.getElementById(id);
        if (!holder) { setTimeout(find, 50); return; }
        let last = null;
        const look = () => {
          const given = holder.querySelector(`[data-${name}]`)?.dataset[name];
          if (given && given !== last) { last = given; use(JSON.parse(given)); }
        };
        new MutationObserver(look).observe(holder, { childList: true, subtree: true, attributes: true });
        look();
      };
      find();
    }

    act(what, more = {}) {
      this.root.classList.add('waiting');
      this.trigger('act', { do: what, keys: [...this.chosen], picture: this.data?.id ?? null, ...more });
    }

    showPicture(data) {
      const image = this.part('picture');
      this.root.classList.toggle('nothing', !data.id);
      if (!data.id) return;
      image.src = data.src;
      image.alt = data.name;
      this.part('stage').style.setProperty('--ratio', data.size[1] / data.size[0]);
      this.shown = data.id;
    }

    async takeMasks(data) {
      data.sets_at = new Uint32Array(await inflated(data.map));
      if (data.turn < (this.masks?.turn ?? 0)) return; // a newer one came in meanwhile
      this.masks = data;
      this.take();
    }

    // state and masks come apart; they belong together once the state speaks of these masks
    async take() {
      const { state, masks } = this;
      if (!state || !masks || String(masks.turn) !== state.masks) return;
      const cut = state.cut?.mask ? new Uint8Array(await inflated(state.cut.mask)) : null;
      if (state !== this.state || masks !== this.masks) return;
      const other = masks.id !== this.data?.id;
      const colours = new Map(state.names.map(({ name, colour }) => [name, colour]));
      for (const segment of masks.segments) segment.colour = colours.get(segment.name) ?? null;
      this.data = { ...masks, ...state };
      this.cut = cut;
      const here = new Set(masks.segments.map((segment) => segment.key));
      const wanted = state.chosen.length || other ? state.chosen : [...this.chosen];
      this.chosen = new Set(wanted.filter((key) => here.has(key)));
      if (this.sets !== masks.sets_at) {
        this.sets = masks.sets_at;
        this.under = null;
        [this.canvas.height, this.canvas.width] = masks.size;
        this.smallest = Int32Array.from(masks.sets, (members) => members[0] ?? -1);
        this.outline();
      }
      this.root.classList.remove('waiting');
      this.say(state.say, state.problem);
      this.write();
      this.paint();
    }

    // the panel beside the picture
    write() {
      const { data } = this;
      const chosen = data.segments.filter((segment) => this.chosen.has(segment.key));
      const told = this.part('told');
      const what = chosen.length === 1 ? this.describe(chosen[0]) : chosen.length ? `${chosen.length} masks` : '';
      const guess = data.cut?.guess ? `${data.cut.guess} Keep it, or click where it is wrong.` : '';
      told.textContent = guess || what || (this.mode === 'cut' ? 'Click on a thing, or draw a box around it.' : 'Click on a mask to choose it.');
      const input = this.part('name');
      input.placeholder = chosen.length ? 'name' : 'choose a mask first';
      const cut = data.cut;
      this.part('cutting').hidden = !cut;
      this.part('which').textContent = cut?.of > 1 ? `Other meaning (${cut.chosen} of ${cut.of})` : '';
      this.part('which').hidden = !(cut?.of > 1);
      this.enable('accept', chosen.some((segment) => segment.naming === 'proposed'));
      this.enable('merge', chosen.length > 1);
      this.enable('split', chosen.length === 1 || chosen.length === 2);
      this.enable('delete', chosen.length > 0);
      this.enable('undo', data.undo);
      this.enable('redo', data.redo);
      this.part('last').textContent = data.last;
      const known = this.root.querySelector('datalist');
      known.replaceChildren(...data.names.map(({ name }) => Object.assign(document.createElement('option'), { value: name })));
      this.part('names').replaceChildren(...data.names.map((entry, place) => this.nameRow(entry, place)));
      const order = data.segments.map((_, place) => place).sort((a, b) => data.segments[b].share - data.segments[a].share);
      this.part('list').replaceChildren(...order.map((place) => this.maskRow(data.segments[place], place)));
      this.part('count').textContent = data.segments.length === 1 ? '1 mask' : `${data.segments.length} masks`;
    }

    enable(what, on) {
      this.root.querySelector(`[data-do=${what}]`).disabled = !on;
    }

    nameRow({ name, kind, count, colour }, place) {
      const row = document.createElement('li');
      const button = Object.assign(document.createElement('button'), { type: 'button', className: 'give', title: `give this name to what is chosen` });
      button.append(text('i', '', `chip g-${colour}`), text('span', name));
      if (place < 9) button.append(text('kbd', String(place + 1)));
      button.addEventListener('click', () => this.name(name));
      const select = Object.assign(document.createElement('select'), { title: `kind of ${name}` });
      select.setAttribute('aria-label', `kind of ${name}`);
      for (const option of ['object', 'context', 'unset']) select.append(new Option(option, option, false, option === kind));
      select.addEventListener('change', () => this.act('kind', { name, kind: select.value }));
      row.append(button, text('span', String(count), 'number'), select);
      return row;
    }

    maskRow(segment, place) {
      const row = document.createElement('li');
      const button = Object.assign(document.createElement('button'), { type: 'button', title: this.describe(segment) });
      button.setAttribute('aria-pressed', this.chosen.has(segment.key));
      button.append(text('i', '', segment.colour === null ? 'chip none' : `chip g-${segment.colour}`));
      button.append(text('span', segment.title + (segment.naming === 'proposed' ? '?' : ''), segment.name ? '' : 'quiet'));
      button.append(text('span', percent(segment.share), 'number'));
      button.addEventListener('click', (event) => this.choose(segment.key, event.shiftKey));
      button.addEventListener('pointerenter', () => { this.under = place; this.paint(); });
      button.addEventListener('pointerleave', () => { this.under = null; this.paint(); });
      row.append(button);
      return row;
    }

    describe(segment) {
      const said = [segment.title];
      if (segment.naming) said.push(PROVENANCE[segment.naming] + (segment.naming === 'proposed' && segment.confidence !== null ? `, ${percent(segment.confidence)} sure` : ''));
      said.push(percent(segment.share) + ' of the picture', segment.source);
      return said.join(' · ');
    }

    say(words, problem) {
      const line = this.part('say');
      line.textContent = words;
      line.classList.toggle('problem', problem);
    }

    choose(key, more) {
      if (!more) this.chosen = this.chosen.size === 1 && this.chosen.has(key) ? new Set() : new Set([key]);
      else if (!this.chosen.delete(key)) this.chosen.add(key);
      this.write();
      this.paint();
    }

    name(words) {
      if (this.data.cut?.mask) this.act('keep', { name: words });
      else if (this.chosen.size) this.act('name', { name: words, next: true });
      else this.say('Choose a mask first: click on it.', true);
    }

    change(mode) {
      this.mode = mode;
      this.root.dataset.mode = mode;
      for (const button of this.root.querySelectorAll('[data-mode]')) button.setAttribute('aria-pressed', button.dataset.mode === mode);
      if (this.data) this.write();
    }

    place(event) {
      const frame = this.canvas.getBoundingClientRect();
      const inside = (value) => Math.min(Math.max(value, 0), 1);
      return [inside((event.clientX - frame.left) / frame.width), inside((event.clientY - frame.top) / frame.height)];
    }

    members(event) {
      const [x, y] = this.place(event);
      const [height, width] = this.data.size;
      const at = Math.min(height - 1, Math.floor(y * height)) * width + Math.min(width - 1, Math.floor(x * width));
      return this.data.sets[this.sets[at]] ?? [];
    }

    // a click chooses the smallest mask there; further clicks on the same place the next larger one
    pick(event) {
      const members = this.members(event);
      if (!members.length) {
        if (!event.shiftKey) { this.chosen.clear(); this.write(); this.paint(); }
        return;
      }
      const keys = members.map((place) => this.data.segments[place].key);
      const now = this.chosen.size === 1 ? keys.indexOf([...this.chosen][0]) : -1;
      const again = this.lastPick && Math.hypot(event.clientX - this.lastPick[0], event.clientY - this.lastPick[1]) < 4;
      this.lastPick = [event.clientX, event.clientY];
      if (!event.shiftKey && again && now >= 0 && keys.length > 1) {
        this.chosen = new Set([keys[(now + 1) % keys.length]]);
        this.write();
        this.paint();
      } else this.choose(keys[0], event.shiftKey);
    }

    listen() {
      const { root, canvas } = this;
      root.addEventListener('click', (event) => {
        const button = event.target.closest('button');
        if (button?.dataset.mode) this.change(button.dataset.mode);
        else if (button?.dataset.do === 'delete' && !this.chosen.size) this.say('Choose a mask first: click on it.', true);
        else if (button?.dataset.do) this.act(button.dataset.do);
      });
      this.part('naming').addEventListener('submit', (event) => {
        event.preventDefault();
        const input = this.part('name');
        this.name(input.value);
        input.value = '';
      });
      this.part('strength').addEventListener('input', () => this.paint());
      this.part('tags').addEventListener('change', () => this.paint());
      canvas.addEventListener('pointermove', (event) => this.hover(event));
      canvas.addEventListener('pointerleave', () => { this.part('tip').hidden = true; if (this.under !== null) { this.under = null; this.paint(); } });
      canvas.addEventListener('contextmenu', (event) => { if (this.mode === 'cut') event.preventDefault(); });
      canvas.addEventListener('pointerdown', (event) => {
        if (!this.data) return;
        root.querySelector('.desk').focus({ preventScroll: true });
        if (this.mode === 'cut') { this.start = this.place(event); canvas.setPointerCapture(event.pointerId); }
      });
      canvas.addEventListener('pointerup', (event) => this.release(event));
      document.addEventListener('keydown', (event) => this.key(event));
      new MutationObserver(() => { if (this.data) this.paint(); }).observe(document.body, { attributes: true, attributeFilter: ['class'] });
    }

    hover(event) {
      if (!this.data) return;
      if (this.mode === 'cut' && this.start) {
        const [x, y] = this.place(event);
        const [left, top] = this.start;
        this.drawn = [Math.min(x, left), Math.min(y, top), Math.max(x, left), Math.max(y, top)];
        this.marks();
        return;
      }
      const members = this.members(event);
      const chosen = members.find((place) => this.chosen.has(this.data.segments[place].key));
      const under = chosen ?? members[0] ?? null;
      const tip = this.part('tip');
      tip.hidden = under === null;
      if (under !== null) {
        const [x, y] = this.place(event);
        tip.textContent = this.describe(this.data.segments[under]);
        tip.style.left = 100 * x + '%';
        tip.style.top = 100 * y + '%';
        tip.classList.toggle('left', x > 0.6);
      }
      if (under !== this.under) { this.under = under; this.paint(); }
    }

    release(event) {
      if (!this.data) return;
      if (this.mode !== 'cut') { this.pick(event); return; }
      const frame = this.canvas.getBoundingClientRect();
      const [x, y] = this.place(event);
      const [left, top] = this.start ?? [x, y];
      const far = Math.hypot((x - left) * frame.width, (y - top) * frame.height) > 6;
      this.start = null;
      this.drawn = null;
      if (far) this.act('box', { box: [Math.min(x, left), Math.min(y, top), Math.max(x, left), Math.max(y, top)] });
      else {
        const inside = !(event.button === 2 || event.altKey || this.part('outside').checked);
        this.act('click', { x, y, label: inside ? 1 : 0 });
      }
    }

    key(event) {
      if (!this.root.offsetParent || !this.data || event.ctrlKey || event.metaKey) {
        if (!(this.root.offsetParent && (event.ctrlKey || event.metaKey) && event.key.toLowerCase() === 'z') || event.target.matches('input, textarea')) return;
        event.preventDefault();
        this.act(event.shiftKey ? 'redo' : 'undo');
        return;
      }
      if (event.target.matches?.('input:not([type=range], [type=checkbox], [type=radio]), textarea, select')) {
        if (event.key === 'Escape') event.target.blur();
        return;
      }
      const cut = this.data.cut;
      const does = {
        v: () => this.change('choose'), c: () => this.change('cut'), n: () => this.part('name').focus(),
        a: () => this.act('accept'), m: () => this.act('merge'), s: () => this.act('split'), u: () => this.act('undo'),
        y: () => this.act('redo'), '[': () => this.act('step', { by: -1 }), ']': () => this.act('step', { by: 1 }),
        Delete: () => this.act('delete'), Backspace: () => this.act('delete'),
        Escape: () => { if (cut) this.act('drop'); else { this.chosen.clear(); this.write(); this.paint(); } },
        Enter: () => { if (cut?.mask) this.act('keep'); else this.part('name').focus(); },
        Tab: cut?.of > 1 && event.target.closest?.('.desk') ? () => this.act('other') : null,
      };
      const digit = /^[1-9]$/.test(event.key) ? this.data.names[Number(event.key) - 1] : null;
      const run = digit ? () => this.name(digit.name) : does[event.key.length === 1 ? event.key.toLowerCase() : event.key];
      if (!run || (event.key === 'Enter' && event.target.matches?.('button, summary'))) return;
      event.preventDefault();
      run();
    }
  }

  Object.assign(Desk.prototype, window.satchelPainting);
  window.satchelSegments = (root, trigger) => new Desk(root, trigger);
})();
