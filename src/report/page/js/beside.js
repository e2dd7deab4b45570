// A branch beside the run: which of the two is shown, and their milestones side by side.

const MILESTONES_MAX = 150;

// The milestones of a run's data as [seconds, node, words].
function milestonesOf({ milestones, journal: { names, events } }) {
  const times = [];
  let time = 0;
  for (const step of events.time) times.push(time += step);
  return milestones.map(([id, words]) => ({ id, time: times[id - 1], node: names[events.node[id - 1]], words }));
}

// Both lists in the order of time, side by side; the first row in which they differ is marked.
function besideRows(left, right) {
  const same = (a, b) => a && b && a.node === b.node && a.words === b.words;
  let common = 0;
  while (same(left[common], right[common])) common++;
  const rows = [];
  let [i, j] = [common, common];
  while (i < left.length || j < right.length) {
    const [a, b] = [left[i], right[j]];
    if (same(a, b)) { rows.push([a, b]); i++; j++; }
    else if (!b || a && a.time <= b.time) { rows.push([a, null]); i++; }
    else { rows.push([null, b]); j++; }
  }
  return { common, rows };
}

function writeBeside() {
  const branch = branches[shownBranch - 1], banner = element('banner'), section = element('beside');
  banner.hidden = section.hidden = !branch;
  document.body.classList.toggle('in-branch', Boolean(branch));
  for (const button of document.querySelectorAll('[data-branch]')) {
    const chosen = Number(button.dataset.branch) === shownBranch;
    button.setAttribute('aria-pressed', chosen);
    button.closest('tr')?.classList.toggle('current', chosen);
  }
  if (!branch) return;
  const fewer = branch.events - branch.data.journal.events.kind.length;
  element('banner-words').innerHTML = `<b>Branch ${shownBranch}: ${escapeText(branch.name)}.</b> ${escapeText(branch.sentence)}`
    + `<span class="soft"> The drawings below are the branch's${fewer ? `, without its messages: ${branch.events - fewer} of ${branch.events} events are here` : ''}.</span>`;
  const { common, rows } = besideRows(milestonesOf(run), milestonesOf(branch.data));
  const cell = (one, differs) => one ? `<td class="num">${seconds(one.time)}</td><td>${escapeText(one.node)}</td><td${differs ? ' class="chg"' : ''}>${escapeText(one.words)}</td>` : '<td></td><td></td><td></td>';
  const shown = rows.slice(0, MILESTONES_MAX).map(([a, b], index) => `<tr>${cell(a, !index)}${cell(b, !index)}</tr>`).join('');
  const cut = rows.length > MILESTONES_MAX ? `<p class="soft">showing ${MILESTONES_MAX} of ${rows.length}</p>` : '';
  section.innerHTML = `<h3>Milestone by milestone <span class="soft">the first ${common} are the same</span></h3>`
    + (rows.length ? `<div class="scroll" tabindex="0" role="region" aria-label="Milestones side by side"><table class="beside"><thead><tr><th scope="col" colspan="3">this run</th><th scope="col" colspan="3">${escapeText(branch.name)}</th></tr></thead><tbody>${shown}</tbody></table></div>${cut}`
      : '<p class="soft">and there are no others: the change changed nothing that counts.</p>');
}
