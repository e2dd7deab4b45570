// The log of every replica at the cursor, aligned by offset.

const CELL = 46, CELL_HEIGHT = 34, STRIP = 72, STRIP_TOP = 34;

// The batches of a log that reach into [from, to), oldest first.
function batchesIn(log, from, to) {
  const list = [];
  for (let node = log; node && node.batch.end > from; node = node.before) if (node.batch.base < to) list.push(node.batch);
  return list.reverse();
}

const batchAt = (list, offset) => list.find(batch => batch.base <= offset && offset < batch.end);

// First offset to show: the newest end of the logs, or earlier where replicas differ or something was cut.
function firstOffset(replicas, partition, cells) {
  const end = Math.max(0, ...replicas.map(({ replica }) => Math.max(replica.end, ...replica.ghosts.slice(-1).map(ghost => ghost.batch.end))));
  const newest = Math.max(0, end - cells + 2);
  const uncertain = replicas.flatMap(({ replica }) => [...replica.ghosts.filter(ghost => ghost.batch.base >= replica.end).map(ghost => ghost.batch.base), replica.hw]);
  const lost = data.lost.filter(lost => lost.partition === partition && lost.offset < end).map(lost => lost.offset);
  const interesting = Math.min(...uncertain, ...lost, newest + 2) - 2;
  return Math.max(0, Math.min(newest, interesting));
}

function replicasOf(state, name) {
  const partition = state.partitions[name] ?? emptyPartition;
  const numbers = new Set([...partition.replicas, ...Object.keys(partition.logs).map(Number)]);
  return [...numbers].sort((a, b) => a - b).map(number => ({ number, replica: partition.logs[number] ?? emptyReplica, node: state.nodes[`b${number}`] ?? 'not started', inIsr: partition.isr.includes(number) }));
}

const roleWords = ({ replica, node }) => node !== 'runs' ? node : replica.role === 'none' ? 'no role yet' : `${replica.role}, epoch ${replica.epoch}`;

function drawStrips(view) {
  const state = states[view.cursor], name = view.partition, partition = state.partitions[name] ?? emptyPartition, replicas = replicasOf(state, name);
  const width = drawingWidth('strips'), cells = Math.max(4, Math.floor((width - GUTTER - 10) / CELL)), out = [];
  const from = view.offset ?? firstOffset(replicas, name, cells), to = from + cells;
  const logs = replicas.map(({ replica }) => batchesIn(replica.log, from, to));
  const leader = logs[replicas.findIndex(({ number }) => number === partition.leader)];
  const end = Math.max(0, ...replicas.map(({ replica }) => replica.end));
  const x = offset => GUTTER + (offset - from) * CELL;
  for (let offset = from; offset < Math.min(to, end + 1); offset++) out.push(svg.text(x(offset) + CELL / 2, 12, offset, 'f', 'text-anchor="middle"'));
  const seen = { epochs: new Set(), uncommitted: false, unflushed: false, ghost: false, lost: false, differs: false };
  replicas.forEach((entry, row) => {
    const { number, replica, inIsr } = entry, y = STRIP_TOP + row * STRIP, leads = number === partition.leader;
    out.push(svg.text(MARGIN - 14, y + 12, `b${number}`, 'b m', `data-node="b${number}"`), svg.text(MARGIN + 8, y + 12, inIsr ? 'in ISR' : '', 'f'));
    out.push(svg.text(MARGIN - 14, y + 27, roleWords(entry), entry.node === 'runs' ? 'f' : 'f lost'));
    out.push(svg.line(GUTTER, y + CELL_HEIGHT + 0.5, Math.min(width, x(Math.min(to, end + 1))), y + CELL_HEIGHT + 0.5, 'var(--rule)'));
    for (let offset = from; offset < to; offset++) {
      const batch = batchAt(logs[row], offset);
      const ghost = batch ? null : replica.ghosts.findLast(ghost => ghost.batch.base <= offset && offset < ghost.batch.end);
      if (ghost) {
        seen.ghost = true;
        out.push(svg.rect(x(offset) + 2, y + 1, CELL - 4, CELL_HEIGHT - 3, 'none', `stroke="var(--ghost)" stroke-dasharray="3 2" rx="3" data-e="${ghost.event}"`));
        out.push(cellWords(name, offset, ghost.batch, x(offset), y, 's struck', `data-e="${ghost.event}"`));
      }
      if (!batch) continue;
      const record = recordAt.get(`${name}@${offset}@${batch.epoch}`), gone = record?.lost && !asking(), committed = offset < replica.hw, flushed = offset < replica.flushed, data = `data-cell="${number}/${offset}"`;
      const differs = logs.some(log => (batchAt(log, offset) ?? batch) !== batch) && (leads || batchAt(leader ?? [], offset) !== batch);
      seen.epochs.add(batch.epoch);
      out.push(svg.rect(x(offset) + 1, y, CELL - 2, CELL_HEIGHT - 1, epochColour(batch.epoch), `rx="3" fill-opacity="${committed ? 1 : 0.3}" ${committed ? '' : `stroke="${epochColour(batch.epoch)}" stroke-width="1.6"`} ${data}`));
      if (!flushed) out.push(svg.rect(x(offset) + 1, y, CELL - 2, CELL_HEIGHT - 1, 'url(#unflushed)', `rx="3" ${data}`));
      out.push(cellWords(name, offset, batch, x(offset), y, committed ? 'on' : '', data));
      if (gone) out.push(svg.rect(x(offset) + 2, y + 1, CELL - 4, CELL_HEIGHT - 3, 'none', `stroke="var(--lost)" stroke-width="2" rx="3" ${data}`), svg.cross(x(offset) + CELL - 8, y + 8, 3.2, data));
      if (differs) out.push(svg.path(`M${x(offset) + 3} ${y + CELL_HEIGHT + 3}h${CELL - 6}`, 'stroke="var(--lost)" stroke-width="2.4"'));
      seen.uncommitted ||= !committed;
      seen.unflushed ||= !flushed;
      seen.lost ||= Boolean(gone);
      seen.differs ||= differs;
    }
    out.push(...stripMarks(replica, x, y, from, to));
  });
  const height = STRIP_TOP + replicas.length * STRIP;
  const shownTo = Math.min(to, end);
  element('offsets').textContent = end ? `showing offsets ${from} to ${Math.max(from, shownTo - 1)} of ${end}` : 'no record yet';
  element('strips-title').textContent = `Logs of ${name ?? 'no partition'} at ${seconds(events[view.cursor].time)} s`;
  element('follow').setAttribute('aria-pressed', view.offset === null);
  element('strips').innerHTML = `<svg viewBox="0 0 ${width} ${height + 26}" role="img" aria-label="Logs of the replicas of ${escapeText(name ?? '')} at the cursor; the text version follows">${PATTERNS}${out.join('')}${stripLegend(seen, height + 8, width)}</svg>`;
  return from;
}

function cellWords(partition, offset, batch, x, y, classes, data) {
  const value = valueAt.get(`${partition}@${offset}@${batch.epoch}`) ?? '\u00b7';
  let words = value;
  while (words.length > 1 && textWidth(words, 12) > CELL - 8) words = `${words.replace('\u2026', '').slice(0, -1)}\u2026`;
  const struck = classes.includes('struck') ? 'text-decoration="line-through"' : '';
  return svg.text(x + CELL / 2, y + 15, words, classes, `text-anchor="middle" ${struck} ${data}`) + svg.text(x + CELL / 2, y + 28, `e${batch.epoch}`, `small ${classes}`, `text-anchor="middle" ${data}`);
}

// LEO above its line, HW below on the left of its own, flushed below on the right.
function stripMarks(replica, x, y, from, to) {
  const out = [], bottom = y + CELL_HEIGHT, inside = offset => offset >= from && offset <= to;
  if (inside(replica.end)) {
    const at = x(replica.end);
    out.push(svg.line(at, y - 5, at, bottom + 1, 'var(--ink)', 'stroke-width="2"'), svg.text(at + 4, y - 3, `LEO ${replica.end}`, 'f b'));
  }
  if (inside(replica.hw)) {
    const at = x(replica.hw);
    out.push(svg.path(`M${at} ${bottom + 5}l5 8h-10z`, 'fill="var(--link)"'), svg.line(at, y - 2, at, bottom + 6, 'var(--link)', 'stroke-width="1.6" stroke-dasharray="3 2"'));
    out.push(replica.hw - from > 0 ? svg.text(at - 8, bottom + 14, `HW ${replica.hw}`, 'f', 'text-anchor="end"') : svg.text(at + 24, bottom + 14, `HW ${replica.hw}`, 'f'));
  }
  if (inside(replica.flushed) && replica.flushed > 0) {
    const at = x(replica.flushed), near = replica.flushed === replica.hw;
    out.push(svg.path(`M${at + (near ? 11 : 0)} ${bottom + 4}l5 5l-5 5l-5 -5z`, 'fill="var(--ink)"'), svg.text(at + (near ? 19 : 8), bottom + 14, `flushed ${replica.flushed}`, 'f'));
  }
  return out;
}

function stripLegend(seen, y, width) {
  const out = [], items = [...seen.epochs].sort((a, b) => a - b).map(epoch => [`epoch ${epoch}`, svg.rect(0, 0, 13, 11, epochColour(epoch), 'rx="2"')]);
  if (seen.uncommitted) items.push(['above the HW', svg.rect(0.8, 0.8, 11.4, 9.4, 'var(--ghost)', 'fill-opacity=".3" stroke="var(--ghost)" stroke-width="1.6" rx="2"')]);
  if (seen.unflushed) items.push(['not flushed', svg.rect(0, 0, 13, 11, 'var(--grid)', 'rx="2"') + svg.rect(0, 0, 13, 11, 'url(#hatch)', 'rx="2"')]);
  if (seen.lost) items.push(['acknowledged, and lost in the end', svg.rect(1, 1, 11, 9, 'none', 'stroke="var(--lost)" stroke-width="2" rx="2"')]);
  if (seen.ghost) items.push(['was cut off here', svg.rect(0.8, 0.8, 11.4, 9.4, 'none', 'stroke="var(--ghost)" stroke-dasharray="3 2" rx="2"')]);
  if (seen.differs) items.push(['differs from another replica', svg.line(0, 8, 13, 8, 'var(--lost)', 'stroke-width="2.4"')]);
  let x = GUTTER;
  for (const [words, mark] of items) {
    if (x + textWidth(words) + 20 > width) break;
    out.push(`<g transform="translate(${round(x)} ${y})">${mark}</g>`, svg.text(round(x + 18), y + 10, words, 'f'));
    x += textWidth(words) + 38;
  }
  return out.join('');
}

// The event that gave a replica the cell: its last append or opening before the cursor that has it.
function originOf(view, number, offset) {
  const node = `b${number}`;
  for (let id = view.cursor; id > 0; id--) {
    const event = events[id];
    if (event.node === node && event.partition === view.partition && event.kind === 'appended' && batchAt(event.batches, offset)) return id;
  }
  return null;
}

function writeStrips(view) {
  const rows = replicasOf(states[view.cursor], view.partition).map(entry => {
    const { number, replica, inIsr } = entry, runs = [];
    for (const batch of batchesIn(replica.log, 0, Infinity)) {
      const last = runs.at(-1);
      if (last && last.epoch === batch.epoch && last.end === batch.base) last.end = batch.end; else runs.push({ ...batch });
    }
    const log = runs.map(run => `[${run.base}, ${run.end}) e${run.epoch}`).join(', ') || 'empty';
    return `<tr><td>b${number}</td><td>${escapeText(roleWords(entry))}</td><td>${inIsr ? 'yes' : 'no'}</td><td>${replica.end}</td><td>${replica.hw}</td><td>${replica.flushed}</td><td>${log}</td></tr>`;
  });
  return `<table><thead><tr><th>replica</th><th>role</th><th>in ISR</th><th>LEO</th><th>HW</th><th>flushed to</th><th>log by epoch</th></tr></thead><tbody>${rows.join('')}</tbody></table>`;
}
