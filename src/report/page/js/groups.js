// Consumer groups, gathered once: who coordinated each, its generations and why they ended, its members, who owned which
// partition as the members saw it themselves, what was committed and what was processed.

const OFFSETS_TOPIC = '__consumer_offsets';

// The partition of the offsets topic whose leader coordinates a group: Java's hash of the name, as Kafka takes it.
function offsetsPartitionOf(group) {
  const count = partitionNames.filter(name => topicOf(name) === OFFSETS_TOPIC).length;
  let hash = 0;
  for (let index = 0; index < group.length; index++) hash = Math.imul(hash, 31) + group.charCodeAt(index) | 0;
  return `${OFFSETS_TOPIC}-${(hash & 0x7fffffff) % Math.max(1, count)}`;
}

// Intervals that follow each other: each ends where the next begins, the last at the end of the run.
class Course {
  constructor() {
    this.list = [];
  }

  get open() {
    return this.list.at(-1)?.to === LAST + 1 ? this.list.at(-1) : null;
  }

  begin(id, what) {
    this.end(id);
    this.list.push({ from: id, to: LAST + 1, ...what });
  }

  end(id) {
    if (this.open) this.open.to = id;
  }
}

// Who coordinated a partition of the offsets topic: a leader has to read its records first.
function coordinatorsOf(partition) {
  const reigns = new Course();
  for (const event of events) {
    const broker = event?.node;
    if (event?.kind === 'became_leader' && event.partition === partition) reigns.begin(event.id, { broker, epoch: event.leader_epoch, loading: true });
    else if (event?.kind === 'coordinator_loaded' && event.partition === partition) reigns.begin(event.id, { broker, epoch: event.leader_epoch, loading: false });
    else if (event?.kind === 'coordinator_unloaded' && event.partition === partition && reigns.open?.epoch === event.leader_epoch) reigns.end(event.id);
    else if (event?.kind === 'node_stopped' && reigns.open?.broker === broker) reigns.end(event.id);
  }
  return reigns.list;
}

// What was committed and processed of one partition after each event that moved it.
class Progress {
  constructor() {
    Object.assign(this, { series: [], start: null, committed: null, by: '', generation: -1, next: null, again: 0, below: 0, seen: new Set() });
  }

  note(id) {
    const { committed, by, generation, next, again, below, start } = this;
    // What is committed and not processed is skipped if its member ends now, what is processed and not committed is done again.
    const skips = committed === null || start === null ? 0 : Math.max(0, committed - start - below);
    this.series.push({ id, committed, by, generation, next, again, skips, repeats: this.seen.size - below });
  }

  positioned(offset, id) {
    this.start = this.start === null ? offset : Math.min(this.start, offset);
    this.note(id);
  }

  commit(offset, by, generation, id) {
    const before = this.committed ?? 0, now = offset ?? 0;
    // Of the records between, those that were processed have changed sides.
    if (Math.abs(now - before) > this.seen.size) {
      this.below = [...this.seen].filter(processed => processed < now).length;
    } else {
      for (let between = Math.min(before, now); between < Math.max(before, now); between++) if (this.seen.has(between)) this.below += Math.sign(now - before);
    }
    Object.assign(this, { committed: offset, by, generation });
    this.note(id);
  }

  // Whether the record was processed before.
  process(offset, id) {
    const before = this.seen.has(offset);
    this.again += before ? 1 : 0;
    if (!before) {
      this.seen.add(offset);
      this.below += offset < (this.committed ?? 0) ? 1 : 0;
    }
    this.start ??= offset;
    this.next = Math.max(this.next ?? 0, offset + 1);
    this.note(id);
    return before;
  }

  at(id) {
    return this.series[lowerBound(this.series, id + 1, point => point.id) - 1] ?? { committed: null, by: '', generation: -1, next: null, again: 0, skips: 0, repeats: 0 };
  }
}

class Group {
  constructor(name) {
    Object.assign(this, { name, protocol: 'classic', eras: new Course(), members: new Map(), partitions: new Map(), assigned: [] });
    this.offsetsPartition = offsetsPartitionOf(name);
    this.coordinators = coordinatorsOf(this.offsetsPartition);
  }

  member(id) {
    const name = memberName(id);
    if (!this.members.has(name)) this.members.set(name, { name, stays: [], processed: [] });
    return this.members.get(name);
  }

  partition(name) {
    if (!this.partitions.has(name)) this.partitions.set(name, { name, tenures: [], commits: [], progress: new Progress() });
    return this.partitions.get(name);
  }

  joins(event, id, instance, how) {
    this.member(id).stays.push({ from: event.id, to: LAST + 1, id, instance, how, why: '', epochs: new Course() });
  }

  stay(id) {
    return this.members.get(memberName(id))?.stays.findLast(stay => stay.id === id && stay.to > LAST);
  }

  out(event, id, why) {
    const stay = this.stay(id);
    if (!stay) return;
    stay.epochs.end(event.id);
    Object.assign(stay, { to: event.id, why });
    // Whoever is out may not know it yet.
    for (const { tenures } of this.partitions.values()) for (const tenure of tenures) if (tenure.member === id && tenure.to > LAST) tenure.until ??= event.id;
  }

  reaches(event, id, epoch) {
    const stay = this.stay(id);
    if (stay && stay.epochs.open?.epoch !== epoch) stay.epochs.begin(event.id, { epoch });
  }

  owns(event) {
    for (const name of event.partitions) {
      this.partition(name).tenures.push({ from: event.id, to: LAST + 1, until: null, node: event.node, member: event.member, generation: event.generation });
    }
  }

  givesUp(node, id, is = () => true) {
    for (const { name, tenures } of this.partitions.values()) for (const tenure of tenures) if (tenure.node === node && tenure.to > LAST && is(name)) tenure.to = id;
  }

  commit(event, kind, offsets, error = '') {
    for (const [name, offset] of offsets) this.partition(name).commits.push({ id: event.id, kind, offset, error });
  }

  // A new coordinator goes on from what is a committed record: of the classic protocol the last assignment.
  loaded(event) {
    if (this.protocol === 'consumer') return;
    for (const { stays } of this.members.values()) {
      for (const stay of stays) if (stay.to > LAST && !this.assigned.includes(stay.id)) this.out(event, stay.id, 'forgotten with the coordinator');
    }
    const { open, list } = this.eras, last = list.findLast(era => era.kind === 'generation');
    if (open && open.kind !== 'generation' && last) this.eras.begin(event.id, { ...last, from: event.id, to: LAST + 1, why: 'as it was loaded' });
    else if (open && open.kind !== 'generation') this.eras.end(event.id);
  }
}

const takesGroup = {
  member_joined: (group, event) => group.joins(event, event.member, event.instance, 'joins'),
  member_replaced(group, event) {
    const { epoch } = group.stay(event.old)?.epochs.open ?? {};
    group.out(event, event.old, `replaced by another process as ${event.instance}`);
    group.joins(event, event.new, event.instance, 'comes back');
    // It takes the place of the old one, and the others notice nothing.
    if (epoch !== undefined) group.reaches(event, event.new, epoch);
  },
  member_left: (group, event) => group.out(event, event.member, event.why),
  rebalance_began: (group, event) => group.eras.begin(event.id, { kind: 'joining', generation: event.generation, why: event.why, began: event.id }),
  generation_formed(group, event) {
    const { why = '', began = event.id } = group.eras.open ?? {};
    if (!event.leader) group.protocol = 'consumer';
    group.eras.begin(event.id, { kind: 'assigning', generation: event.generation, why, began, assignor: event.protocol, leader: event.leader });
    if (event.leader) for (const id of event.members) group.reaches(event, id, event.generation);
  },
  group_assigned(group, event) {
    const before = group.eras.open ?? {};
    group.eras.begin(event.id, { ...before, from: event.id, to: LAST + 1, kind: 'generation', generation: event.generation });
    group.assigned = event.owners.map(([id]) => id);
  },
  group_emptied: (group, event) => group.eras.begin(event.id, { kind: 'empty', generation: event.generation, why: 'nobody is left' }),
  member_advanced: (group, event) => group.reaches(event, event.member, event.epoch),
  partitions_assigned: (group, event) => group.owns(event),
  partitions_revoked: (group, event) => group.givesUp(event.node, event.id, name => event.partitions.includes(name)),
  partitions_lost: (group, event) => group.givesUp(event.node, event.id, name => event.partitions.includes(name)),
  commit_sent: (group, event) => group.commit(event, 'sent', event.offsets),
  commit_answered(group, event) {
    if (event.error !== 'NONE') group.commit(event, event.definite ? 'refused' : 'unknown', events[event.sent]?.offsets ?? [], event.error);
  },
  offsets_committed(group, event) {
    group.commit(event, 'accepted', event.offsets);
    for (const [name, offset] of event.offsets) group.partition(name).progress.commit(offset, memberName(event.member), event.generation, event.id);
  },
  committed_fetched(group, event) {
    const { progress } = group.partition(event.partition), told = event.offset < 0 ? null : event.offset;
    if (told !== progress.committed) progress.commit(told, progress.by, progress.generation, event.id);
  },
  offsets_expired(group, event) {
    for (const name of event.partitions) group.partition(name).progress.commit(null, '', -1, event.id);
  },
  record_processed(group, event) {
    const { progress } = group.partition(event.partition), again = progress.process(event.offset, event.id);
    group.member(event.node).processed.push({ event, again });
  },
};

const groups = (() => {
  const found = new Map();
  for (const event of events) {
    if (event?.group !== undefined) {
      if (!found.has(event.group)) found.set(event.group, new Group(event.group));
      takesGroup[event.kind]?.(found.get(event.group), event);
    } else if (event?.kind === 'coordinator_loaded') {
      for (const group of found.values()) if (group.offsetsPartition === event.partition) group.loaded(event);
    } else if (event?.kind === 'node_stopped') {
      for (const group of found.values()) group.givesUp(event.node, event.id);
    } else if (event?.kind === 'position_set') {
      for (const group of found.values()) if (group.members.has(event.node) && group.partitions.has(event.partition)) group.partition(event.partition).progress.positioned(event.offset, event.id);
    }
  }
  const byName = (a, b) => (a.name < b.name ? -1 : 1);
  return [...found.values()].sort(byName).map(group => Object.assign(group, {
    lanes: [...group.members.values()].sort(byName), owned: [...group.partitions.values()].filter(({ tenures, commits }) => tenures.length || commits.length).sort(byName),
  }));
})();

// Where a rebalance of any group begins.
const rebalances = groups.flatMap(({ eras }) => eras.list.filter(era => era.kind === 'joining').map(era => era.from)).sort((a, b) => a - b);
// What the epochs of a group's protocol are called.
const generationWord = group => group.protocol === 'consumer' ? 'epoch' : 'generation';

// When nobody had a partition, from its first owner on.
function gapsOf(tenures) {
  const gaps = [];
  let end = null;
  for (const { from, to } of [...tenures].sort((a, b) => a.from - b.from)) {
    if (end !== null && from > end) gaps.push({ from: end, to: from });
    end = Math.max(end ?? 0, to);
  }
  if (end !== null && end <= LAST) gaps.push({ from: end, to: LAST + 1 });
  return gaps;
}
