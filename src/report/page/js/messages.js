// The space-time diagram: a line for each node, an arrow for each message, and on each line what its disk and log did.

const NODE_PITCH = 36;

const nodes = (() => {
  const rank = name => name === 'scenario' ? 9 : /^c\d+$/.test(name) ? 2 : /^b\d+$/.test(name) ? 3 : name === 'audit' || name === 'admin' ? 1 : 0;
  const talk = new Set(events.flatMap(event => event && isMessage(event) || event?.kind === 'node_started' ? [event.node] : []));
  return [...talk].sort((a, b) => rank(a) - rank(b) || (a < b ? -1 : a > b ? 1 : 0));
})();

// When a node did not run, as event numbers; a node is drawn dotted then.
const pauses = new Map(nodes.map(node => [node, faults.filter(fault => fault.kind !== 'link' && fault.node === node)]));

const messageStyle = (api, request) => {
  if (api === 'Produce') return ['var(--link)', request ? 1.5 : 1];
  if (api === 'Fetch') return ['var(--soft)', request ? 0.9 : 1.2];
  if (QUIET_APIS.has(api)) return ['var(--faint)', 0.7];
  return ['var(--ink)', request ? 1.4 : 1];
};

function drawMessages(frame, top) {
  const yOf = new Map(nodes.map((node, index) => [node, top + 14 + index * NODE_PITCH])), out = [], gutter = [], places = new Places();
  for (const node of nodes) {
    const y = yOf.get(node);
    let from = frame.left;
    gutter.push(svg.text(GUTTER - 8, y + 4, node, 'm', `text-anchor="end" data-node="${escapeText(node)}"`));
    for (const pause of pauses.get(node)) {
      const x1 = frame.clamp(pause.from), x2 = frame.clamp(pause.to);
      if (x1 > from) out.push(svg.line(from, y, x1, y, 'var(--faint)', 'stroke-width="1.2"'));
      if (x2 > x1) out.push(svg.line(x1, y, x2, y, 'var(--lost)', 'stroke-dasharray="1 5" stroke-width="1.6"'));
      if (x1 > frame.left) out.push(svg.cross(x1, y, 4.5, `data-e="${pause.from}"`));
      from = x2;
    }
    out.push(svg.line(from, y, frame.right, y, 'var(--faint)', 'stroke-width="1.2"'));
  }
  const shown = new Set();
  for (const id of frame.ids) {
    const event = events[id];
    if (isMessage(event)) shown.add(event.kind === 'message_sent' ? id : event.sent);
    else out.push(drawDeed(event, frame.x(id), yOf.get(event.node)));
  }
  const words = [];
  for (const id of [...shown].sort((a, b) => a - b)) out.push(drawArrow(frame, events[id], yOf, places, words));
  out.push(...words);
  return { height: nodes.length * NODE_PITCH + 2, body: out.join(''), gutter, name: 'messages', note: 'by API' };
}

// Draws a message; its name goes to `labels`, to stand above all arrows.
function drawArrow(frame, sent, yOf, places, labels) {
  const arrival = arrivals.get(sent.id), lost = arrival?.kind === 'message_lost', out = [];
  const [colour, width] = messageStyle(sent.api, sent.request), y1 = yOf.get(sent.node), y2 = yOf.get(sent.to);
  if (y1 === undefined || y2 === undefined) return '';
  const x1 = frame.x(sent.id), data = `data-e="${sent.id}"`;
  let x2 = arrival ? frame.x(arrival.id) : x1 + 2 * frame.unit, y = y2;
  if (lost || !arrival) {
    x2 = Math.min(x2, x1 + 3 * frame.unit);
    y = y1 + (y2 - y1) * 0.55;
  }
  if (x2 < x1 + 1) x2 = x1 + 1;
  const dash = held.has(sent.id) || !arrival ? 'stroke-dasharray="4 3"' : '';
  out.push(svg.line(x1, y1, round(x2), y, colour, `stroke-width="${width}" ${dash} ${data}`));
  if (lost) out.push(svg.cross(round(x2), y, 4, `data-e="${arrival.id}"`));
  else if (!arrival) out.push(svg.text(round(x2), y, '?', 'f', data));
  else {
    const angle = Math.atan2(y - y1, x2 - x1), point = turn => `${round(x2 - 6.5 * Math.cos(angle + turn))} ${round(y - 6.5 * Math.sin(angle + turn))}`;
    const open = sent.request ? `fill="${colour}"` : `fill="none" stroke="${colour}"`;
    out.push(svg.path(`M${round(x2)} ${y}L${point(0.42)}L${point(-0.42)}z`, `${open} data-e="${arrival.id}"`));
  }
  if (held.has(sent.id)) out.push(svg.circle(x1 + 5, y1 + Math.sign(y2 - y1) * 6, 4.5, 'none', `stroke="var(--lost)" stroke-width="1.5" data-e="${held.get(sent.id).id}"`));
  // The API stands beside its request; a response is named where its request is far away.
  if (sent.request || lost || frame.axis.at[sent.id] - frame.axis.at[sent.cause] > 12) {
    const words = sent.request ? sent.api : `${sent.api} \u21a9`, part = 0.3, middle = x1 + (x2 - x1) * part + 5, level = y1 + (y - y1) * part + 3, size = textWidth(words);
    if (middle > frame.left && middle + size < frame.right && places.take(middle, level - 8, size, 10)) {
      labels.push(svg.text(round(middle), round(level), words, 'f halo', data));
    }
  }
  return out.join('');
}

// A mark on a node's line: what its log and disk did.
function drawDeed(event, x, y) {
  return y === undefined ? '' : deedMark(event.kind, x, y, epochColour(event.leader_epoch ?? 0), `data-e="${event.id}"`);
}

function deedMark(kind, x, y, colour, data) {
  switch (kind) {
    case 'appended': return svg.rect(x - 2.5, y - 7, 5, 14, colour, `stroke="var(--panel)" stroke-width=".8" ${data}`);
    case 'flushed': return svg.path(`M${x} ${y - 5}l5 5l-5 5l-5 -5z`, `fill="var(--ink)" ${data}`);
    case 'truncated': return svg.path(`M${x - 5} ${y - 7}h10l-5 9z`, `fill="var(--lost)" ${data}`);
    case 'replica_left': return svg.path(`M${x - 4} ${y - 4}h8v8h-8z`, `fill="none" stroke="var(--lost)" ${data}`);
    case 'unsynced_lost': case 'batch_corrupted': case 'disk_replaced': return svg.cross(x, y, 6, `${data} stroke-dasharray="3 1.5"`);
    case 'log_loaded': return svg.circle(x, y, 3.6, 'var(--panel)', `stroke="var(--ink)" stroke-width="1.4" ${data}`);
    case 'became_leader': return svg.path(`M${x - 5} ${y - 2}l5 -7l5 7z`, `fill="${colour}" stroke="var(--ink)" stroke-width=".9" ${data}`);
    case 'high_watermark': return svg.path(`M${x - 3} ${y + 8}l3 -6l3 6z`, `fill="var(--soft)" ${data}`);
    default: return '';
  }
}

// What the shapes mean.
function writeLegend() {
  const icon = (width, body) => `<svg viewBox="0 0 ${width} 18" aria-hidden="true">${body}</svg>`;
  const box = kind => icon(20, svg.rect(1, 3, 18, 12, BOX_STYLES[kind][0], `${BOX_STYLES[kind][1]} rx="2"`) + (kind === 'lost' ? svg.cross(13, 9, 3.5) : ''));
  const mark = kind => icon(14, deedMark(kind, 7, 9, 'var(--e0)', ''));
  const arrow = (colour, width, fill) => icon(30, svg.line(1, 9, 24, 9, colour, `stroke-width="${width}"`) + svg.path('M29 9l-7 -3v6z', fill));
  const entries = [
    [box('sent'), 'sent, acks=0'], [box('promised'), 'promised'], [box('visible'), 'promised and read'], [box('lost'), 'promised, lost in the end'], [box('unknown'), 'nobody knows'], [box('refused'), 'refused'],
    [arrow('var(--link)', 1.5, 'fill="var(--link)"'), 'Produce'], [arrow('var(--soft)', 1, 'fill="var(--soft)"'), 'Fetch'], [arrow('var(--ink)', 1.4, 'fill="var(--ink)"'), 'other request'],
    [arrow('var(--ink)', 1, 'fill="none" stroke="var(--ink)"'), 'response'],
    [icon(24, svg.line(1, 9, 14, 9, 'var(--soft)') + svg.cross(17, 9, 4)), 'message lost, node stopped'],
    [icon(24, svg.circle(6, 9, 4.5, 'none', 'stroke="var(--lost)" stroke-width="1.5"') + svg.line(11, 9, 23, 9, 'var(--soft)', 'stroke-dasharray="4 3"')), 'held back'],
    [mark('appended'), 'append'], [mark('flushed'), 'flush'], [mark('truncated'), 'truncation'], [mark('replica_left'), 'log deleted, others hold the partition'], [mark('unsynced_lost'), 'lost with the power, corrupt or replaced on the disk'], [mark('log_loaded'), 'log opened'], [mark('became_leader'), 'starts leading'], [mark('high_watermark'), 'high watermark moves'],
    [icon(20, svg.rect(1, 3, 18, 12, 'url(#hatch)', 'stroke="var(--rule)"')), 'below min ISR, paused'],
    [icon(20, svg.rect(1, 3, 18, 12, 'var(--e1)') + svg.rect(1, 3, 18, 12, 'url(#unclean)')), 'unclean election'],
    [icon(14, svg.path('M7 4l5 5l-5 5l-5 -5z', 'fill="var(--panel)" stroke="var(--ink)"')), 'ISR proposed'],
  ];
  element('legend').innerHTML = entries.map(([drawing, words]) => `<span>${drawing}${words}</span>`).join('');
}
