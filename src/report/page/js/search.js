// Search over every event: by words, node, API, record (`orders-0@5`) or number (`#120`).

const RESULTS_MAX = 60, OFFSETS_MAX = 100;

let haystack = null;

function haystackOf(event) {
  const words = [`#${event.id}`, event.node, event.kind.replaceAll('_', ' '), sentence(event), event.value ?? '', event.api ?? '', event.error ?? '', event.correlation === undefined ? '' : `correlation=${event.correlation}`];
  for (const batch of event.batches ?? []) {
    for (let offset = batch.base; offset < Math.min(batch.end, batch.base + OFFSETS_MAX); offset++) words.push(`${event.partition}@${offset}`);
  }
  return `${words.join(' ')} `.toLowerCase();
}

// Every word of the query has to be there; a word with `#`, `@` or `=` has to be there whole.
function find(query) {
  haystack ??= events.map(event => event ? haystackOf(event) : '');
  const words = query.toLowerCase().split(/\s+/).filter(Boolean).map(word => /[#@=]\d/.test(word) ? `${word} ` : word);
  if (!words.length) return [];
  const found = [];
  haystack.forEach((text, id) => {
    if (words.every(word => text.includes(word))) found.push(id);
  });
  return found;
}

function showResults() {
  const query = element('query').value, found = find(query), shown = found.slice(0, RESULTS_MAX);
  element('found').textContent = !query.trim() ? '' : found.length > shown.length ? `showing ${shown.length} of ${found.length}` : plural(found.length, 'event');
  element('results').innerHTML = shown.map(id =>
    `<li><a href="${address(id)}"><span class="num">${seconds(events[id].time)}</span><b>${escapeText(events[id].node)}</b><span>${escapeText(sentence(events[id]))}</span></a></li>`).join('');
}
