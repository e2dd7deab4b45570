// Faults as bands, and what each client did: a box for each record from its sending to its answer, a triangle for each
// read.

const FAULT_ROW = 20, FAULT_ROWS_MAX = 6;

// Every fault with its first and last event; a fault that never ended lasts to the end.
const faults = (() => {
  const list = [], open = new Map();
  const begin = (key, event, what, kind) => {
    const fault = { from: event.id, to: LAST + 1, what, kind, node: event.node };
    open.set(key, fault);
    list.push(fault);
  };
  const end = (key, event) => {
    if (open.has(key)) open.get(key).to = event.id;
    open.delete(key);
  };
  for (const event of events) {
    switch (event?.kind) {
      case 'fault_began': begin(event.fault, event, event.fault, 'link'); break;
      case 'fault_ended': end(event.fault, event); break;
      case 'node_stopped': begin(`${event.node} down`, event, `${event.node} ${{ clean: 'stopped', kill: 'killed', power: 'without power', torn: 'without power' }[event.how]}`, 'down'); break;
      case 'node_started': end(`${event.node} down`, event); break;
      case 'node_paused': begin(`${event.node} paused`, event, `${event.node} paused`, 'paused'); break;
      case 'node_resumed': end(`${event.node} paused`, event); break;
    }
  }
  return list;
})();

function drawFaults(frame, top) {
  const all = faults.map(fault => ({ ...fault, from: frame.axis.at[fault.from], to: frame.axis.at[fault.to], event: fault.from }));
  const rows = Math.min(stack(all), FAULT_ROWS_MAX), out = [], places = new Places();
  for (const fault of all) {
    if (fault.row >= rows || fault.to < frame.from - 1 || fault.from > frame.from + frame.span + 1) continue;
    const x1 = Math.max(frame.left, frame.at(fault.from)), x2 = Math.max(x1 + 3, Math.min(frame.right, frame.at(fault.to)));
    const y = top + 2 + fault.row * FAULT_ROW;
    const style = {
      link: ['var(--fault)', 'stroke="var(--lost)" stroke-dasharray="4 2"'],
      paused: ['url(#hatch)', 'stroke="var(--lost)"'],
      down: ['var(--lost)', ''],
    }[fault.kind];
    out.push(svg.rect(round(x1), y, round(x2 - x1), 16, style[0], `${style[1]} rx="3" data-e="${fault.event}"`));
    const room = x2 - x1 - 12, words = fault.what, width = textWidth(words, 12);
    const inside = room >= width, fits = inside || places.take(x2 + 5, y, width) && x2 + width + 8 < frame.right;
    if (fits) out.push(svg.text(round(inside ? x1 + 6 : x2 + 5), y + 12.5, words, '', `data-e="${fault.event}"${inside && fault.kind === 'down' ? ' style="fill:var(--panel)"' : ''}`));
  }
  const more = all.length ? all.filter(fault => fault.row >= rows).length : 0;
  return { height: Math.max(1, rows) * FAULT_ROW + 6, body: out.join(''), name: 'faults', note: more ? `showing ${all.length - more} of ${all.length}` : '' };
}

// Bands of light shade through every track while something was broken.
function drawShade(frame, top, height) {
  return faults.filter(fault => frame.shows(fault.from, fault.to)).map(fault => {
    const x1 = frame.clamp(fault.from), x2 = frame.clamp(fault.to);
    return svg.rect(x1, top, round(x2 - x1), height, 'var(--fault)') + (x1 > frame.left ? svg.line(x1, top, x1, top + height, 'var(--fault-line)', 'stroke-width="1"') : '')
      + (x2 < frame.right ? svg.line(x2, top, x2, top + height, 'var(--fault-line)', 'stroke-width="1"') : '');
  }).join('');
}

const clients = (() => {
  const kinds = { record_sent: 'producer', record_read: 'consumer', position_set: 'consumer' }, found = new Map();
  for (const event of events) if (event && kinds[event.kind]) found.set(event.node, kinds[event.kind]);
  return [...found].sort(([a], [b]) => (a === 'audit') - (b === 'audit') || (a < b ? -1 : 1)).map(([name, kind]) => ({ name, kind }));
})();
const boxes = new Map(clients.map(({ name }) => [name, []]));
const reads = new Map(clients.map(({ name }) => [name, []]));
for (const record of records.values()) boxes.get(record.sent.node).push(record);
for (const event of events) if (event?.kind === 'record_read' || event?.kind === 'position_set') reads.get(event.node).push(event);

const LANE_ROWS_MAX = 8;

// A record's box: its fill, and what else it takes.
const BOX_STYLES = {
  sent: ['none', 'stroke="var(--link)" stroke-width="1.4"'],
  promised: ['var(--link)', 'stroke="var(--link)" fill-opacity=".38"'],
  visible: ['var(--link)', 'stroke="var(--link)"'],
  lost: ['none', 'stroke="var(--lost)" stroke-width="1.6"'],
  unknown: ['none', 'stroke="var(--unknown)" stroke-dasharray="3 2" stroke-width="1.4"'],
  refused: ['none', 'stroke="var(--none)"'],
};

// What a producer knows of a record in the end.
function fate(record) {
  const { outcome, lost, read } = record;
  if (lost && !asking()) return 'lost';
  if (!outcome) return 'unknown';
  if (outcome.kind === 'record_failed') return outcome.definite ? 'refused' : 'unknown';
  return read ? 'visible' : outcome.offset < 0 ? 'sent' : 'promised';
}

function drawProducer(frame, top, name) {
  const end = record => record.outcome?.id ?? Math.min(LAST, record.sent.id + 1);
  const all = boxes.get(name).map(record => ({ record, from: frame.axis.at[record.sent.id], to: frame.axis.at[end(record)] + 0.35 }));
  const needed = stack(all), rows = Math.min(needed, LANE_ROWS_MAX), height = rows > 5 ? 7 : rows > 3 ? 12 : 15, pitch = height + 3, out = [];
  let hidden = 0;
  for (const { record, from, to, row } of all) {
    if (row >= rows) { hidden++; continue; }
    if (to < frame.from - 1 || from > frame.from + frame.span + 1) continue;
    const x1 = Math.max(frame.left, frame.at(from)), x2 = Math.min(frame.right, Math.max(frame.at(to), x1 + 7)), y = top + 3 + row * pitch, is = fate(record);
    const style = BOX_STYLES[is];
    out.push(svg.rect(round(x1), y, round(x2 - x1), height, style[0], `${style[1]} rx="2" data-e="${record.sent.id}"`));
    if (is === 'lost') out.push(svg.cross(round(x2 - 6), y + height / 2, Math.min(4, height / 2 - 1), `data-e="${record.lost.acked}"`));
    if (height < 10) continue;
    const words = `${record.sent.record}${is === 'unknown' ? ' ?' : is === 'refused' ? ' !' : ''}`, room = x2 - x1 - (is === 'lost' ? 14 : 4);
    if (textWidth(words) <= room) out.push(svg.text(round(x1 + 3), y + height / 2 + 3.8, words, 'small', `data-e="${record.sent.id}"${is === 'visible' ? ' style="fill:var(--panel)"' : ''}`));
  }
  const acks = [...new Set(boxes.get(name).map(record => record.sent.acks))].map(acksWord);
  return { height: Math.max(32, rows * pitch + 6), body: out.join(''), name, note: `acks=${acks.join(', ')}`, more: hidden ? [`showing ${all.length - hidden}`, `of ${all.length}`] : [] };
}

function drawConsumer(frame, top, name) {
  const out = [], places = new Places(), y = top + 10;
  out.push(svg.line(frame.left, y, frame.right, y, 'var(--grid)'));
  const list = reads.get(name), from = lowerBound(list, frame.from - 1, event => frame.axis.at[event.id]);
  for (let index = from; index < list.length && frame.axis.at[list[index].id] <= frame.from + frame.span; index++) {
    const event = list[index], x = frame.x(event.id);
    if (event.kind === 'position_set') {
      out.push(svg.path(`M${x} ${y - 7}v14`, `stroke="var(--ink)" stroke-width="2" data-e="${event.id}"`));
      const words = `from ${event.offset}${event.why === 'start' ? '' : `, ${event.why}`}`;
      if (places.take(x - 3, y + 6, textWidth(words))) out.push(svg.text(x - 2, y + 17, words, 'f'));
      continue;
    }
    out.push(svg.path(`M${x - 3} ${y - 5}l8 5l-8 5z`, `fill="var(--link)" data-e="${event.id}"`));
    if (places.take(x - 6, y + 6, textWidth(event.offset) + 5)) out.push(svg.text(x, y + 17, event.offset, 'f', 'text-anchor="middle"'));
  }
  return { height: 32, body: out.join(''), name, note: 'reads' };
}
