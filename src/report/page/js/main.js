// What is shown now, how it changes, and the address that tells it.

const view = { cursor: 1, scale: 'event', quiet: false, api: '', node: '', printing: false, partition: null, from: 0, span: 0, offset: null, speed: 4, timer: null, clicked: null, breaking: false, fault: null };
let axis, frame;
// The partition that the page opens with: that of the event, or of the first loss, or the first of a topic with records.
const openingPartition = [events[data.opening].partition, data.lost[0]?.partition, partitionNames.find(name => topicOf(name) !== OFFSETS_TOPIC), partitionNames[0]].find(name => partitionNames.includes(name)) ?? null;
// What was drawn last: a part is drawn again when its key changes.
const drawn = {};

const UNIT_PX = 9;
const spanMax = () => axis.length + 2;
const spanDefault = () => {
  const fits = (drawingWidth('tracks') - GUTTER - MARGIN) / UNIT_PX;
  return fits * 1.25 > spanMax() ? spanMax() : fits;
};

// A sheet of paper is wider than most windows, and shows no more offsets than matter.
const PRINT_PX = { tracks: 1400, strips: 950 };
const drawingWidth = id => view.printing ? PRINT_PX[id] : Math.max(560, element(id).clientWidth);

function redraw(name, key, draw) {
  if (drawn[name] === key) return;
  drawn[name] = key;
  draw();
}

function render() {
  const width = drawingWidth('tracks'), event = events[view.cursor];
  redraw('axis', `${view.scale} ${view.quiet} ${view.api} ${view.node}`, () => {
    axis = makeAxis(view);
    drawn.map = null;
    view.span ||= spanDefault();
    centre();
  });
  keepInView();
  redraw('map', `${drawn.axis} ${view.partition} ${width}`, () => drawMinimap(axis, view.partition));
  moveMinimap(axis, view);
  redraw('tracks', `${drawn.axis} ${view.partition} ${view.from} ${view.span} ${width}`, () => {
    frame = drawTracks(view, axis);
    drawGroups(frame);
    element('shown').textContent = `showing ${frame.ids.length} of ${axis.ids.length} events${axis.ids.length < LAST ? `, ${LAST - axis.ids.length} folded` : ''}`;
  });
  moveCursor(frame, view.cursor);
  const state = states[view.cursor];
  if (drawn.partition !== state.partitions[view.partition] || drawn.nodes !== state.nodes) drawn.strips = null;
  Object.assign(drawn, { partition: state.partitions[view.partition], nodes: state.nodes });
  redraw('strips', `${view.partition} ${view.offset} ${width}`, () => { view.shownOffset = drawStrips(view); });
  redraw('event', view.cursor, () => {
    inspect(view);
    drawMetrics(view);
    showGroupStates(view);
    element('now').textContent = `${view.cursor} of ${LAST}  \u00b7  ${seconds(event.time)} s  \u00b7  ${event.node}  \u00b7  ${sentence(event)}`;
    element('now').title = sentence(event);
    for (const item of document.querySelectorAll('[data-event]')) item.classList.toggle('cur', !shownBranch && Number(item.dataset.event) === view.cursor);
  });
  writeTexts();
  rememberSoon();
}

function writeTexts() {
  const tracks = element('tracks-text'), strips = element('strips-text');
  if (tracks.open) redraw('tracks text', `${view.cursor} ${drawn.tracks}`, () => { tracks.querySelector('.scroll').innerHTML = writeTracks(frame, view.cursor); });
  writeGroupTexts();
  if (strips.open) redraw('strips text', `${view.cursor} ${view.partition}`, () => { strips.querySelector('.scroll').innerHTML = writeStrips(view); });
}

function centre() {
  view.from = axis.at[view.cursor] - view.span * 0.5;
  settleWindow();
}

function settleWindow() {
  view.span = Math.min(Math.max(view.span, 12), spanMax());
  view.from = Math.max(-1, Math.min(view.from, axis.length + 1 - view.span));
}

// The window moves only when the cursor leaves it, and then by more than a step.
function keepInView() {
  const at = axis.at[view.cursor], edge = view.span * 0.03;
  if (at < view.from + edge) view.from = at - view.span * 0.6;
  else if (at > view.from + view.span - edge - 1) view.from = at - view.span * 0.4;
  settleWindow();
}

function goTo(id) {
  view.cursor = Math.min(LAST, Math.max(1, id));
  view.clicked = view.fault = null;
  render();
}

function follow(id) {
  if (id) goTo(id);
}

// The shown event before or behind the cursor, which may stand on a hidden one.
function step(direction) {
  const index = lowerBound(axis.ids, view.cursor + (direction > 0 ? 1 : 0)) + (direction > 0 ? 0 : -1);
  if (axis.ids[index]) goTo(axis.ids[index]);
}

function stepMilestone(direction) {
  follow(direction > 0 ? milestones.find(id => id > view.cursor) : milestones.findLast(id => id < view.cursor));
}

function stepNarration() {
  const steps = milestones.filter(id => events[id].kind === 'step_fired');
  follow(steps.find(id => id > view.cursor) ?? steps[0]);
}

function play() {
  if (view.timer) {
    clearInterval(view.timer);
    view.timer = null;
  } else {
    view.timer = setInterval(() => view.cursor >= axis.ids.at(-1) ? play() : step(1), 1000 / view.speed);
  }
  element('play').textContent = view.timer ? `stop (${view.speed}/s)` : 'play';
  element('play').setAttribute('aria-label', view.timer ? 'Stop' : 'Play');
}

function changeSpeed(factor) {
  view.speed = Math.min(64, Math.max(0.5, view.speed * factor));
  if (view.timer) {
    play();
    play();
  }
}

function zoom(factor) {
  const at = axis.at[view.cursor], part = (at - view.from) / view.span;
  view.span *= factor;
  settleWindow();
  view.from = at - view.span * part;
  settleWindow();
  render();
}

// Sets one of the choices and shows it on its control.
function choose(name, value) {
  view[name] = value;
  const control = element(name);
  if (control.type === 'checkbox') control.checked = value; else control.value = value;
  if (name === 'partition') view.offset = null;
  render();
}

// To a branch, at the same simulated time; from the decisive moment of the one to that of the other.
function switchTo(number) {
  if (number === shownBranch || number > branches.length || number && asking()) return;
  const other = number ? branches[number - 1].data : run, { time } = other.journal.events, now = events[view.cursor].time;
  let id = 0;
  for (let passed = 0; id < time.length && passed < now; id++) passed += time[id];
  if (view.cursor === data.opening) id = other.opening;
  remember();
  const named = new URLSearchParams(location.hash.slice(1));
  named.set('e', Math.max(1, id));
  named.set('b', number);
  window.history.pushState(null, '', `#${named}`);
  showBranch(number);
}

function nextPartition() {
  if (partitionNames.length) choose('partition', partitionNames[(partitionNames.indexOf(view.partition) + 1) % partitionNames.length]);
}

function nextNode() {
  choose('node', ['', ...nodes][(nodes.indexOf(view.node) + 2) % (nodes.length + 1)]);
}

function look(id) {
  const target = element(id);
  if (!target) return;
  target.focus({ preventScroll: true });
  target.scrollIntoView({ block: 'center' });
}

const THEMES = ['system', 'light', 'dark'];

function changeTheme() {
  const root = document.documentElement, next = THEMES[(THEMES.indexOf(root.dataset.theme ?? 'system') + 1) % THEMES.length];
  if (next === 'system') delete root.dataset.theme; else root.dataset.theme = next;
  element('theme').textContent = `theme: ${next}`;
}

function openSearch() {
  element('search').showModal();
  element('query').select();
  showResults();
}

function openJump() {
  element('time').value = seconds(events[view.cursor].time);
  element('jump').showModal();
  element('time').select();
}

function jump() {
  const time = Number(element('time').value.replace(',', '.')) * 1e9;
  if (Number.isFinite(time)) goTo(Math.min(LAST, lowerBound(events, time, event => event?.time ?? -1)));
}

// ---- the address: #e=1382&s=time&p=orders-0&a=Fetch&n=b1&q=1&w=96&l=1 ----

function remember() {
  const parts = [['e', view.cursor], ['s', view.scale === 'event' ? null : view.scale], ['p', partitionNames.length > 1 ? view.partition : null],
    ['a', view.api || null], ['n', view.node || null], ['q', view.quiet ? 1 : null], ['o', view.offset], ['b', shownBranch || null], ['l', asking() ? 1 : null],
    ['w', Math.abs(view.span - spanDefault()) < 1 ? null : Math.round(view.span)]];
  const hash = `#${parts.filter(([, value]) => value !== null).map(([key, value]) => `${key}=${encodeURIComponent(value)}`).join('&')}`;
  if (hash !== location.hash) window.history.replaceState(null, '', hash);
}

let remembering = null;
function rememberSoon() {
  clearTimeout(remembering);
  remembering = setTimeout(remember, 150);
}

// Takes what the address names; what it does not name stays as it is.
function recall(hash) {
  if (branchIn(hash) !== shownBranch) {
    showBranch(branchIn(hash));
    return;
  }
  const named = new URLSearchParams(hash.slice(1)), number = key => named.has(key) && Number.isInteger(Number(named.get(key))) ? Number(named.get(key)) : null;
  if (named.get('s') === 'time' || named.get('s') === 'event') view.scale = named.get('s');
  // A link to an event alone shows the partition that the event is about.
  const about = events[number('e')]?.partition;
  for (const name of [about, named.get('p')]) if (partitionNames.includes(name)) view.partition = name;
  if (apis.includes(named.get('a'))) view.api = named.get('a');
  if (nodes.includes(named.get('n'))) view.node = named.get('n');
  if (named.has('q')) view.quiet = named.get('q') === '1';
  if (named.has('l')) hide(named.get('l') === '1');
  view.offset = number('o') ?? view.offset;
  view.span = number('w') ?? view.span;
  for (const name of ['scale', 'partition', 'api', 'node']) element(name).value = view[name] ?? '';
  element('quiet').checked = view.quiet;
  const id = number('e');
  goTo(id >= 1 && id <= LAST ? id : view.cursor);
}

// ---- controls ----

function listen() {
  const click = (id, action) => on(element(id), 'click', action);
  click('back', () => step(-1));
  click('forth', () => step(1));
  click('milestone-back', () => stepMilestone(-1));
  click('milestone-forth', () => stepMilestone(1));
  click('play', play);
  click('zoom-in', () => zoom(1 / 1.5));
  click('zoom-out', () => zoom(1.5));
  click('theme', changeTheme);
  click('help', () => element('keys').showModal());
  click('older', () => { view.offset = Math.max(0, view.shownOffset - 5); render(); });
  click('newer', () => { view.offset = view.shownOffset + 5; render(); });
  click('follow', () => { view.offset = null; render(); });
  on(document, 'click', event => {
    const button = event.target.closest?.('[data-copy]');
    if (!button) return;
    const text = element(button.dataset.copy);
    navigator.clipboard?.writeText(text.textContent);
    getSelection().selectAllChildren(text);
    button.textContent = 'copied';
  });
  listenForFaults();
  listenForAnswers();
  for (const name of ['partition', 'scale', 'api', 'node']) on(element(name), 'change', () => choose(name, element(name).value));
  on(element('quiet'), 'change', () => choose('quiet', element('quiet').checked));
  on(element('query'), 'input', showResults);
  on(element('query'), 'keydown', event => {
    if (event.key !== 'Enter') return;
    event.preventDefault();
    element('results').querySelector('a')?.click();
  });
  on(element('results'), 'click', () => element('search').close());
  on(element('jump'), 'close', () => { if (element('jump').returnValue === 'go') jump(); });
  for (const id of ['tracks-text', 'strips-text', ...groupDrawings.map(({ number }) => `group-text-${number}`)]) on(element(id), 'toggle', writeTexts);
  for (const id of ['tracks', ...groupDrawings.map(({ number }) => `group-${number}`)]) {
    scrub(element(id), event => Number(event.target.closest?.('[data-e]')?.dataset.e) || frame.nearest(drawnX(event, frame.width)), event => frame.nearest(drawnX(event, frame.width)));
    hint(element(id));
  }
  const onMap = event => new Frame(axis, -0.5, axis.length, element('minimap').clientWidth + GUTTER + MARGIN).nearest(drawnX(event, element('minimap').clientWidth) + GUTTER);
  scrub(element('minimap'), onMap, onMap);
  on(element('strips'), 'click', event => {
    const target = event.target.closest('[data-cell], [data-e]');
    if (target?.dataset.cell) follow(originOf(view, ...target.dataset.cell.split('/').map(Number)));
    else follow(Number(target?.dataset.e));
  });
  for (const drawing of ['tracks', 'strips']) on(element(drawing), 'click', event => { if (event.target.dataset.node) breakHere(event.target.dataset.node); });
  hint(element('strips'));
  for (const printing of [true, false]) on(window, printing ? 'beforeprint' : 'afterprint', () => {
    view.printing = printing;
    if (questions.length) element('asked').open ||= printing;
    render();
  });
  on(window, 'hashchange', event => recall(new URL(event.newURL).hash));
  on(document, 'click', event => {
    const number = event.target.closest?.('[data-branch]')?.dataset.branch;
    if (number !== undefined) switchTo(Number(number));
  });
  on(document, 'click', followLink);
  const resized = new ResizeObserver(() => requestAnimationFrame(() => life.aborted || render()));
  resized.observe(element('tracks'));
  life.addEventListener('abort', () => {
    resized.disconnect();
    clearInterval(view.timer);
    clearTimeout(remembering);
  });
}

// A link to an event is followed at once, also where the address already says so, and the way back is kept.
function followLink(event) {
  const link = event.target.closest?.('a[href^="#e="]');
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  remember();
  window.history.pushState(null, '', link.getAttribute('href'));
  recall(location.hash);
}

// x of a pointer in the units of the drawing below it.
function drawnX(event, width) {
  const box = event.currentTarget.getBoundingClientRect();
  return (event.clientX - box.left) / box.width * width;
}

// The pointer as a scrubber: where it goes down and where it is drawn to.
function scrub(target, press, drag) {
  on(target, 'pointerdown', event => {
    if (event.button !== 0 || event.target.dataset.node) return;
    target.setPointerCapture(event.pointerId);
    goTo(press(event));
  });
  on(target, 'pointermove', event => {
    if (target.hasPointerCapture(event.pointerId) && (event.movementX || event.movementY)) goTo(drag(event));
  });
}

// Says what is under the pointer.
function hint(target) {
  on(target, 'pointerover', event => {
    const id = Number(event.target.closest?.('[data-e]')?.dataset.e);
    target.title = id ? `#${id} ${seconds(events[id].time)} s ${events[id].node}: ${sentence(events[id])}${laterWords(events[id])}` : '';
  });
}

function options(id, list) {
  element(id).innerHTML = list.map(([value, words]) => `<option value="${escapeText(value)}">${escapeText(words)}</option>`).join('');
}

options('partition', partitionNames.map(name => [name, name]));
options('api', [['', 'all'], ...apis.map(name => [name, name])]);
options('node', [['', 'all'], ...nodes.map(name => [name, `only ${name}`])]);
listKeys();
writeLegend();
listGroups();
listen();
view.cursor = data.opening;
view.partition = openingPartition;
writeBeside();
hide(asking());
{
  const opened = location.hash;
  recall(opened);
  if (asking() && openQuestion() && !new URLSearchParams(opened.slice(1)).has('e')) ask(openQuestion());
}
