// SVG as text: shapes, words that do not overlap, and the mapping from events to the drawing's width.

const GUTTER = 112, MARGIN = 14;
const EPOCH_COLOURS = 6;

const element = id => document.getElementById(id);
// Listens for as long as this run is shown.
const on = (target, kind, action, how = {}) => target.addEventListener(kind, action, { signal: life, ...how });
const escapeText = text => String(text).replace(/[&<>"']/g, char => ({ '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&#39;' })[char]);
// Where an event of what is shown has its address.
const address = id => `#e=${id}${shownBranch ? `&b=${shownBranch}` : ''}`;
const epochColour = epoch => epoch === null || epoch < 0 ? 'var(--none)' : `var(--e${epoch % EPOCH_COLOURS})`;

const svg = {
  line: (x1, y1, x2, y2, stroke, more = '') => `<line x1="${x1}" y1="${y1}" x2="${x2}" y2="${y2}" stroke="${stroke}" ${more}/>`,
  rect: (x, y, width, height, fill, more = '') => `<rect x="${x}" y="${y}" width="${Math.max(0, width)}" height="${height}" fill="${fill}" ${more}/>`,
  text: (x, y, words, classes = '', more = '') => `<text x="${x}" y="${y}" class="${classes}" ${more}>${escapeText(words)}</text>`,
  path: (d, more) => `<path d="${d}" ${more}/>`,
  circle: (x, y, r, fill, more = '') => `<circle cx="${x}" cy="${y}" r="${r}" fill="${fill}" ${more}/>`,
  cross: (x, y, r, more = '') => `<path d="M${x - r} ${y - r}L${x + r} ${y + r}M${x - r} ${y + r}L${x + r} ${y - r}" stroke="var(--lost)" stroke-width="1.8" fill="none" ${more}/>`,
};
const round = value => Math.round(value * 10) / 10;

// Width of a text in the drawing.
const textWidth = (() => {
  const context = document.createElement('canvas').getContext('2d'), known = new Map();
  const family = getComputedStyle(document.documentElement).fontFamily;
  return (text, size = 11) => {
    const key = `${size} ${text}`;
    if (!known.has(key)) {
      context.font = `${size}px ${family}`;
      known.set(key, context.measureText(text).width);
    }
    return known.get(key);
  };
})();

// Places for words: a word that would cover another is left out, and is still in the text version and under the pointer.
class Places {
  constructor() {
    this.taken = [];
  }

  // Takes the box if it is free.
  take(x, y, width, height = 12) {
    const clear = this.taken.every(other => x > other.x + other.width || other.x > x + width || y > other.y + other.height || other.y > y + height);
    if (clear) this.taken.push({ x, y, width, height });
    return clear;
  }
}

// Intervals into rows, so that none covers another in its row; each has `from` and `to` in units.
function stack(intervals, gap = 0) {
  const ends = [];
  for (const interval of intervals) {
    let row = ends.findIndex(end => end + gap <= interval.from);
    if (row < 0) row = ends.length;
    ends[row] = interval.to;
    interval.row = row;
  }
  return ends.length;
}

// The window of the axis that is drawn, mapped to `width` pixels.
class Frame {
  constructor(axis, from, span, width) {
    Object.assign(this, { axis, from, span, width });
    this.left = GUTTER;
    this.right = width - MARGIN;
    this.unit = (this.right - this.left) / span;
    const position = id => axis.at[id];
    this.first = lowerBound(axis.ids, from - 1, position);
    this.last = lowerBound(axis.ids, from + span + 1, position);
    this.ids = axis.ids.slice(this.first, this.last);
  }

  x(id) {
    return round(this.at(this.axis.at[id]));
  }

  at(position) {
    return this.left + (position - this.from + 0.5) * this.unit;
  }

  // x of an event, kept inside the drawing.
  clamp(id) {
    return Math.min(this.right, Math.max(this.left, this.x(id)));
  }

  // Whether any of from..to, event numbers, can be seen.
  shows(from, to) {
    return this.axis.at[to] >= this.from - 1 && this.axis.at[from] <= this.from + this.span + 1;
  }

  // The shown event nearest to a pixel.
  nearest(x) {
    const position = (x - this.left) / this.unit + this.from - 0.5, { ids, at } = this.axis;
    const index = lowerBound(ids, position, id => at[id]);
    const before = ids[Math.max(0, index - 1)], after = ids[Math.min(ids.length - 1, index)];
    return position - at[before] < at[after] - position ? before : after;
  }
}
