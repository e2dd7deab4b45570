// The run and its branches. Each is shown by the scripts below, which run anew over its data; what listened for the one
// before is let go.

const run = JSON.parse(document.getElementById('run').textContent);
const branches = run.branches ?? [];
let shownBranch = 0, ended = new AbortController();

const branchIn = hash => {
  const named = new URLSearchParams(hash.slice(1)), number = Number(named.get('b') ?? 0);
  // While it is predicted what comes of the run, nothing else is shown.
  return branches[number - 1] && named.get('l') !== '1' ? number : 0;
};

// Shows branch `number`, 0 for the run itself, at what the address names.
function showBranch(number) {
  ended.abort();
  ended = new AbortController();
  shownBranch = number;
  page(number ? branches[number - 1].data : run, ended.signal);
}
