// The run: events as objects numbered from 1, joined to their causes, effects and messages.

const batches = data.journal.batches.map(([base, end, epoch, crc, producer, producerEpoch, sequence]) =>
  ({ base, end, epoch, crc, producer, producerEpoch, sequence }));

// events[id]; there is no event 0.
const events = [null];
// effects[id]: numbers of the events that name it as their cause.
const effects = [[]];
{
  const { names, kinds, events: columns } = data.journal;
  const read = {
    text: number => number < 0 ? null : names[number],
    batches: list => list.map(number => batches[number]),
    plain: value => value,
  };
  const rows = kinds.map(() => 0);
  let time = 0;
  for (let index = 0; index < columns.kind.length; index++) {
    const kind = kinds[columns.kind[index]], row = rows[columns.kind[index]]++, id = index + 1;
    time += columns.time[index];
    const cause = columns.cause[index] ? id - columns.cause[index] : 0;
    const event = { id, time, node: names[columns.node[index]], cause, kind: kind.name };
    for (const [name, type, values] of kind.fields) event[name] = read[type](values[row]);
    events.push(event);
    effects.push([]);
    if (cause) effects[cause].push(id);
  }
}
const LAST = events.length - 1;

// What an event follows from where the journal names no cause: what a step does to nodes and links, what a start or a
// session that ended owes to a stop, and the controller's decision behind a broker's change of role, which travels in a
// batch of metadata that says more.
const reasons = new Map();
{
  const decided = new Map(), stopped = new Map(), lost = new Map(), started = new Map(), cut = new Map(), rotten = new Map();
  const acts = new Set(['node_stopped', 'node_started', 'node_paused', 'node_resumed', 'fault_began', 'fault_ended']);
  let step = null;
  const reasonOf = event => {
    const { kind, node } = event;
    if (kind === 'became_leader' || kind === 'became_follower') return decided.get(`${event.partition} ${event.leader_epoch}`);
    if (event.cause) return null;
    if (acts.has(kind)) return step?.time === event.time ? step.id : null;
    if (kind === 'unsynced_lost') return stopped.get(node);
    if (kind === 'truncated' && event.why === 'recovery') return rotten.get(`${node} ${event.partition} ${event.to}`) ?? lost.get(node) ?? stopped.get(node);
    if (kind === 'log_loaded') return cut.get(`${node} ${event.partition}`) ?? started.get(node);
    return kind === 'broker_fenced' ? stopped.get(`b${event.broker}`) : null;
  };
  for (const event of events) {
    if (!event) continue;
    const reason = reasonOf(event);
    if (reason) {
      reasons.set(event.id, reason);
      effects[reason].push(event.id);
    }
    switch (event.kind) {
      case 'step_fired': step = event; break;
      case 'partition_changed': if (!decided.has(`${event.partition} ${event.leader_epoch}`)) decided.set(`${event.partition} ${event.leader_epoch}`, event.id); break;
      case 'node_stopped': stopped.set(event.node, event.id); lost.delete(event.node); break;
      case 'node_paused': stopped.set(event.node, event.id); break;
      case 'unsynced_lost': lost.set(event.node, event.id); break;
      case 'batch_corrupted': rotten.set(`${event.node} ${event.partition} ${event.base_offset}`, event.id); break;
      case 'batch_mended': rotten.delete(`${event.node} ${event.partition} ${event.base_offset}`); break;
      case 'node_started': started.set(event.node, event.id); break;
      case 'truncated': if (event.why === 'recovery') cut.set(`${event.node} ${event.partition}`, event.id); break;
      case 'log_loaded': cut.delete(`${event.node} ${event.partition}`); break;
      case 'broker_unfenced': stopped.delete(`b${event.broker}`); break;
    }
  }
}

// What became of the message that event `sent` put on the wire: its delivery or its loss, and whether it was held.
const arrivals = new Map(), held = new Map();
for (const event of events) {
  if (event?.kind === 'message_delivered' || event?.kind === 'message_lost') arrivals.set(event.sent, event);
  if (event?.kind === 'message_held') held.set(event.sent, event);
}

// Members by the client that they are of; a member that is nobody's is known by its id.
const memberNames = new Map();
for (const event of events) {
  if (event?.kind === 'member_joined' && !memberNames.has(event.member)) memberNames.set(event.member, event.client);
  else if ((event?.kind === 'partitions_assigned' || event?.kind === 'commit_sent') && event.member) memberNames.set(event.member, event.node);
}
const memberName = id => memberNames.get(id) || id || 'nobody';

const milestones = data.milestones.map(([id]) => id);
const milestoneWords = new Map(data.milestones);

// What messages said, by the event of their sending: forms of words, and the numbers that fill their holes.
const told = new Map(data.messages.sent.map(message => [message[0], message]));
function messageWords(sent) {
  if (!told.has(sent)) return null;
  const [, form, ...numbers] = told.get(sent);
  return data.messages.forms[form].split('\u0001').map((part, index) => index ? numbers[index - 1] + part : part).join('');
}

const isMessage = event => event.kind.startsWith('message_');
const brokerName = number => number < 0 ? 'nobody' : `b${number}`;
const brokerNumber = name => /^b\d+$/.test(name) ? Number(name.slice(1)) : null;
const brokerSet = numbers => `{${[...numbers].sort((a, b) => a - b).map(number => `b${number}`).join(', ')}}`;
const seconds = (time, digits = 3) => (time / 1e9).toFixed(digits);

// A length of time in the unit that suits it.
function duration(ns) {
  if (ns >= 1e9) return `${(ns / 1e9).toFixed(ns < 1e10 ? 2 : 1)} s`;
  return ns >= 1e6 ? `${(ns / 1e6).toFixed(ns < 1e7 ? 1 : 0)} ms` : `${Math.round(ns / 1e3)} us`;
}

// Each record a producer gave away, with what it was told and who read it.
const records = new Map();
// Records by where they stand: `orders-0@5@1` is offset 5 as appended in epoch 1.
const recordAt = new Map(), valueAt = new Map();
{
  const place = (partition, offset, epoch) => `${partition}@${offset}@${epoch}`;
  // The epoch in which an acknowledged record was appended: that of the append which its request caused.
  const epochOf = ack => {
    const request = events[ack.cause]?.cause ?? 0;
    for (const id of effects[request]) {
      const { kind, partition, batches } = events[id];
      if (kind !== 'appended' || partition !== ack.partition) continue;
      const batch = batches.find(batch => batch.base <= ack.offset && ack.offset < batch.end);
      if (batch) return batch.epoch;
    }
    return events[effects[request].find(id => events[id].kind === 'produce_answered')]?.leader_epoch;
  };
  for (const event of events) {
    if (event?.kind === 'record_sent') {
      records.set(`${event.node}/${event.record}`, { sent: event, outcome: null, read: null, lost: null });
    } else if (event?.kind === 'record_acked') {
      const record = records.get(`${event.node}/${event.record}`);
      if (!record) continue;
      record.outcome = event;
      const at = place(event.partition, event.offset, epochOf(event));
      recordAt.set(at, record);
      valueAt.set(at, record.sent.value);
    } else if (event?.kind === 'record_failed') {
      const record = records.get(`${event.node}/${event.record}`);
      if (record) record.outcome = event;
    } else if (event?.kind === 'record_read') {
      const at = place(event.partition, event.offset, event.leader_epoch), record = recordAt.get(at);
      valueAt.set(at, event.value);
      if (record) record.read ??= event;
    }
  }
  for (const lost of data.lost) {
    const record = records.get(`${lost.producer}/${lost.record}`);
    if (record) record.lost = lost;
  }
}
