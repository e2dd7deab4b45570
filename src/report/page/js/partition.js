// What the controller decided about one partition, and how far its replicas got: leadership, ISR, offsets.

const history = new Map();

// Everything about a partition that the tracks draw, gathered once.
function partitionHistory(name) {
  if (history.has(name)) return history.get(name);
  const decisions = [], proposals = [], ends = new Map(), marks = [];
  const end = (node, id, value) => {
    if (!ends.has(node)) ends.set(node, []);
    ends.get(node).push([id, value]);
  };
  for (const event of events) {
    if (event?.partition !== name) continue;
    switch (event.kind) {
      case 'partition_changed': decisions.push(event); break;
      case 'isr_proposed': case 'isr_refused': proposals.push(event); break;
      case 'appended': case 'log_loaded': case 'became_follower': end(event.node, event.id, event.end_offset); break;
      case 'truncated': end(event.node, event.id, event.to); break;
      case 'replica_left': end(event.node, event.id, 0); break;
      case 'became_leader': marks.push([event.id, event.high_watermark]); break;
      case 'high_watermark': if (event.role === 'leader') marks.push([event.id, event.high_watermark]); break;
    }
  }
  const replicas = [...new Set(decisions.flatMap(event => event.replicas))].sort((a, b) => a - b);
  history.set(name, { decisions, proposals, ends, marks, replicas });
  return history.get(name);
}

// The decisions with the event that ends each.
const spans = decisions => decisions.map((event, index) => ({ event, from: event.id, to: decisions[index + 1]?.id ?? LAST + 1 }));

// How long each leader led, over the decisions that changed only the ISR.
function reignsOf(name) {
  const reigns = [];
  for (const { event, from, to } of spans(partitionHistory(name).decisions)) {
    const last = reigns.at(-1);
    if (last && last.leader === event.leader && last.epoch === event.leader_epoch) last.to = to;
    else reigns.push({ leader: event.leader, epoch: event.leader_epoch, election: event.election, from, to });
  }
  return reigns;
}

function drawLeadership(frame, top, name) {
  const out = [], y = top + 3;
  for (const { leader, epoch, election, from, to } of reignsOf(name)) {
    if (!frame.shows(from, to)) continue;
    const x1 = frame.clamp(from), x2 = frame.clamp(to), data = `data-e="${from}"`, nobody = leader < 0;
    const words = nobody ? `nobody leads${to <= LAST ? `, ${duration(events[to].time - events[from].time)}` : ''}`
      : `b${leader}, epoch ${epoch}${{ unclean: ', unclean', preferred: ', preferred' }[election] ?? ''}`;
    out.push(nobody ? svg.rect(x1, y, round(x2 - x1), 18, 'none', `stroke="var(--lost)" stroke-dasharray="3 2" rx="3" ${data}`)
      : svg.rect(x1, y, round(x2 - x1 - 1), 18, epochColour(epoch), `rx="3" ${data}`));
    if (election === 'unclean' && !nobody) out.push(svg.rect(x1, y, round(Math.min(x2 - x1 - 1, 400)), 18, 'url(#unclean)', `rx="3" ${data}`));
    const short = nobody ? 'none' : `b${leader} e${epoch}`, said = [words, short].find(text => textWidth(text, 12) + 12 < x2 - x1);
    if (said) out.push(svg.text(x1 + 6, y + 13.5, said, nobody ? 'lost' : 'on', data));
  }
  return { height: 30, body: out.join(''), name: 'leader', note: 'by epoch' };
}

const ISR_ROW = 15;

function drawIsr(frame, top, name) {
  const { decisions, proposals, replicas } = partitionHistory(name), out = [], gutter = [], places = new Places();
  const min = minIsrOf(name), rowOf = number => top + 3 + replicas.indexOf(number) * ISR_ROW;
  const level = top + 10 + replicas.length * ISR_ROW, unit = Math.min(8, 24 / Math.max(1, replicas.length)), y = count => level + (replicas.length - count) * unit;
  for (const number of replicas) {
    gutter.push(svg.text(GUTTER - 8, rowOf(number) + 10, `b${number}`, 'm', 'text-anchor="end"'));
    out.push(svg.line(frame.left, rowOf(number) + 6, frame.right, rowOf(number) + 6, 'var(--rule)', 'stroke-dasharray="1 4"'));
  }
  let line = '';
  for (const { event, from, to } of spans(decisions)) {
    if (!frame.shows(from, to)) continue;
    const x1 = frame.clamp(from), x2 = frame.clamp(to), below = event.isr.length < min || event.leader < 0;
    for (const number of event.isr) {
      const leads = number === event.leader;
      out.push(svg.rect(x1, rowOf(number), round(x2 - x1), 12, leads ? epochColour(event.leader_epoch) : 'var(--ghost)', `fill-opacity="${leads ? 1 : 0.55}" data-e="${from}"`));
    }
    if (below) out.push(svg.rect(x1, y(min), round(x2 - x1), y(0) - y(min), 'url(#hatch)', `data-e="${from}"`));
    line += `${line ? 'L' : 'M'}${x1} ${y(event.isr.length)}H${x2}`;
  }
  out.push(svg.path(line, 'stroke="var(--ink)" stroke-width="1.6" fill="none"'));
  out.push(svg.line(frame.left, y(min), frame.right, y(min), 'var(--lost)', 'stroke-dasharray="5 3" stroke-width="1.1"'));
  gutter.push(svg.text(GUTTER - 8, y(min) + 4, `min ${min}`, 'f', 'text-anchor="end"'));
  out.push(svg.line(frame.left, y(0), frame.right, y(0), 'var(--rule)'));
  for (const event of proposals) {
    const row = brokerNumber(event.node);
    if (!frame.shows(event.id, event.id) || !replicas.includes(row)) continue;
    const x = frame.x(event.id), at = rowOf(row) + 6;
    out.push(event.kind === 'isr_refused' ? svg.cross(x, at, 4, `data-e="${event.id}"`)
      : svg.path(`M${x} ${at - 5}l5 5l-5 5l-5 -5z`, `fill="var(--panel)" stroke="var(--ink)" data-e="${event.id}"`));
  }
  decisions.forEach((event, index) => {
    const before = decisions[index - 1], x = frame.x(event.id);
    if (!before || before.isr.join() === event.isr.join() || x < frame.left || x > frame.right) return;
    const words = `${brokerSet(before.isr)} to ${brokerSet(event.isr)}`, width = textWidth(words);
    const at = x + 5 + width < frame.right ? x + 5 : x - 5 - width;
    out.push(svg.line(x, top + 2, x, y(0), 'var(--soft)', 'stroke-width=".8"'));
    if (places.take(at, y(0) + 2, width)) out.push(svg.text(round(at), y(0) + 12, words, 'f', `data-e="${event.id}"`));
  });
  return { height: y(0) - top + 18, body: out.join(''), gutter, name: 'ISR', note: 'members' };
}

const OFFSETS_HEIGHT = 74;
const REPLICA_DASHES = ['', '7 3', '2 3', '9 3 2 3', '5 2', '1 2'];

function drawOffsets(frame, top, name) {
  const { ends, marks } = partitionHistory(name), out = [], gutter = [], places = new Places();
  const at = (series, id) => series[lowerBound(series, id + 1, ([event]) => event) - 1]?.[1];
  const first = frame.ids[0] ?? 1, last = frame.ids.at(-1) ?? LAST;
  const inside = series => [[first, at(series, first)], ...series.filter(([id]) => id > first && id <= last), [last, at(series, last)]].filter(([, value]) => value !== undefined);
  const lines = [...ends].sort(([a], [b]) => (a < b ? -1 : 1)).map(([node, series]) => ({ node, points: inside(series) })), water = inside(marks);
  const values = [...lines.flatMap(line => line.points), ...water].map(([, value]) => value);
  const low = Math.min(...values, Infinity), high = Math.max(...values, 0);
  if (!values.length) return { height: 24, body: svg.text(frame.left, top + 14, 'no log yet', 'f'), name: 'offsets', note: '' };
  const y = value => round(top + OFFSETS_HEIGHT - 12 - (value - low) / Math.max(1, high - low) * (OFFSETS_HEIGHT - 24));
  for (const value of new Set([low, Math.round((low + high) / 2), high])) {
    out.push(svg.line(frame.left, y(value), frame.right, y(value), 'var(--grid)'));
    gutter.push(svg.text(GUTTER - 8, y(value) + 4, value, 'f', 'text-anchor="end"'));
  }
  const draw = (points, lift) => points.map(([id, value], index) => index ? `H${frame.clamp(id)}V${round(y(value) + lift)}` : `M${frame.clamp(id)} ${round(y(value) + lift)}`).join('');
  out.push(svg.path(draw(water, 0), 'fill="none" stroke="var(--link)" stroke-width="5" stroke-opacity=".35"'));
  lines.forEach(({ node, points }, index) => {
    out.push(svg.path(draw(points, (index - 1) * 1.6), `fill="none" stroke="var(--ink)" stroke-width="1.4" stroke-dasharray="${REPLICA_DASHES[index % REPLICA_DASHES.length]}"`));
  });
  const labels = [...lines.filter(line => line.points.length).map(({ node, points }) => [node, points.at(-1)[1]])];
  for (const [node, value] of labels) {
    const same = labels.filter(([, other]) => other === value).map(([name]) => name).join(' '), width = textWidth(same) + 4;
    if (labels.find(([, other]) => other === value)[0] === node && places.take(frame.right - width, y(value) - 14, width)) {
      out.push(svg.text(frame.right - width, y(value) - 5, same, 'f'));
    }
  }
  return { height: OFFSETS_HEIGHT, body: out.join(''), gutter, name: 'offsets', note: 'LEO; HW wide' };
}

const DECISION_KINDS = new Set(['broker_registered', 'broker_fenced', 'broker_unfenced', 'controlled_shutdown', 'topic_created', 'topic_deleted', 'config_changed', 'partition_changed', 'reassignment_began', 'reassignment_completed', 'reassignment_cancelled']);
const decided = events.filter(event => event && DECISION_KINDS.has(event.kind));

function drawController(frame, top) {
  const out = [], places = new Places(), y = top + 18;
  out.push(svg.line(frame.left, y, frame.right, y, 'var(--faint)'));
  const words = event => ({
    broker_registered: `register b${event.broker}`, broker_fenced: `fence b${event.broker}`, broker_unfenced: `unfence b${event.broker}`, controlled_shutdown: `b${event.broker} stops`,
    topic_created: `create ${event.topic}`, topic_deleted: `delete ${event.topic}`, config_changed: event.name,
    reassignment_began: `move ${event.partition}`, reassignment_completed: `${event.partition} moved`, reassignment_cancelled: `${event.partition} stays`,
    partition_changed: event.election === 'none' ? `ISR of ${event.partition}` : event.leader < 0 ? `${event.partition} offline` : `${event.partition}: b${event.leader}`,
  })[event.kind];
  for (let index = lowerBound(decided, frame.from - 1, event => frame.axis.at[event.id]); index < decided.length; index++) {
    const event = decided[index], x = frame.x(event.id);
    if (x > frame.right) break;
    const grave = event.kind === 'broker_fenced' || event.kind === 'partition_changed' && event.election !== 'none';
    out.push(svg.circle(x, y, grave ? 4.5 : 3.2, grave ? 'var(--ink)' : 'var(--panel)', `stroke="var(--ink)" stroke-width="1.3" data-e="${event.id}"`));
    const text = words(event), width = textWidth(text), left = Math.min(x - 4, frame.right - width);
    const row = [y - 8, y + 16].find(level => places.take(left, level - 9, width + 6));
    if (row) out.push(svg.text(round(left), row, text, 'f', `data-e="${event.id}"`));
  }
  return { height: 40, body: out.join(''), name: 'controller', note: '' };
}
