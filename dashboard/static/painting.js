// How the Segments tab paints masks over the picture: fills, outlines, what is chosen or in the making, and the names.
// These are methods of the desk (segments.js).
window.satchelText = (tag, words, kind = '') => Object.assign(document.createElement(tag), { textContent: words, className: kind });
window.satchelPainting = (() => {
  const text = window.satchelText;
  return {
    // pixels at which the smallest mask differs from that of a neighbour
    outline() {
      const [height, width] = this.data.size;
      const { sets, smallest } = this;
      this.edge = new Uint8Array(sets.length);
      for (let y = 0, i = 0; y < height; y++) {
        for (let x = 0; x < width; x++, i++) {
          const own = smallest[sets[i]];
          if ((x + 1 < width && smallest[sets[i + 1]] !== own) || (y + 1 < height && smallest[sets[i + width]] !== own)) this.edge[i] = 1;
        }
      }
    },

    colours() {
      const dark = document.body.classList.contains('dark');
      if (this.palette?.dark === dark) return this.palette.colours;
      const probe = document.body.appendChild(document.createElement('i'));
      const colours = [];
      for (let place = 0; ; place++) {
        probe.className = 'g-' + place;
        const hex = getComputedStyle(probe).getPropertyValue('--x').trim();
        if (!hex) break;
        colours.push([1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16)));
      }
      probe.remove();
      this.palette = { dark, colours };
      return colours;
    },

    paint() {
      if (!this.data) return;
      const { data, sets, edge, smallest, cut } = this;
      const [height, width] = data.size;
      const context = this.canvas.getContext('2d');
      const image = context.createImageData(width, height);
      const out = new Uint32Array(image.data.buffer);
      const rgba = ([r, g, b], alpha) => ((alpha << 24) | (b << 16) | (g << 8) | r) >>> 0;
      const strength = Number(this.part('strength').value);
      const palette = this.colours();
      const chosen = data.segments.map((segment) => this.chosen.has(segment.key));
      const fills = new Uint32Array(data.sets.length);
      const edges = new Uint32Array(data.sets.length);
      const inside = new Uint8Array(data.sets.length);
      data.sets.forEach((members, set) => {
        // what has a name shows through what has none
        const segment = data.segments[members.find((place) => data.segments[place].colour !== null) ?? members[0]];
        inside[set] = members.some((place) => chosen[place]) ? 1 : 0;
        const lit = this.under !== null && members.includes(this.under);
        const colour = segment && segment.colour !== null ? palette[segment.colour] : null;
        const sure = segment && segment.naming !== 'proposed';
        let alpha = colour ? (sure ? 150 : 70) * strength : 0;
        if (lit) alpha = Math.min(220, alpha + 60);
        fills[set] = colour ? rgba(colour, alpha) : lit ? rgba([255, 255, 255], 90) : 0;
        edges[set] = colour ? rgba(colour, 235) : rgba([255, 255, 255], 200);
      });
      for (let i = 0; i < out.length; i++) {
        const set = sets[i];
        out[i] = edge[i] ? edges[smallest[set] < 0 && i + 1 < out.length ? sets[i + 1] : set] : fills[set];
      }
      const rim = (is, colour) => {
        for (let y = 0, i = 0; y < height; y++) {
          for (let x = 0; x < width; x++, i++) {
            const own = is(i);
            const differs = (x + 1 < width && is(i + 1) !== own) || (y + 1 < height && is(i + width) !== own)
              || (x > 0 && is(i - 1) !== own) || (y > 0 && is(i - width) !== own);
            if (differs) out[i] = colour;
          }
        }
      };
      if (this.chosen.size) rim((i) => inside[sets[i]], rgba([255, 255, 255], 255));
      if (cut) {
        for (let i = 0; i < out.length; i++) if (cut[i]) out[i] = rgba([255, 214, 0], 120);
        rim((i) => cut[i], rgba([255, 214, 0], 255));
      }
      context.putImageData(image, 0, 0);
      this.marks();
    },

    // clicks, the box and the names, which stay sharp at any size
    marks() {
      const over = this.part('marks');
      over.replaceChildren();
      const put = (x, y, node) => {
        node.style.left = 100 * x + '%';
        node.style.top = 100 * y + '%';
        over.append(node);
        return node;
      };
      for (const [x, y, label] of this.data.cut?.points ?? []) put(x, y, text('i', '', label ? 'click in' : 'click out'));
      const box = this.drawn ?? this.data.cut?.box;
      if (box) {
        const frame = put(box[0], box[1], text('i', '', 'frame'));
        frame.style.width = 100 * (box[2] - box[0]) + '%';
        frame.style.height = 100 * (box[3] - box[1]) + '%';
      }
      if (!this.part('tags').checked) return;
      const taken = [];
      for (const segment of this.data.segments) {
        if (!segment.name || !segment.at || segment.share <= 0.003) continue;
        const tag = put(...segment.at, text('span', segment.name + (segment.naming === 'proposed' ? '?' : ''), 'tag'));
        const covers = (a, b) => a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom;
        for (let down = 0; down < 5 && taken.some((box) => covers(box, tag.getBoundingClientRect())); ) {
          tag.style.marginTop = `${19 * ++down}px`; // a name under another one, not over it
        }
        taken.push(tag.getBoundingClientRect());
      }
    },
  };
})();
