// The cluster after each event. States share what did not change, so that all of them are kept: a step in either
// direction, or to anywhere, is a look-up.

// A log is a list from its newest batch back: { batch, before }, null where it begins.
const logOf = list => list.reduce((before, batch) => ({ batch, before }), null);

function cutLog(log, to) {
  const cut = [];
  while (log && log.batch.end > to) {
    cut.push(log.batch);
    log = log.before;
  }
  return [log, cut.reverse()];
}

const emptyReplica = { role: 'none', epoch: null, end: 0, hw: 0, flushed: 0, start: 0, log: null, ghosts: [] };
const emptyPartition = { leader: -1, epoch: null, partitionEpoch: null, isr: [], replicas: [], election: null, logs: {} };
const emptyClient = { sent: 0, acked: 0, failed: 0, read: 0 };

function withPartition(state, name, change) {
  const partition = state.partitions[name] ?? emptyPartition;
  return { ...state, partitions: { ...state.partitions, [name]: { ...partition, ...change(partition) } } };
}

function withReplica(state, event, change) {
  const number = brokerNumber(event.node);
  if (number === null) return state;
  return withPartition(state, event.partition, ({ logs }) => {
    const replica = logs[number] ?? emptyReplica;
    return { logs: { ...logs, [number]: { ...replica, ...change(replica) } } };
  });
}

function withClient(state, event, field) {
  const client = state.clients[event.node] ?? emptyClient;
  return { ...state, clients: { ...state.clients, [event.node]: { ...client, [field]: client[field] + 1 } } };
}

// Every replica of a node, as when its process ends.
function withReplicasOf(state, node, change) {
  const number = brokerNumber(node), partitions = {};
  for (const [name, partition] of Object.entries(state.partitions)) {
    const replica = partition.logs[number];
    partitions[name] = replica ? { ...partition, logs: { ...partition.logs, [number]: { ...replica, ...change(replica) } } } : partition;
  }
  return { ...state, partitions };
}

const withNode = (state, node, value) => ({ ...state, nodes: { ...state.nodes, [node]: value } });
const withBroker = (state, event, value) => ({ ...state, brokers: { ...state.brokers, [event.broker]: value } });
const without = (object, key) => Object.fromEntries(Object.entries(object).filter(([name]) => name !== key));
const ghostsOf = (cut, event, why) => cut.map(batch => ({ batch, event: event.id, why }));

const apply = {
  fault_began: (state, event) => ({ ...state, faults: { ...state.faults, [event.fault]: event.id } }),
  fault_ended: (state, event) => ({ ...state, faults: without(state.faults, event.fault) }),
  node_started: (state, event) => withNode(state, event.node, 'runs'),
  node_stopped(state, event) {
    const how = { clean: 'stopped', kill: 'killed', power: 'lost power', torn: 'lost power while writing' }[event.how];
    const gone = { ...state, groups: Object.fromEntries(Object.entries(state.groups).map(([name, group]) => {
      const owned = Object.keys(group.owners).filter(partition => group.owners[partition].split(', ').includes(event.node));
      return [name, owned.length ? { ...group, owners: ownersWith(group.owners, owned, event.node, false) } : group];
    })) };
    return withReplicasOf(withNode(gone, event.node, how), event.node, replica =>
      ({ role: 'none', flushed: event.how === 'clean' ? replica.end : replica.flushed }));
  },
  node_paused: (state, event) => withNode(state, event.node, 'paused'),
  node_resumed: (state, event) => withNode(state, event.node, 'runs'),
  log_loaded: (state, event) => withReplica(state, event, replica => {
    const [, cut] = cutLog(replica.log, event.end_offset);
    // What a start finds after a power loss is what had reached the disk.
    const survived = ['power', 'torn'].includes(events[lastStop.get(`${event.node}`)?.findLast(id => id < event.id) ?? 0]?.how);
    return {
      log: logOf(event.batches), end: event.end_offset, hw: event.high_watermark, start: event.start_offset,
      flushed: survived ? event.end_offset : Math.min(replica.flushed, event.end_offset),
      ghosts: [...replica.ghosts, ...ghostsOf(cut, event, 'gone at the restart')],
    };
  }),
  appended: (state, event) => withReplica(state, event, replica =>
    ({ log: event.batches.reduce((before, batch) => ({ batch, before }), replica.log), end: event.end_offset })),
  truncated: (state, event) => withReplica(state, event, replica => {
    const [log, cut] = cutLog(replica.log, event.to);
    return { log, end: event.to, flushed: Math.min(replica.flushed, event.to), ghosts: [...replica.ghosts, ...ghostsOf(cut, event, event.why)] };
  }),
  replica_left: (state, event) => withReplica(state, event, replica => {
    const [, cut] = cutLog(replica.log, 0);
    return { ...emptyReplica, ghosts: [...replica.ghosts, ...ghostsOf(cut, event, 'others hold the partition')] };
  }),
  flushed: (state, event) => withReplica(state, event, () => ({ flushed: event.end_offset })),
  became_leader: (state, event) => withReplica(state, event, () => ({ role: 'leader', epoch: event.leader_epoch, hw: event.high_watermark })),
  became_follower: (state, event) => withReplica(state, event, () => ({ role: 'follower', epoch: event.leader_epoch, hw: event.high_watermark })),
  high_watermark: (state, event) => withReplica(state, event, () => ({ hw: event.high_watermark })),
  broker_registered: (state, event) => withBroker(state, event, 'registered, fenced'),
  broker_fenced: (state, event) => withBroker(state, event, 'fenced'),
  broker_unfenced: (state, event) => withBroker(state, event, 'active'),
  topic_deleted: (state, event) => ({ ...state, partitions: Object.fromEntries(
    Object.entries(state.partitions).filter(([name]) => topicOf(name) !== event.topic)) }),
  partition_changed: (state, event) => withPartition(state, event.partition, () => ({
    leader: event.leader, epoch: event.leader_epoch, partitionEpoch: event.partition_epoch, isr: event.isr,
    replicas: event.replicas, election: event.election,
  })),
  record_sent: (state, event) => withClient(state, event, 'sent'),
  record_acked: (state, event) => withClient(state, event, 'acked'),
  record_failed: (state, event) => withClient(state, event, 'failed'),
  record_read: (state, event) => withClient(state, event, 'read'),
};

const emptyGroup = { generation: null, members: {}, owners: {}, committed: {}, processed: {} };

function withGroup(state, event, change) {
  const group = state.groups[event.group] ?? emptyGroup;
  return { ...state, groups: { ...state.groups, [event.group]: { ...group, ...change(group) } } };
}

// The owners of partitions with `node` among them, or no longer. There may be two: one that is out and does not know it.
function ownersWith(owners, partitions, node, has) {
  const next = { ...owners };
  for (const name of partitions) {
    const others = (next[name] ?? '').split(', ').filter(owner => owner && owner !== node);
    next[name] = [...others, ...has ? [node] : []].join(', ');
  }
  return next;
}

const offsetsBeside = (offsets, list) => ({ ...offsets, ...Object.fromEntries(list) });

Object.assign(apply, {
  member_joined: (state, event) => withGroup(state, event, ({ members }) => ({ members: { ...members, [memberName(event.member)]: 'joined' } })),
  member_replaced: (state, event) => withGroup(state, event, ({ members }) => ({ members: { ...members, [memberName(event.new)]: 'joined again' } })),
  member_left: (state, event) => withGroup(state, event, ({ members }) => ({ members: { ...members, [memberName(event.member)]: `out, ${event.why}` } })),
  member_advanced: (state, event) => withGroup(state, event, ({ members }) => ({ members: { ...members, [memberName(event.member)]: `epoch ${event.epoch}` } })),
  rebalance_began: (state, event) => withGroup(state, event, () => ({ generation: `${event.generation} ends` })),
  generation_formed: (state, event) => withGroup(state, event, ({ members }) => ({
    generation: `${event.generation}, not assigned`,
    members: event.leader ? { ...members, ...Object.fromEntries(event.members.map(id => [memberName(id), `generation ${event.generation}`])) } : members,
  })),
  group_assigned: (state, event) => withGroup(state, event, () => ({ generation: event.generation })),
  group_emptied: (state, event) => withGroup(state, event, () => ({ generation: `${event.generation}, empty` })),
  partitions_assigned: (state, event) => withGroup(state, event, ({ owners }) => ({ owners: ownersWith(owners, event.partitions, event.node, true) })),
  partitions_revoked: (state, event) => withGroup(state, event, ({ owners }) => ({ owners: ownersWith(owners, event.partitions, event.node, false) })),
  partitions_lost: (state, event) => withGroup(state, event, ({ owners }) => ({ owners: ownersWith(owners, event.partitions, event.node, false) })),
  offsets_committed: (state, event) => withGroup(state, event, ({ committed }) => ({ committed: offsetsBeside(committed, event.offsets) })),
  offsets_expired: (state, event) => withGroup(state, event, ({ committed }) => ({ committed: offsetsBeside(committed, event.partitions.map(name => [name, null])) })),
  record_processed: (state, event) => withGroup(state, event, ({ processed }) => ({ processed: { ...processed, [event.partition]: Math.max(processed[event.partition] ?? 0, event.offset + 1) } })),
  coordinator_loaded: (state, event) => ({ ...state, coordinators: { ...state.coordinators, [event.partition]: `${event.node}, epoch ${event.leader_epoch}` } }),
  coordinator_unloaded: (state, event) => ({ ...state, coordinators: { ...state.coordinators, [event.partition]: null } }),
});

const topicOf = partition => partition.slice(0, partition.lastIndexOf('-'));

// Where each node stopped.
const lastStop = new Map();
for (const event of events) {
  if (event?.kind === 'node_stopped') lastStop.set(event.node, [...lastStop.get(event.node) ?? [], event.id]);
}

// states[id] is the cluster after event id; states[0] before anything happened.
const states = [{ nodes: {}, faults: {}, brokers: {}, partitions: {}, clients: {}, groups: {}, coordinators: {} }];
for (let id = 1; id <= LAST; id++) {
  const state = states[id - 1], event = events[id];
  states.push(apply[event.kind]?.(state, event) ?? state);
}

const partitionNames = [...new Set(events.flatMap(event => event?.kind === 'partition_changed' ? [event.partition] : []))].sort();

// What an event changed, as [what, before, after].
function changes(id) {
  const label = {
    end: 'LEO', hw: 'HW', flushed: 'flushed to', role: 'role', epoch: 'leader epoch', isr: 'ISR', leader: 'leader', partitionEpoch: 'partition epoch',
    election: 'election', replicas: 'replicas', start: 'log start',
  };
  const show = (key, value) => {
    if (value === undefined || value === null) return '-';
    if (key === 'leader') return brokerName(value);
    return Array.isArray(value) ? brokerSet(value) : String(value);
  };
  const rows = [];
  const compare = (path, before, after, within) => {
    for (const key of new Set([...Object.keys(before ?? {}), ...Object.keys(after ?? {})])) {
      const was = before?.[key], is = after?.[key], inner = [was, is].find(value => value && typeof value === 'object' && !Array.isArray(value));
      if (was === is || key === 'log' || key === 'ghosts') continue;
      const named = [...path, { nodes: '', faults: 'fault', brokers: 'broker', partitions: '', clients: '', logs: '', groups: 'group', members: 'member', owners: 'owner of', committed: 'committed of', processed: 'processed of', coordinators: 'coordinator of' }[key] ?? label[key] ?? (within === 'logs' || within === 'brokers' ? `b${key}` : key)].filter(Boolean);
      if (inner) compare(path.length || key !== 'logs' ? named : path, was, is, key);
      else if (show(key, was) !== show(key, is)) rows.push([named.join(' '), show(key, was), show(key, is)]);
    }
  };
  compare([], states[id - 1], states[id]);
  return rows;
}
