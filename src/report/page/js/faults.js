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
    return { what: `the ${messageName(sent)} from ${sent.node} to ${sent.to}`, faults: [`hold ${way} api=${sent.api}`, `cut ${way}`, `slow ${way} 300ms`, ...ends] };
  }
  const led = number => number >= 0 ? `b${number}` : null, own = view.clicked ?? (event.kind === 'partition_changed' && led(event.leader) || event.node);
  // What the scenario itself does is about the leader.
  const name = inStory(own) ? own : led(partition?.leader) ?? own;
  if (isBroker(name)) {
    const others = (partition?.replicas ?? []).map(number => `b${number}`).filter(other => other !== name);
    const cut = others.length ? [`cut ${name} | ${others.length === 1 ? others[0] : `[${others.join(', ')}]`}`] : [];
    return { what: name, faults: [`crash ${name} kill`, `crash ${name} power`, `pause ${name}`, `stop ${name}`, ...cut, `cut ${name} | controller`, `slow ${name} | all 50ms`] };
  }
  if (isController(name)) return { what: 'the controller', faults: ['crash controller kill', 'pause controller', 'cut controller | brokers'] };
  if (!inStory(name)) return null;
  const leader = partition?.leader >= 0 ? `b${partition.leader}` : 'brokers';
  return { what: name, faults: [`cut ${name} | ${leader}`, `cut ${leader} > ${name}`, `slow ${name} | ${leader} 300ms`] };
}

// What is true at the cursor and was not at the begin.
function triggerHere(view) {
  const state = states[view.cursor], parts = [], name = view.partition, partition = state.partitions[name];
  for (const { name: client, kind } of clients) {
    const counts = state.clients[client];
    if (kind !== 'producer' || !counts) continue;
    if (counts.acked) parts.push(`acked(${client}) >= ${counts.acked}`);
    else if (counts.sent) parts.push(`sent(${client}) >= ${counts.sent}`);
  }
  if (partition?.replicas.length) {
    if (!parts.length || partition.leader !== partition.replicas[0]) parts.push(`leader(${name}) == ${partition.leader < 0 ? 'none' : `b${partition.leader}`}`);
    if (partition.isr.length < partition.replicas.length) parts.push(`isr(${name}) == [${partition.isr.map(number => `b${number}`).join(', ')}]`);
  }
  return parts.length ? parts.join(' and ') : 'running(b1)';
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
  const made = chosen && `<p>In a copy of the scenario, ${placeHere(view)}:</p><div class="copied"><pre id="step-text" tabindex="0">[[step]]\nwhen = "${escapeText(triggerHere(view))}"\ndo   = "${escapeText(chosen)}"</pre><button data-copy="step-text">copy</button></div>`
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
