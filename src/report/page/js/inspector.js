// The event under the cursor: what it says, what caused it, what it caused, what it changed.

const LINKS_MAX = 8, CHANGES_MAX = 12;

const eventLink = (id, mark) => {
  const event = events[id];
  return `<a href="${address(id)}">${mark} #${id} ${escapeText(event.node)} ${escapeText(shorten(sentence(event), 110))}</a>`;
};

const shownOf = (shown, all) => all > shown ? `<li class="soft">showing ${shown} of ${all}</li>` : '';

function inspect(view) {
  const event = events[view.cursor], out = [];
  out.push(`<h2>#${event.id} <span class="mono">${escapeText(event.node)}</span> ${escapeText(event.kind.replaceAll('_', ' '))}</h2><p>${escapeText(sentence(event))}</p>`);
  const causes = [reasons.get(event.id), event.cause].filter(Boolean).map(id => eventLink(id, '\u2190')).join('<br>');
  out.push(`<dl><dt>time</dt><dd class="mono">${(event.time / 1e6).toFixed(6)} ms</dd><dt>cause</dt><dd id="cause">${causes || '<span class="soft">none: a clock, a fault or an application</span>'}</dd>`);
  const caused = effects[event.id];
  const list = caused.slice(0, LINKS_MAX).map(id => `<li>${eventLink(id, '\u2192')}</li>`).join('');
  out.push(`<dt>effects</dt><dd id="effects">${list ? `<ul>${list}${shownOf(Math.min(caused.length, LINKS_MAX), caused.length)}</ul>` : '<span class="soft">none</span>'}</dd>`);
  out.push(messageFacts(event), recordFacts(event), faultFacts(event));
  for (const [name, value] of Object.entries(event)) {
    if (['id', 'time', 'node', 'cause', 'kind', 'sent'].includes(name)) continue;
    out.push(`<dt>${escapeText(name.replaceAll('_', ' '))}</dt><dd class="mono">${escapeText(fieldWords(name, value))}</dd>`);
  }
  out.push('</dl>');
  const rows = changes(event.id);
  if (rows.length) {
    const shown = rows.slice(0, CHANGES_MAX).map(([what, before, after]) =>
      `<tr><td>${escapeText(what)}</td><td>${escapeText(before)}</td><td><span class="chg">${escapeText(after)}</span></td></tr>`);
    out.push(`<h3>state before and after</h3><table class="diff mono"><tbody>${shown.join('')}</tbody></table>${rows.length > CHANGES_MAX ? `<p class="soft">showing ${CHANGES_MAX} of ${rows.length}</p>` : ''}`);
  }
  out.push(candidates(event), drawFaultsHere(view));
  element('inspector').innerHTML = out.join('');
}

const MEMBER_FIELDS = new Set(['member', 'old', 'new']);
// A member's id, behind the name of its client.
const namedMember = id => memberNames.has(id) ? `${memberName(id)} (${id})` : id || '-';

function fieldWords(name, value) {
  if (value === null) return '-';
  if (name === 'batches') return value.map(batch => `[${batch.base}, ${batch.end}) e${batch.epoch} crc ${batch.crc.toString(16)}${batch.producer < 0 ? '' : ` producer ${batch.producer} seq ${batch.sequence}`}`).slice(0, 6).join('; ')
    + (value.length > 6 ? `; showing 6 of ${value.length}` : '') || 'none';
  if (name === 'acks') return acksWord(value);
  if (name === 'isr' || name === 'replicas') return brokerSet(value);
  if (name === 'offsets' && Array.isArray(value)) return offsetsWords(value);
  if (name === 'owners') return value.map(([member, partitions]) => `${memberName(member)}: ${partitions.join(', ') || 'nothing'}`).join('; ');
  if (name === 'members') return value.map(namedMember).join(', ');
  if (MEMBER_FIELDS.has(name)) return namedMember(value);
  if (name === 'partitions') return value.map(partition => Array.isArray(partition) ? `${partition[0]} since epoch ${partition[1]}` : partition).join(', ') || 'none';
  return Array.isArray(value) ? value.join(', ') : typeof value === 'string' ? shorten(value, 300) : value;
}

// The way of a message: from sending to arrival, and the request or response it belongs to.
function messageFacts(event) {
  if (!isMessage(event)) return '';
  const sent = event.kind === 'message_sent' ? event : events[event.sent], arrival = arrivals.get(sent.id), other = sent.request
    ? effects[sent.id].find(id => events[id].kind === 'message_sent' && !events[id].request) : sent.cause;
  const way = !arrival ? 'never arrived in this run' : arrival.kind === 'message_lost' ? `lost after ${duration(arrival.time - sent.time)}: ${arrival.reason}` : `arrived after ${duration(arrival.time - sent.time)}`;
  const facts = [['message', `${messageName(sent)}, ${sent.node} to ${sent.to}, ${sent.bytes} bytes, correlation ${sent.correlation}`], ['way', `${way}${held.has(sent.id) ? ', held back' : ''}`]];
  const rows = facts.map(([name, words]) => `<dt>${name}</dt><dd>${escapeText(words)}</dd>`);
  rows.push(decoded(sent.id));
  const carried = [sent, arrival].filter(other => other && other.id !== event.id).flatMap(({ id }) => effects[id]).filter(id => !isMessage(events[id]) && events[id].kind !== 'record_sent');
  if (carried.length) rows.push(`<dt>did</dt><dd><ul>${carried.slice(0, LINKS_MAX).map(id => `<li>${eventLink(id, '\u2192')}</li>`).join('')}${shownOf(Math.min(carried.length, LINKS_MAX), carried.length)}</ul></dd>`);
  if (other) rows.push(`<dt>${sent.request ? 'answer' : 'request'}</dt><dd>${eventLink(other, sent.request ? '\u2192' : '\u2190')}</dd>`);
  return rows.join('');
}

// Every field of the message, as it was on the wire.
function decoded(sent) {
  const words = messageWords(sent);
  if (words !== null) return `<dt>decoded</dt><dd><pre id="decoded" tabindex="0" aria-label="The fields of the message">${escapeText(words)}</pre></dd>`;
  return data.messages_all > told.size ? `<dt>decoded</dt><dd class="soft">not in this page: showing ${told.size} of ${data.messages_all} messages; messages.json has all</dd>`
    : !data.messages_all && !shownBranch ? '<dt>decoded</dt><dd class="soft">not here: there was no messages.json when this page was made</dd>' : '';
}

// The life of a record as its clients saw it: sent, asked for how often, answered, read, lost.
function recordFacts(event) {
  const record = event.kind === 'record_read' ? recordAt.get(`${event.partition}@${event.offset}@${event.leader_epoch}`) : records.get(`${event.node}/${event.record}`);
  if (!record || isMessage(event)) return '';
  const { sent, lost } = record, rows = [];
  const [outcome, read] = [record.outcome, record.read].map(other => asking() && other?.id > event.id ? null : other);
  const row = (name, words) => rows.push(`<dt>${name}</dt><dd>${words}</dd>`), linked = other => other.id === event.id ? escapeText(sentence(other)) : eventLink(other.id, '\u2192');
  row('sent', linked(sent));
  const until = outcome?.id ?? (asking() ? event.id : LAST), asked = [];
  for (let id = sent.id; id <= until; id++) if (events[id].node === sent.node && events[id].kind === 'message_sent' && events[id].api === 'Produce') asked.push(id);
  if (asked.length) row('produces', `<ul>${asked.slice(0, LINKS_MAX).map(id => `<li>${eventLink(id, '\u2192')}</li>`).join('')}${shownOf(Math.min(asked.length, LINKS_MAX), asked.length)}</ul><span class="soft">of ${escapeText(sent.node)} while it waited</span>`);
  row('answer', outcome ? `${linked(outcome)} <span class="soft">after ${duration(outcome.time - sent.time)}</span>` : `<span class="soft">none${asking() ? ' yet' : ''}</span>`);
  if (read) row('first read', `${linked(read)} <span class="soft">by ${escapeText(read.node)}</span>`);
  if (lost?.gone && !asking()) row('lost', eventLink(lost.gone, '\u2192'));
  return rows.join('');
}

// Where a fault begins and ends.
function faultFacts(event) {
  return faults.filter(({ from, to }) => from === event.id || to === event.id).map(({ from, to, what }) =>
    `<dt>${escapeText(what)}</dt><dd>${from === event.id ? to > LAST ? 'to the end of the run' : `ends with ${eventLink(to, '\u2192')}` : `began with ${eventLink(from, '\u2190')}`}</dd>`).join('');
}

// Who could have been elected, with what each had.
function candidates(event) {
  if (event.kind !== 'partition_changed' || event.election === 'none' || event.election === 'created') return '';
  const before = states[event.id - 1], isr = before.partitions[event.partition]?.isr ?? [];
  const rows = replicasOf(before, event.partition).map(({ number, replica, node }) =>
    `<li>${number === event.leader ? `<b>b${number}</b>` : `b${number}`}: LEO ${replica.end}, ${isr.includes(number) ? 'in the ISR' : 'not in the ISR'}, ${node === 'runs' ? before.brokers[number] ?? 'not registered' : node}</li>`);
  return `<h3>candidates, as they were</h3><ul>${rows.join('')}</ul>`;
}
