// The keyboard: one table that the page obeys and the sheet shows.

const KEYS = [
  ['ArrowRight', '\u2192', 'next event', () => step(1)],
  ['ArrowLeft', '\u2190', 'event before', () => step(-1)],
  ['Shift+ArrowRight', 'shift \u2192', 'next milestone', () => stepMilestone(1)],
  ['Shift+ArrowLeft', 'shift \u2190', 'milestone before', () => stepMilestone(-1)],
  [' ', 'space', 'play, stop', () => play()],
  ['[', '[', 'slower', () => changeSpeed(0.5)],
  [']', ']', 'faster', () => changeSpeed(2)],
  ['/', '/', 'search', () => openSearch()],
  ['g', 'g', 'go to a time', () => openJump()],
  ['v', 'v', 'verdict', () => look('verdict')],
  ['l', 'l', 'lesson: predict, then look; and back', () => startLesson()],
  ['.', '.', 'next step of the scenario', () => stepNarration()],
  ['c', 'c', 'to the cause', () => follow(reasons.get(view.cursor) ?? events[view.cursor].cause)],
  ['e', 'e', 'to the first effect', () => follow(effects[view.cursor][0])],
  ['b', 'b', 'break it here: a fault as a step', () => breakHere()],
  ['r', 'r', 'next rebalance of a group', () => follow(rebalances.find(id => id > view.cursor) ?? rebalances[0])],
  ['d', 'd', 'to the decisive moment', () => goTo(data.opening)],
  ['Home', 'Home', 'first event', () => goTo(axis.ids[0])],
  ['End', 'End', 'last event', () => goTo(axis.ids.at(-1))],
  ['+', '+', 'show less, larger', () => zoom(1 / 1.5)],
  ['-', '-', 'show more', () => zoom(1.5)],
  ['s', 's', 'scale: by event, by time', () => choose('scale', view.scale === 'event' ? 'time' : 'event')],
  ['q', 'q', 'heartbeats and the like', () => choose('quiet', !view.quiet)],
  ['p', 'p', 'next partition', () => nextPartition()],
  ['n', 'n', 'only the next node, then all', () => nextNode()],
  ['t', 't', 'theme', () => changeTheme()],
  ['?', '?', 'these keys', () => element('keys').showModal()],
];

const shortcuts = new Map(KEYS.map(([key, , , action]) => [key, action]));
for (let number = 0; number <= 9; number++) shortcuts.set(String(number), () => switchTo(number));

function listKeys() {
  const rows = [...KEYS.map(([, shown, what]) => [shown, what]), ['0', 'this run'], ['1 \u2026 9', 'branch: a variant, or without a step']];
  element('key-list').innerHTML = rows.map(([shown, what]) => `<dt><kbd>${escapeText(shown)}</kbd></dt><dd>${escapeText(what)}</dd>`).join('');
}

// What a control does with a key is the control's: text fields, lists and buttons keep theirs.
function ownsKey(target, key) {
  if (target.matches('[type=radio]')) return key === ' ' || key.startsWith('Arrow');
  if (target.matches('input:not([type=checkbox]), select, textarea')) return true;
  return key === ' ' && target.matches('button, summary, input');
}

on(document, 'keydown', event => {
  if (event.ctrlKey || event.altKey || event.metaKey || document.querySelector('dialog[open]') || ownsKey(event.target, event.key)) return;
  const named = event.shiftKey && event.key.startsWith('Arrow') ? `Shift+${event.key}` : event.key;
  const action = shortcuts.get(named);
  if (!action) return;
  event.preventDefault();
  action();
});
