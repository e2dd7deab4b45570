// "Break it here": faults for the node or the message under the cursor, each as a ready step of a scenario that waits for
// what is true at the cursor and not for its time.

const isBroker = name => brokerNumber(name) !== null, isController = name => /^c\d+$/.test(name);
const inStory = name => isBroker(name) || isController(name) || clients.some(client => client.name === name) && name !== 'audit';
const nodeWord = name => isController(name) ? 'controller' : name;

// What can be done to the node that was clicked, or else to what the event is about.
function faultsHere(view) {
  const event = events[view.cursor], partition = states[view.cursor].partitions[view.partition];
  if (!view.clicked && isMessage(event)) {
    const sent = event.kind === 'message_sent' ? event : events[event.sent];
    if (!inStory(sent.node) || !inStory(sent.to)) return null;
    const way = `${nodeWord(sent.node)} > ${nodeWord(sent.to)}`;
    const ends = [sent.node, sent.to].filter(isBroker).map(name => `crash ${name} kill`);
    return { what: `the ${messageName(sent)} from ${sent.node} to ${sent.to}`, faults: [`hold ${way} api=${sent.api}`, `drop ${way} api=${sent.api}`, `cut ${way}`, `slow ${way} 300ms`, ...ends] };
  }
  const led = number => number >= 0 ? `b${number}` : null, own = view.clicked ?? (event.kind === 'partition_changed' && led(event.leader) || event.node);
  // What the scenario itself does is about the leader.
  const name = inStory(own) ? own : led(partition?.leader) ?? own;
  if (isBroker(name)) {
    const others = (partition?.replicas ?? []).map(number => `b${number}`).filter(other => other !== name);
    const cut = others.length ? [`cut ${name} | ${others.length === 1 ? others[0] : `[${others.join(', ')}]`}`] : [];
    return { what: name, faults: [`crash ${name} kill`, `crash ${name} power`, `pause ${name}`, `stop ${name}`, `fence ${name}`, ...cut, `cut ${name} | controller`, `slow ${name} | all 50ms`, `disk ${name} stall`, `disk ${name} full`] };
  }
  if (isController(name)) return { what: 'the controller', faults: ['crash controller kill', 'pause controller', 'cut controller | brokers'] };
  if (!inStory(name)) return null;
  const leader = partition?.leader >= 0 ? `b${partition.leader}` : 'brokers';
  return { what: name, faults: [`crash ${name} kill`, `pause ${name}`, `cut ${name} | ${leader}`, `cut ${leader} > ${name}`, `slow ${name} | ${leader} 300ms`] };
}

// What can be said of a state and is not true at the begin, as [words, whether a state has it].
function conditionsOf(state, name) {
  const list = [], partition = state.partitions[name];
  const add = (words, holds) => list.push([words, holds]);
  const reached = (words, count, of) => { if (count > 0) add(`${words} >= ${count}`, other => of(other) >= count); };
  for (const { name: client } of clients) {
    if (client === 'audit') continue;
    for (const field of ['sent', 'acked', 'failed', 'read']) reached(`${field}(${client})`, state.clients[client]?.[field], other => other.clients[client]?.[field]);
  }
  for (const node of nodes.filter(isBroker)) {
    if (state.nodes[node] && state.nodes[node] !== 'runs' && state.nodes[node] !== 'paused') add(`not running(${node})`, other => other.nodes[node] === state.nodes[node]);
    if (state.brokers[brokerNumber(node)] === 'fenced') add(`fenced(${node})`, other => other.brokers[brokerNumber(node)] === 'fenced');
  }
  if (!partition?.replicas.length) return list;
  const { leader, isr, replicas, epoch } = partition, set = numbers => numbers.map(number => `b${number}`).join(', '), of = other => other.partitions[name];
  if (leader !== replicas[0]) add(`leader(${name}) == ${leader < 0 ? 'none' : `b${leader}`}`, other => of(other)?.leader === leader);
  if (isr.length < replicas.length) add(`isr(${name}) == [${set(isr)}]`, other => of(other) && set(of(other).isr) === set(isr));
  reached(`epoch(${name})`, epoch, other => of(other)?.epoch);
  for (const [word, field] of [['hw', 'hw'], ['leo', 'end']]) reached(`${word}(${name})`, partition.logs[leader]?.[field], other => of(other)?.logs[of(other).leader]?.[field]);
  return list;
}

const CONDITIONS_MAX = 2;

// What became true last before the cursor, and the time since which it is.
function triggerHere(view) {
  const known = conditionsOf(states[view.cursor], view.partition).map(([words, holds]) => {
    let since = view.cursor;
    while (since > 1 && holds(states[since - 1])) since--;
    return { words, since };
  });
  const parts = known.sort((a, b) => b.since - a.since).slice(0, CONDITIONS_MAX);
  return { when: parts.map(({ words }) => words).join(' and ') || 'running(b1)', time: parts.length ? events[parts[0].since].time : 0 };
}

// The fault as steps: when what became true last is true, and so long after it as the cursor is.
function stepsHere(view, fault) {
  const { when, time } = triggerHere(view), step = events.findLast(event => event?.kind === 'step_fired' && event.id < view.cursor);
  const waited = Math.floor((events[view.cursor].time - Math.max(time, step?.time ?? 0)) / 1e6), table = lines => ['[[step]]', ...lines].join('\n');
  const act = `do   = "${fault}"`;
  if (waited < 1) return table([`when = "${when}"`, act]);
  const later = table([`after = "${waited}ms"`, act]);
  return step && step.time >= time ? later : `${table([`when = "${when}"`, 'do   = "nothing"'])}\n\n${later}`;
}

// Between which steps of the story the new one has to stand.
function placeHere(view) {
  const all = events.filter(event => event?.kind === 'step_fired'), next = all.find(event => event.id > view.cursor);
  return next ? `in front of its step ${next.step}` : all.length ? `behind its step ${all.at(-1).step}` : 'as its first step';
}

function drawFaultsHere(view) {
  const here = faultsHere(view);
  if (!here) return '';
  const chosen = view.fault && here.faults.includes(view.fault) ? view.fault : null;
  const buttons = here.faults.map(fault => `<button data-fault="${escapeText(fault)}" aria-pressed="${fault === chosen}">${escapeText(fault)}</button>`).join(' ');
  const copy = 'my-scenario.toml';
  const made = chosen && `<p>In a copy of the scenario, ${placeHere(view)}:</p><div class="copied"><pre id="step-text" tabindex="0">${escapeText(stepsHere(view, chosen))}</pre><button data-copy="step-text">copy</button></div>`
    + `<div class="copied"><pre id="step-command" tabindex="0">cp ${escapeText(run.path)} ${copy}\n# put the step in, then\ncargo sim run ${copy} --seed ${run.seed}</pre><button data-copy="step-command">copy</button></div>`;
  return `<details id="faults"${view.breaking ? ' open' : ''}><summary>Break it here: ${escapeText(here.what)} <kbd>b</kbd></summary><div class="choices">${buttons}</div>${made ?? ''}</details>`;
}

// Opens the faults of what was clicked or is under the cursor.
function breakHere(node = null) {
  Object.assign(view, { clicked: node, breaking: true, fault: null });
  inspect(view);
  element('faults')?.querySelector('button')?.focus();
}

function listenForFaults() {
  on(element('inspector'), 'click', event => {
    const fault = event.target.closest('[data-fault]')?.dataset.fault;
    if (!fault) return;
    view.fault = fault;
    inspect(view);
    element('step-text').focus();
  });
  on(element('inspector'), 'toggle', event => { if (event.target.id === 'faults') view.breaking = event.target.open; }, { capture: true });
}
