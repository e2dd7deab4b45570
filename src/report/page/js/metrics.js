// What an operator would watch: counts of the whole cluster before the first step of the story and at the cursor.

const LATENCIES = 20;
const minIsrOf = partition => Number(data.topics[topicOf(partition)]?.['min.insync.replicas'] ?? 1);
const beforeStory = Math.max(1, (events.find(event => event?.kind === 'step_fired')?.id ?? 1) - 1);

// Numbers of the events that a metric counts.
const counted = { shrinks: [], expands: [], elections: [], unclean: [], refused: [], uncommitted: [] };
{
  const members = {};
  for (const event of events) {
    if (event?.kind === 'record_failed') counted.refused.push(event.id);
    if (event?.kind === 'commit_answered' && event.error !== 'NONE') counted.uncommitted.push(event.id);
    if (event?.kind !== 'partition_changed') continue;
    const change = event.isr.length - (members[event.partition] ?? event.isr.length);
    members[event.partition] = event.isr.length;
    if (change < 0 && event.election === 'none') counted.shrinks.push(event.id);
    if (change > 0) counted.expands.push(event.id);
    if (['clean', 'unclean', 'preferred'].includes(event.election) && event.leader >= 0) counted.elections.push(event.id);
    if (event.election === 'unclean') counted.unclean.push(event.id);
  }
}
const answered = [...records.values()].filter(({ outcome }) => outcome?.kind === 'record_acked' && outcome.offset >= 0).sort((a, b) => a.outcome.id - b.outcome.id);

// How long the last acknowledged records waited, their median in nanoseconds; null before the first.
function latencyAt(id) {
  const end = lowerBound(answered, id + 1, record => record.outcome.id), last = answered.slice(Math.max(0, end - LATENCIES), end);
  return last.length ? last.map(({ sent, outcome }) => outcome.time - sent.time).sort((a, b) => a - b)[last.length >> 1] : null;
}

function partitionsWhere(id, is) {
  return Object.entries(states[id].partitions).filter(([name, partition]) => partition.replicas.length && is(partition, name)).length;
}

const countTo = (list, id) => lowerBound(list, id + 1);
const clientsAt = id => Object.values(states[id].clients).reduce((sum, { sent, acked, failed }) => sum + sent - acked - failed, 0);

// [name, value after event `id`, how it is said]. A partition without a leader has nobody to report its ISR.
const METRICS = [
  ['offline partitions', id => partitionsWhere(id, ({ leader }) => leader < 0)],
  ['under-replicated partitions', id => partitionsWhere(id, ({ leader, isr, replicas }) => leader >= 0 && isr.length < replicas.length)],
  ['partitions under min ISR', id => partitionsWhere(id, ({ leader, isr }, name) => leader >= 0 && isr.length < minIsrOf(name))],
  ['brokers not active', id => Object.values(states[id].brokers).filter(state => state !== 'active').length],
  ['ISR shrinks so far', id => countTo(counted.shrinks, id)],
  ['ISR expansions so far', id => countTo(counted.expands, id)],
  ['leader elections so far', id => countTo(counted.elections, id)],
  ['unclean elections so far', id => countTo(counted.unclean, id)],
  ['records waiting for an answer', clientsAt],
  ['records refused or given up so far', id => countTo(counted.refused, id)],
  ...groups.length ? [
    ['consumer lag, where something is committed', id => groups.flatMap(group => group.owned).reduce((sum, partition) => sum + (lagOf(partition, id) ?? 0), 0)],
    ['rebalances so far', id => countTo(rebalances, id)],
    ['commits refused or unknown so far', id => countTo(counted.uncommitted, id)],
  ] : [],
  [`produce latency, median of ${LATENCIES}`, latencyAt, duration],
];

function drawMetrics(view) {
  const rows = METRICS.map(([name, at, say = String]) => {
    const was = at(beforeStory), is = at(view.cursor), shown = value => value === null ? '-' : say(value);
    const change = was === null || is === null || was === is ? '' : `${is > was ? '+' : '\u2212'}${say(Math.abs(is - was))}`;
    return `<tr><td>${name}</td><td class="num">${shown(was)}</td><td class="num">${shown(is)}</td><td class="num">${change ? `<span class="chg">${change}</span>` : ''}</td></tr>`;
  });
  element('metrics').innerHTML = `<table class="metrics"><thead><tr><th scope="col">whole cluster</th><th scope="col">before the first step</th><th scope="col">at the cursor</th><th scope="col">change</th></tr></thead><tbody>${rows.join('')}</tbody></table>`;
}
