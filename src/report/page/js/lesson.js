// Predict, then look: while questions are open, what came of the run can be hidden - the verdict, the stories, the notes,
// and in the drawings everything behind the cursor. The address says so with `l=1`.

const asking = () => document.body.classList.contains('asking');
const questions = [...document.querySelectorAll('.ask')];

const openQuestion = () => questions.find(question => !question.dataset.given);

// Whether what came of it is hidden, which it never is without a question.
function hide(hidden) {
  document.body.classList.toggle('asking', hidden && questions.length > 0);
  if (asking()) element('asked').open = true;
  element('blind')?.setAttribute('aria-pressed', asking());
  Object.assign(drawn, { tracks: null, strips: null, map: null, event: null });
}

function setAsking(hidden) {
  if (hidden && shownBranch) switchTo(0);
  hide(hidden);
  render();
}

// Hides what came of it and goes to the first open question, or shows it again; without questions, to the lesson.
function startLesson() {
  if (!questions.length) { look('lesson-title'); return; }
  if (asking()) { setAsking(false); return; }
  setAsking(Boolean(openQuestion()));
  ask(openQuestion() ?? questions[0]);
}

// Stands before the step that a question is about.
function ask(question) {
  const before = Number(question.dataset.eventBefore);
  if (before > 1) goTo(before - 1);
  element('asked').open = true;
  question.scrollIntoView({ block: 'center' });
  question.querySelector('input').focus({ preventScroll: true });
}

function answer(question, input) {
  const right = question.dataset.answer, given = input.value.trim(), plain = text => text.trim().toLowerCase();
  if (!given) return;
  question.dataset.given = given;
  const hit = plain(given) === plain(right), told = question.querySelector('.told');
  for (const label of question.querySelectorAll('label')) {
    const value = label.querySelector('input').value;
    label.classList.toggle('right', plain(value) === plain(right));
    label.classList.toggle('wrong', label.contains(input) && !hit);
  }
  told.innerHTML = `<b class="${hit ? 'held' : 'lost'}">${hit ? '\u2713 Yes' : `\u2715 No: ${escapeText(right)}`}.</b> ${escapeText(told.dataset.why)}`
    + `${!hit && input.dataset.believed ? `<br><span class="soft">${escapeText(input.dataset.believed)}</span>` : ''}`
    + `${question.dataset.eventBefore ? ` <a href="#e=${question.dataset.eventBefore}">see the step</a>` : ''}`;
  if (asking() && !openQuestion()) setAsking(false);
}

function listenForAnswers() {
  for (const question of questions) on(question, 'change', event => answer(question, event.target));
  if (element('blind')) on(element('blind'), 'click', startLesson);
}

// Covers what lies behind the cursor.
function moveCurtain(frame, id) {
  const x = asking() ? frame.clamp(id) : frame.right + MARGIN;
  for (const curtain of curtains) {
    curtain.setAttribute('x', x);
    curtain.setAttribute('width', Math.max(0, frame.right + MARGIN - x));
  }
}
