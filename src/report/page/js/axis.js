// The axis that all tracks share. Positions are in units: by event each shown event takes one; by time a unit is a
// length of time. In both, a long silence is a break of fixed width that names its length.

const BREAK_UNITS = 3;
const BREAK_BY_EVENT_NS = 100e6;

// Those that ask whether there is something new.
const POLLING_APIS = new Set(['Fetch', 'Heartbeat', 'ConsumerGroupHeartbeat']);
const QUIET_APIS = new Set(['BrokerHeartbeat', 'Metadata', 'ApiVersions', 'ControllerHeartbeat']);

// Whether an event only says that nothing is new: heartbeats, metadata, fetches that brought nothing, futile connects.
const quiet = (() => {
  const fetched = new Map();
  const still = events.map(event => {
    if (event?.kind !== 'follower_fetched') return false;
    const key = `${event.partition}/${event.follower}/${event.node}/${event.leader_epoch}`, same = fetched.get(key) === event.fetch_offset;
    fetched.set(key, event.fetch_offset);
    return same;
  });
  const says = id => !isMessage(events[id]) && !still[id];
  const useful = request => effects[request].some(id => says(id) ||
    events[id].kind === 'message_sent' && effects[id].some(says));
  const idle = sent => {
    if (sent?.kind !== 'message_sent' || arrivals.get(sent.id)?.kind === 'message_lost' || held.has(sent.id)) return false;
    if (QUIET_APIS.has(sent.api)) return true;
    return POLLING_APIS.has(sent.api) && !useful(sent.request ? sent.id : sent.cause);
  };
  return events.map(event => {
    if (!event) return true;
    if (isMessage(event)) return idle(event.kind === 'message_sent' ? event : events[event.sent]);
    return event.kind === 'connect_failed' || still[event.id];
  });
})();

const apis = [...new Set(events.flatMap(event => event?.kind === 'message_sent' ? [event.api] : []))].sort();

// { ids: shown events, at: position of every event, breaks: [{ at, ns }], length }
function makeAxis({ scale, quiet: all, api, node }) {
  const ids = [], about = ({ node: name, to, from }) => [name, to, from].includes(node);
  for (let id = 1; id <= LAST; id++) {
    const event = events[id];
    if ((all || !quiet[id]) && (!api || !isMessage(event) || event.api === api) && (!node || about(event)) || milestoneWords.has(id)) ids.push(id);
  }
  if (!ids.length) ids.push(1);
  const gaps = ids.map((id, index) => index ? events[id].time - events[ids[index - 1]].time : 0);
  let breakNs = BREAK_BY_EVENT_NS, unitNs = 1;
  if (scale === 'time') {
    breakNs = Math.max(20e6, [...gaps].sort((a, b) => a - b)[Math.floor(gaps.length * 0.985)]);
    unitNs = Math.max(1, gaps.reduce((sum, gap) => sum + Math.min(gap, breakNs), 0) / ids.length);
  }
  const at = new Float64Array(LAST + 2), breaks = [];
  let position = 0, next = 1;
  ids.forEach((id, index) => {
    const broken = gaps[index] > breakNs;
    if (broken) breaks.push({ at: position + BREAK_UNITS / 2 + (scale === 'time' ? 0 : 0.5), ns: gaps[index] });
    if (index) position += (broken ? BREAK_UNITS : 0) + (scale === 'time' ? (broken ? 0 : gaps[index] / unitNs) : 1);
    // An event that is not shown stands at the next that is.
    for (; next <= id; next++) at[next] = position;
  });
  for (; next <= LAST + 1; next++) at[next] = position + 1;
  return { ids, at, breaks, length: position + 1 };
}

// Index of the first element of `sorted` that is not below `value` by `key`.
function lowerBound(sorted, value, key = element => element) {
  let low = 0, high = sorted.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (key(sorted[middle]) < value) low = middle + 1; else high = middle;
  }
  return low;
}
