// All tracks on one axis with the cursor through them, and the map of the whole run above.

const RULER = 30;

const PATTERNS = `<defs>
<pattern id="hatch" width="6" height="6" patternUnits="userSpaceOnUse" patternTransform="rotate(45)"><line x1="0" y1="0" x2="0" y2="6" stroke="var(--lost)" stroke-width="1.4" stroke-opacity=".55"/></pattern>
<pattern id="unclean" width="8" height="8" patternUnits="userSpaceOnUse" patternTransform="rotate(45)"><line x1="0" y1="0" x2="0" y2="8" stroke="var(--on-epoch)" stroke-width="2" stroke-opacity=".28"/></pattern>
<pattern id="unflushed" width="5" height="5" patternUnits="userSpaceOnUse" patternTransform="rotate(45)"><line x1="0" y1="0" x2="0" y2="5" stroke="var(--on-epoch)" stroke-width="1" stroke-opacity=".3"/></pattern>
</defs>`;

function drawRuler(frame, bottom) {
  const out = [], places = new Places();
  out.push(svg.line(frame.left, RULER, frame.right, RULER, 'var(--rule)'));
  for (const { at, ns } of frame.axis.breaks) {
    const x = round(frame.at(at - 0.5)), words = duration(ns), width = textWidth(words);
    if (x < frame.left || x > frame.right) continue;
    const half = Math.min(6, frame.unit);
    out.push(svg.rect(x - half, RULER, half * 2, bottom - RULER, 'var(--grid)', 'fill-opacity=".8"'));
    out.push(svg.path(`M${x - 5} ${RULER + 4}l4 -8m2 8l4 -8`, 'stroke="var(--soft)" fill="none" stroke-width="1.3"'));
    if (places.take(x - width / 2, 4, width)) out.push(svg.text(x, 22, words, 's small', 'text-anchor="middle"'));
  }
  for (const id of frame.ids) {
    const x = frame.x(id), words = seconds(events[id].time);
    if (x < frame.left || x + 20 > frame.right || !places.take(x - 32, 4, 74)) continue;
    out.push(svg.line(x, RULER - 5, x, RULER, 'var(--faint)'), svg.text(x, 21, words, 'f', 'text-anchor="middle"'));
  }
  return out.join('');
}

// Draws the window; returns its frame.
function drawTracks(view, axis) {
  const width = drawingWidth('tracks'), frame = new Frame(axis, view.from, view.span, width);
  const tracks = [drawFaults];
  for (const { name, kind } of clients) tracks.push((frame, top) => (kind === 'producer' ? drawProducer : drawConsumer)(frame, top, name));
  tracks.push(drawMessages);
  if (view.partition) {
    for (const draw of [drawLeadership, drawIsr, drawOffsets]) tracks.push((frame, top) => draw(frame, top, view.partition));
  }
  tracks.push(drawController);
  const partition = view.partition ? ` of ${view.partition}` : '';
  drawInto('tracks', frame, tracks, `Faults, clients, messages, leadership, in-sync replicas and offsets${partition} over the run; the text version follows`);
  return frame;
}

// Draws tracks below each other, with the ruler above and the cursor through them.
function drawInto(id, frame, tracks, label, patterns = '') {
  let top = RULER + 8;
  const labels = [], bodies = [], rules = [];
  for (const draw of tracks) {
    const { height, body, gutter = [], name, note, more = [] } = draw(frame, top);
    labels.push(svg.text(MARGIN, top + 13, name, 'b'), ...[note, ...more].filter(Boolean).map((words, line) => svg.text(MARGIN, top + 27 + line * 13, words, 'f')), ...gutter);
    bodies.push(body);
    top += height;
    rules.push(svg.line(MARGIN, top + 1, frame.right, top + 1, 'var(--grid)'));
    top += 6;
  }
  const shade = drawShade(frame, RULER, top - RULER);
  element(id).innerHTML = `<svg viewBox="0 0 ${frame.width} ${top}" role="img" aria-label="${escapeText(label)}">`
    + `${PATTERNS}${patterns}<defs><clipPath id="field-${id}"><rect x="${frame.left - 4}" y="0" width="${frame.right - frame.left + 10}" height="${top}"/></clipPath></defs>`
    + `${shade}${rules.join('')}${drawRuler(frame, top)}${labels.join('')}<g clip-path="url(#field-${id})">${bodies.join('')}</g>`
    + `<rect class="curtain" y="0" width="0" height="${top}" fill="var(--panel)"/><g class="cursor"><path d="M-6 ${RULER - 8}h12l-6 9z" fill="var(--lost)"/><line x1="0" y1="${RULER}" x2="0" y2="${top}" stroke="var(--lost)" stroke-width="1.4"/></g></svg>`;
}

const cursors = document.getElementsByClassName('cursor'), curtains = document.getElementsByClassName('curtain');

function moveCursor(frame, id) {
  for (const cursor of cursors) cursor.setAttribute('transform', `translate(${frame.clamp(id)} 0)`);
  moveCurtain(frame, id);
}

const MAP_HEIGHT = 34;

// The whole run: faults, milestones and losses, above how long each leader of the partition led.
function drawMinimap(axis, partition) {
  const width = Math.max(300, element('minimap').clientWidth), x = position => round(position / axis.length * width), out = [];
  for (const fault of faults) {
    const x1 = x(axis.at[fault.from]), x2 = x(axis.at[fault.to]);
    out.push(svg.rect(x1, 0, Math.max(1.5, x2 - x1), MAP_HEIGHT, 'var(--fault)'));
  }
  for (const { leader, epoch, from, to } of partition ? reignsOf(partition) : []) {
    const x1 = x(axis.at[from]), x2 = x(axis.at[to]), words = `b${leader} e${epoch}`;
    out.push(svg.rect(x1, 19, x2 - x1, 10, leader < 0 ? 'url(#hatch)' : epochColour(epoch)));
    if (leader >= 0 && x2 - x1 > textWidth(words, 10) + 8) out.push(svg.text(x1 + 4, 27.5, words, 'on small'));
  }
  for (const id of milestones) {
    const grave = events[id].kind === 'partition_changed' || events[id].kind === 'node_stopped' || events[id].kind === 'truncated';
    out.push(svg.line(x(axis.at[id]), grave ? 3 : 8, x(axis.at[id]), 15, 'var(--ink)', `stroke-width="${grave ? 1.6 : 0.8}"`));
  }
  const gone = new Set(data.lost.map(lost => lost.gone).filter(Boolean));
  for (const id of gone) out.push(svg.cross(x(axis.at[id]), 9, 4));
  element('minimap').innerHTML = `<svg viewBox="0 0 ${width} ${MAP_HEIGHT}" aria-hidden="true">${out.join('')}`
    + `<rect id="window" y=".75" height="${MAP_HEIGHT - 1.5}" fill="var(--link)" fill-opacity=".1" stroke="var(--link)" stroke-width="1.5" rx="3"/>`
    + `<line id="here" y1="0" y2="${MAP_HEIGHT}" stroke="var(--lost)" stroke-width="1.6"/></svg>`;
}

function moveMinimap(axis, view) {
  const width = Math.max(300, element('minimap').clientWidth), x = position => round(position / axis.length * width);
  const map = element('minimap'), frame = element('window'), here = element('here');
  frame.setAttribute('x', Math.max(1, x(view.from)));
  frame.setAttribute('width', Math.max(5, Math.min(width - 1, x(view.from + view.span)) - Math.max(1, x(view.from))));
  for (const end of ['x1', 'x2']) here.setAttribute(end, x(axis.at[view.cursor]));
  map.setAttribute('aria-valuemax', LAST);
  map.setAttribute('aria-valuenow', view.cursor);
  map.setAttribute('aria-valuetext', `event ${view.cursor} of ${LAST}, ${seconds(events[view.cursor].time)} s`);
}

// What became of what an event began: a message on its way, a record that waits for its answer, a fault.
function becameOf(event) {
  if (event.kind !== 'message_sent') return laterWords(event);
  const arrival = arrivals.get(event.id), way = held.has(event.id) ? '; held back' : '';
  if (!arrival || asking() && arrival.id > view.cursor) return way;
  return `${way}; ${arrival.kind === 'message_lost' ? `lost: ${arrival.reason}` : `arrives after ${duration(arrival.time - event.time)}`}`;
}

// What the tracks show as a table: every event drawn in the window, and the milestones before and behind it; that of the
// cursor marked. The arrival of a message is told with its sending.
function writeTracks(frame, cursor) {
  const drawn = frame.ids.filter(id => events[id].kind !== 'message_delivered' || id === cursor);
  const ids = [...new Set([...milestones, ...drawn])].sort((a, b) => a - b), current = ids.findLast(id => id <= cursor);
  const rows = ids.map(id => `<tr${id === current ? ' class="cur"' : ''}><td><a href="${address(id)}">#${id}</a></td><td class="num">${seconds(events[id].time)}</td>`
    + `<td>${escapeText(events[id].node)}</td><td>${escapeText(sentence(events[id]) + becameOf(events[id]))}</td></tr>`);
  return `<table><thead><tr><th>event</th><th>seconds</th><th>node</th><th>what</th></tr></thead><tbody>${rows.join('')}</tbody></table>`;
}
