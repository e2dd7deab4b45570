// Consumer groups in words: members and lag at the cursor, and the text version of the lanes.

const timeLink = id => id > LAST ? 'the end' : `<a href="${address(id)}">${seconds(events[id].time)} s</a>`;
const orDash = value => value === null || value === undefined ? '-' : value;

// The newest offset that a consumer may read, which is how far Kafka's own tools take the log to go.
function logEnd(name, id) {
  const { leader = -1, logs = {} } = states[id].partitions[name] ?? {};
  return logs[leader]?.hw ?? null;
}

// How far what is committed lies behind the end of the log; null where nothing is, as Kafka's own tools say nothing then.
function lagOf({ name, progress }, id) {
  const { committed } = progress.at(id), end = logEnd(name, id);
  return end === null || committed === null ? null : end - committed;
}

function writeGroupState({ group, members, owned }, id) {
  const inside = ({ from, to }) => from <= id && id < to, word = generationWord(group), state = states[id];
  const held = name => owned.filter(({ tenures }) => tenures.some(tenure => inside(tenure) && tenure.node === name)).map(partition => partition.name);
  const memberRows = members.map(({ name, stays, processed }) => {
    const stay = stays.find(inside), last = stays.findLast(({ to }) => to <= id), epoch = stay?.epochs.list.find(inside)?.epoch;
    const is = stay ? 'member' : last ? `out: ${last.why}` : 'not yet a member', node = state.nodes[name] ?? 'not started';
    return `<tr><td><b>${escapeText(name)}</b></td><td>${escapeText(is)}${node === 'runs' ? '' : `, <span class="lost">${escapeText(node)}</span>`}</td><td class="num">${orDash(epoch)}</td>`
      + `<td>${escapeText(held(name).join(', ') || 'nothing')}</td><td class="num">${lowerBound(processed, id + 1, ({ event }) => event.id)}</td></tr>`;
  });
  const partitionRows = owned.map(partition => {
    const { name, tenures, progress } = partition;
    const { committed, by, generation, next, again, skips, repeats } = progress.at(id), end = logEnd(name, id);
    const owners = tenures.filter(inside).map(({ node, until }) => `${node}${until !== null && until <= id ? ' (out)' : ''}`);
    const grave = count => count ? `<span class="lost">${count}</span>` : '0';
    return `<tr><td><b>${escapeText(name)}</b></td><td>${escapeText(owners.join(', ') || 'nobody')}</td><td class="num">${orDash(end)}</td><td class="num">${orDash(committed)}${committed === null || !by ? '' : ` <span class="soft">${escapeText(by)}${generation < 0 ? '' : `, ${word} ${generation}`}</span>`}</td>`
      + `<td class="num">${orDash(lagOf(partition, id))}</td><td class="num">${orDash(next)}</td><td class="num">${grave(skips)}</td><td class="num">${repeats}</td><td class="num">${grave(again)}</td></tr>`;
  });
  const head = names => `<thead><tr>${names.map(name => `<th scope="col">${name}</th>`).join('')}</tr></thead>`;
  return `<table class="metrics">${head(['member', 'at the cursor', word, 'owns', 'processed'])}<tbody>${memberRows.join('')}</tbody></table>`
    + `<table class="metrics">${head(['partition', 'owner', 'log end', 'committed', 'lag', 'processed to', 'committed, not processed', 'processed, not committed', 'done again'])}<tbody>${partitionRows.join('')}</tbody></table>`
    + '<p class="soft">The log ends at the high watermark of the leader; lag is log end minus committed. If its member ends now, what is committed and not processed is skipped, and what is processed and not committed is done again.</p>';
}

function writeGroupText({ group }) {
  const rows = [], row = (from, to, what, words) => rows.push([from, `<tr><td class="num">${timeLink(from)}</td><td class="num">${timeLink(to)}</td><td>${escapeText(what)}</td><td>${escapeText(words)}</td></tr>`]);
  const word = generationWord(group), lasts = ({ from, to }) => to > LAST ? 'to the end' : duration(events[to].time - events[from].time);
  for (const { broker, epoch, loading, from, to } of group.coordinators) row(from, to, 'coordinator', `${broker} in leader epoch ${epoch}${loading ? ' loads' : ''}`);
  for (const gap of gapsOf(group.coordinators)) row(gap.from, gap.to, 'coordinator', `nobody, ${lasts(gap)}`);
  for (const era of group.eras.list) {
    const { from, to, kind, generation, why } = era;
    row(from, to, 'group', { joining: `${generation ? `${word} ${generation} ends` : 'begins'}: ${why}${group.protocol === 'consumer' ? '' : '; members join'}`, assigning: `${word} ${generation} waits for its assignment`, generation: `${word} ${generation}`, empty: 'nobody is in it' }[kind]);
  }
  for (const { name, stays } of group.lanes) for (const { from, to, how, why, epochs } of stays) row(from, to, name, `${how}; ${epochs.list.map(({ epoch }) => `${word} ${epoch}`).join(', ') || `never in a ${word}`}${why ? `; out: ${why}` : ''}`);
  for (const { name, tenures, commits } of group.owned) {
    for (const { from, to, until, node, generation } of tenures) row(from, to, name, `${node} owns it since ${word} ${generation}${until === null ? '' : ', out before it knows'}`);
    for (const gap of gapsOf(tenures)) row(gap.from, gap.to, name, `nobody owns it, ${lasts(gap)}`);
    for (const { id, kind, offset, error } of commits) if (error) row(id, id, name, `the commit of ${offset} ${kind === 'refused' ? 'is refused' : 'fails, and nobody knows whether it stands'}: ${error}`);
  }
  rows.sort(([a], [b]) => a - b);
  return `<table><thead><tr><th>from</th><th>to</th><th>of</th><th>what</th></tr></thead><tbody>${rows.map(([, text]) => text).join('')}</tbody></table>`;
}

function showGroupStates(view) {
  for (const drawing of groupDrawings) element(`group-state-${drawing.number}`).innerHTML = writeGroupState(drawing, view.cursor);
}

function writeGroupTexts() {
  for (const drawing of groupDrawings) {
    const text = element(`group-text-${drawing.number}`);
    if (text.open) redraw(`group text ${drawing.number}`, true, () => { text.querySelector('.scroll').innerHTML = writeGroupText(drawing); });
  }
}
