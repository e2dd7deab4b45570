// An event as a sentence. Milestones bring theirs along; here are the others.

const offsetRange = list => list.length ? `[${list[0].base}, ${list.at(-1).end})` : 'nothing';
const plural = (count, word) => `${count} ${word}${count === 1 ? '' : 's'}`;
const shorten = (text, length) => text.length > length ? `${text.slice(0, length - 1)}\u2026` : text;
const offsetsWords = offsets => offsets.map(([partition, offset]) => `${partition}@${offset}`).join(', ') || 'nothing';
const messageName = event => `${event.api} ${(event.request ?? events[event.sent]?.request) ? 'request' : 'response'}`;

const sentences = {
  fault_began: event => `fault begins: ${event.fault}`,
  node_started: event => `starts (incarnation ${event.incarnation})`,
  message_sent: event => `sends ${messageName(event)} to ${event.to}`,
  message_delivered: event => `gets ${messageName(event)} from ${event.from}`,
  message_held: event => `${messageName(event)} to ${event.to} is held back`,
  message_lost: event => `${messageName(event)} to ${event.to} is lost: ${event.reason}`,
  connect_failed: event => `cannot connect to ${event.to}: ${event.reason}`,
  connection_reset: event => `connection reset by ${event.to}`,
  log_loaded: event => `${event.partition}: opens its log${event.recovered ? ', checked' : ''}; LEO ${event.end_offset}, HW ${event.high_watermark}`,
  appended: event => `${event.partition}: appends ${offsetRange(event.batches)} as ${event.role}; LEO ${event.end_offset}`,
  flushed: event => `${event.partition}: flushed to disk up to ${event.end_offset}`,
  became_leader: event => `${event.partition}: leads epoch ${event.leader_epoch} from ${event.start_offset} on, ISR ${brokerSet(event.isr)}`,
  became_follower: event => `${event.partition}: follows ${brokerName(event.leader)} in epoch ${event.leader_epoch}; LEO ${event.end_offset}`,
  high_watermark: event => `${event.partition}: high watermark ${event.high_watermark} as ${event.role}; LEO ${event.end_offset}`,
  follower_fetched: event => `${event.partition}: b${event.follower} fetches from ${event.fetch_offset}; LEO ${event.end_offset}`,
  isr_proposed: event => `${event.partition}: asks for ISR ${brokerSet(event.isr)}: ${event.reason}`,
  produce_answered: event => event.error === 'NONE'
    ? `${event.partition}: answers the produce of [${event.base_offset}, ${event.end_offset}) with success (acks=${acksWord(event.acks)}, HW ${event.high_watermark}, ISR ${brokerSet(event.isr)})`
    : `${event.partition}: answers a produce with ${event.error} (acks=${acksWord(event.acks)}, ISR ${brokerSet(event.isr)})`,
  broker_registered: event => `registers b${event.broker} with broker epoch ${event.broker_epoch}${event.clean ? ' after a clean stop' : ''}`,
  record_sent: event => `record ${event.record} is sent to ${event.topic}${event.partition === null ? '' : `-${event.partition}`}: ${shorten(event.value, 40)} (acks=${acksWord(event.acks)})`,
  record_acked: event => `record ${event.record} is acknowledged${event.offset < 0 ? ' by nobody: acks=0' : ` at ${event.partition}@${event.offset}`}`,
  record_failed: event => `record ${event.record} failed: ${event.error}${event.definite ? '' : '; nobody knows whether it was appended'}`,
  record_read: event => `reads ${event.partition}@${event.offset}: ${shorten(event.value, 40)}`,
  commit_sent: event => `group ${event.group}: asks to commit ${offsetsWords(event.offsets)} in ${event.generation < 0 ? 'no generation' : `generation ${event.generation}`}`,
  commit_answered: event => `group ${event.group}: its commit stands`,
  offsets_committed: event => `group ${event.group}: ${offsetsWords(event.offsets)} of ${memberName(event.member)} committed`,
  committed_asked: event => `group ${event.group}: asks what is committed of ${event.partitions.join(', ')}`,
  committed_fetched: event => `group ${event.group}: ${event.partition} is ${event.offset < 0 ? 'not committed' : `committed up to ${event.offset}`}`,
  record_processed: event => `group ${event.group}: has processed ${event.partition}@${event.offset}: ${shorten(event.value, 40)}`,
  position_set: event => `${event.partition}: position set to ${event.offset}, ${event.why}`,
};

const acksWord = acks => acks === -1 ? 'all' : acks;

// What became of it later, for a record and a fault.
function laterWords(event) {
  if (asking()) return '';
  const record = event.kind === 'record_sent' ? records.get(`${event.node}/${event.record}`) : null, fault = faults.find(({ from }) => from === event.id);
  if (fault) return fault.to > LAST ? ', to the end' : `, until ${seconds(events[fault.to].time)} s`;
  if (!record?.outcome) return record ? '; nobody answered' : '';
  const { outcome, lost } = record, gone = lost ? ', and lost in the end' : '';
  return `; ${sentence(outcome).replace(/^record \d+ (is )?/, '')} after ${duration(outcome.time - event.time)}${gone}`;
}

function sentence(event) {
  return milestoneWords.get(event.id) ?? sentences[event.kind]?.(event) ?? event.kind.replaceAll('_', ' ');
}
