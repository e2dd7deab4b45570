// A panel for each consumer group, on the axis of the tracks: its coordinator, its generations and why they ended, a lane
// for each member and for each partition. Below, members and lag as they are at the cursor.

const GROUPS_MAX = 4, MEMBERS_MAX = 10, OWNED_MAX = 12, OWNERS_MAX = 3, BAR = 16;

const MEMBER_COLOURS = 6;
// A member has a colour and a pattern beside its name.
const MEMBER_PATTERNS = ['', 'M0 0L6 6M-1 5L1 7M5 -1L7 1', 'M0 3H6', 'M3 0V6', 'M0 6L6 0M-1 1L1 -1M5 7L7 5', 'M1 1h1.4v1.4h-1.4zM4 4h1.4v1.4h-1.4z'];
const patternOf = index => MEMBER_PATTERNS[index % MEMBER_PATTERNS.length];

function memberPatterns(number) {
  const drawn = MEMBER_PATTERNS.map((d, index) => d && `<pattern id="member-${number}-${index}" width="6" height="6" patternUnits="userSpaceOnUse">${svg.path(d, 'stroke="var(--on-epoch)" stroke-opacity=".34" fill="none"')}</pattern>`);
  return `<defs>${drawn.join('')}</defs>`;
}

// How one panel draws: its group, its number, and which member has which looks.
class GroupDrawing {
  constructor(group, number) {
    Object.assign(this, { group, number, members: group.lanes.slice(0, MEMBERS_MAX), owned: group.owned.slice(0, OWNED_MAX) });
    this.word = generationWord(group);
  }

  index(name) {
    return this.group.lanes.findIndex(lane => lane.name === name);
  }

  // A bar in the looks of a member, with the longest of `words` that has room.
  bar(frame, from, to, y, name, words, data) {
    const x1 = frame.clamp(from), x2 = frame.clamp(to), width = round(x2 - x1 - 1), index = this.index(name), out = [];
    out.push(svg.rect(x1, y, width, BAR - 2, `var(--e${index % MEMBER_COLOURS})`, `rx="2" ${data}`));
    if (patternOf(index)) out.push(svg.rect(x1, y, width, BAR - 2, `url(#member-${this.number}-${index % MEMBER_PATTERNS.length})`, `rx="2" ${data}`));
    out.push(barWords(x1, x2, y, words, 'on', data));
    return out.join('');
  }

  coordinator(frame, top) {
    const { coordinators } = this.group, out = [], y = top + 2;
    for (const { broker, epoch, loading, from, to } of coordinators) {
      if (!frame.shows(from, to)) continue;
      const x1 = frame.clamp(from), x2 = frame.clamp(to), data = `data-e="${from}"`, leads = `${broker}, epoch ${epoch}`;
      out.push(svg.rect(x1, y, round(x2 - x1 - 1), BAR - 2, loading ? 'url(#hatch)' : 'var(--grid)', `stroke="var(--soft)" rx="2" ${data}`));
      out.push(barWords(x1, x2, y, loading ? [`${leads} loads`, 'loads'] : [`${leads} coordinates`, leads, broker], '', data));
    }
    out.push(drawGaps(frame, y, gapsOf(coordinators), 'nobody coordinates'));
    return { height: 24, body: out.join(''), name: 'coordinator', note: '' };
  }

  generations(frame, top) {
    const out = [], places = new Places(), y = top + 2;
    for (const era of this.group.eras.list) {
      const { from, to, kind, generation, why, leader, assignor } = era, data = `data-e="${from}"`;
      if (!frame.shows(from, to)) continue;
      const x1 = frame.clamp(from), x2 = frame.clamp(to), number = `${this.word} ${generation}`;
      const looks = { joining: ['url(#hatch)', 'stroke="var(--lost)"'], assigning: ['none', 'stroke="var(--ink)" stroke-dasharray="3 2"'], generation: ['var(--grid)', 'stroke="var(--soft)"'], empty: ['none', 'stroke="var(--lost)" stroke-dasharray="3 2"'] }[kind];
      const lasts = to > LAST ? '' : `, ${duration(events[to].time - events[from].time)}`;
      const words = {
        joining: [`members join${lasts}`, 'join'], assigning: [`${number} waits for its assignment${lasts}`, `${number} ?`],
        generation: [`${number}, ${assignor ?? ''}, ${leader ? `${memberName(leader)} assigned` : 'the coordinator assigned'}`, number, `${generation}`], empty: ['nobody is in it', 'empty'],
      }[kind];
      out.push(svg.rect(x1, y, round(x2 - x1 - 1), BAR - 2, looks[0], `${looks[1]} rx="2" ${data}`), barWords(x1, x2, y, words, kind === 'empty' ? 'lost' : '', data));
      if (kind === 'joining' && frame.x(from) >= frame.left - 1) {
        const width = textWidth(why), left = Math.min(x1 + 7, frame.right - width);
        out.push(svg.path(`M${x1} ${y + BAR}v8h4`, `stroke="var(--lost)" fill="none" ${data}`));
        if (places.take(left, y + BAR, width + 4)) out.push(svg.text(round(left), y + BAR + 11, why, 'f', data));
      }
    }
    return { height: 38, body: out.join(''), name: `${this.word}s`, note: 'why they end' };
  }

  member(frame, top, lane) {
    const out = [], places = new Places(), y = top + 2;
    out.push(svg.line(frame.left, y + BAR / 2, frame.right, y + BAR / 2, 'var(--grid)'));
    for (const stay of lane.stays) {
      if (!frame.shows(stay.from, stay.to)) continue;
      const parts = stay.epochs.list.length ? stay.epochs.list : [{ from: stay.to, to: stay.to, epoch: null }];
      if (stay.from < parts[0].from) out.push(svg.rect(frame.clamp(stay.from), y, round(frame.clamp(parts[0].from) - frame.clamp(stay.from) - 1), BAR - 2, 'none', `stroke="var(--soft)" stroke-dasharray="3 2" rx="2" data-e="${stay.from}"`),
        barWords(frame.clamp(stay.from), frame.clamp(parts[0].from), y, [`${stay.how}, has no ${this.word} yet`, stay.how], 's', `data-e="${stay.from}"`));
      for (const { from, to, epoch } of parts) if (epoch !== null && frame.shows(from, to)) out.push(this.bar(frame, from, to, y, lane.name, [`${lane.name}, ${this.word} ${epoch}`, `${this.word} ${epoch}`, `${epoch}`], `data-e="${from}"`));
    }
    for (const fault of faults) {
      if (fault.node !== lane.name || fault.kind === 'link' || !frame.shows(fault.from, fault.to)) continue;
      const x1 = frame.clamp(fault.from), x2 = frame.clamp(fault.to), words = fault.what.replace(`${fault.node} `, ''), width = textWidth(words);
      out.push(svg.rect(x1, y - 1, round(x2 - x1), BAR, 'url(#hatch)', `stroke="var(--lost)" data-e="${fault.from}"`));
      if (x2 - x1 > width + 8 && places.take(x1 + 4, y + BAR + 2, width)) out.push(svg.text(x1 + 4, y + BAR + 13, words, 'f lost', `data-e="${fault.from}"`));
    }
    lane.stays.forEach(({ to, why }, index) => {
      if (to > LAST || !frame.shows(to, to)) return;
      const x = frame.x(to), next = lane.stays[index + 1], end = next ? frame.clamp(next.from) : frame.right;
      out.push(svg.cross(x, y + BAR / 2 - 1, 5, `data-e="${to}"`));
      if (x + 10 + textWidth(why) < end) out.push(svg.text(round(x + 8), y + 11, why, 'f lost halo', `data-e="${to}"`));
    });
    const list = lane.processed;
    for (let index = lowerBound(list, frame.from - 1, ({ event }) => frame.axis.at[event.id]); index < list.length && frame.axis.at[list[index].event.id] <= frame.from + frame.span; index++) {
      const { event, again } = list[index], x = frame.x(event.id), level = y + BAR + 4, data = `data-e="${event.id}"`;
      out.push(again ? svg.path(`M${x - 3} ${level - 3}h6l-3 6z`, `fill="var(--panel)" stroke="var(--lost)" stroke-width="1.5" ${data}`) : svg.path(`M${x - 3} ${level - 3}h6l-3 6z`, `fill="var(--link)" ${data}`));
      const words = `${event.partition.slice(topicOf(event.partition).length + 1)}@${event.offset}${again ? ' again' : ''}`, width = textWidth(words);
      if (places.take(x - width / 2 - 2, level + 4, width + 6)) out.push(svg.text(x, level + 14, words, again ? 'f lost' : 'f', `text-anchor="middle" ${data}`));
    }
    const shown = lane.stays[0]?.instance ? `static, ${lane.stays[0].instance}` : 'member';
    return { height: 42, body: out.join(''), name: lane.name, note: shown };
  }

  partition(frame, top, { name, tenures, commits }) {
    const out = [], places = new Places(), drawn = tenures.map(tenure => ({ ...tenure }));
    const needed = stack(drawn), rows = Math.max(1, Math.min(OWNERS_MAX, needed)), below = top + 4 + rows * BAR;
    for (const { row, from, to, until, node, generation } of drawn) {
      if (row >= rows || !frame.shows(from, to)) continue;
      const y = top + 2 + row * BAR, data = `data-e="${from}"`, ends = Math.min(until ?? to, to);
      if (frame.shows(from, ends)) out.push(this.bar(frame, from, ends, y, node, [`${node}, since ${this.word} ${generation}`, node], data));
      if (ends === to) continue;
      const x1 = frame.clamp(ends), x2 = frame.clamp(to);
      out.push(svg.rect(x1, y, round(x2 - x1 - 1), BAR - 2, 'none', `stroke="var(--lost)" stroke-dasharray="4 2" rx="2" data-e="${ends}"`));
      out.push(barWords(x1, x2, y, [`${node} is out and does not know it`, `${node}, out`, node], 'lost', `data-e="${ends}"`));
    }
    out.push(drawGaps(frame, top + 2, gapsOf(tenures), 'nobody'));
    for (let index = lowerBound(commits, frame.from - 1, ({ id }) => frame.axis.at[id]); index < commits.length && frame.axis.at[commits[index].id] <= frame.from + frame.span; index++) {
      const { id, kind, offset, error } = commits[index], x = frame.x(id), level = below + 5, data = `data-e="${id}"`;
      out.push(commitMark(kind, x, level, data));
      const next = commits[index + 1], room = Math.min(frame.right, next ? frame.x(next.id) - 4 : Infinity) - x - 7;
      if (kind === 'accepted' && textWidth(offset) < room) out.push(svg.text(round(x + 7), level + 4, offset, 'f', data));
      if (!error) continue;
      const words = `${offset}: ${error}`, width = textWidth(words), left = Math.min(x - 4, frame.right - width);
      if (places.take(left, level + 6, width + 6)) out.push(svg.text(round(left), level + 17, words, 'f lost', data));
    }
    return { height: rows * BAR + (commits.some(({ error }) => error) ? 34 : 22), body: out.join(''), name: fitting(name), note: 'owner, commits', more: needed > rows ? [`showing ${rows} of ${needed}`] : [] };
  }

  tracks() {
    const { members, owned } = this;
    return [(frame, top) => this.coordinator(frame, top), (frame, top) => this.generations(frame, top),
      ...members.map(lane => (frame, top) => this.member(frame, top, lane)), ...owned.map(partition => (frame, top) => this.partition(frame, top, partition))];
  }
}

function commitMark(kind, x, y, data) {
  if (kind === 'sent') return svg.circle(x, y, 2.6, 'var(--panel)', `stroke="var(--link)" stroke-width="1.3" ${data}`);
  if (kind === 'unknown') return svg.circle(x, y, 3.6, 'var(--panel)', `stroke="var(--unknown)" stroke-width="1.3" stroke-dasharray="2 1.4" ${data}`);
  return kind === 'refused' ? svg.cross(x, y, 4, data) : svg.path(`M${x} ${y - 5}l5 5l-5 5l-5 -5z`, `fill="var(--link)" ${data}`);
}

// The longest of `words` that has room in a bar.
function barWords(x1, x2, y, words, classes, data) {
  const said = words.find(text => textWidth(text) + 8 < x2 - x1);
  return said ? svg.text(round(x1 + 4), y + 11, said, classes, `style="font-size:11px" ${data}`) : '';
}

function drawGaps(frame, y, gaps, what) {
  return gaps.filter(({ from, to }) => frame.shows(from, to)).map(({ from, to }) => {
    const x1 = frame.clamp(from), x2 = frame.clamp(to), data = `data-e="${from}"`, lasts = to > LAST ? ', to the end' : `, ${duration(events[to].time - events[from].time)}`;
    return svg.rect(x1, y, round(x2 - x1 - 1), BAR - 2, 'none', `stroke="var(--lost)" stroke-dasharray="3 2" rx="2" ${data}`) + barWords(x1, x2, y, [`${what}${lasts}`, what, '\u2205'], 'lost', data);
  }).join('');
}

// A name that has room beside the lanes, its end kept.
function fitting(name) {
  let words = name;
  while (words.length > 4 && textWidth(words, 12) > GUTTER - MARGIN - 14) words = `\u2026${words.replace('\u2026', '').slice(1)}`;
  return words;
}

const groupDrawings = groups.slice(0, GROUPS_MAX).map((group, number) => new GroupDrawing(group, number));

// The panels, empty.
function listGroups() {
  element('groups').hidden = !groups.length;
  element('groups-title').textContent = groups.length > GROUPS_MAX ? `Consumer groups (showing ${GROUPS_MAX} of ${groups.length})` : 'Consumer groups';
  element('group-panels').innerHTML = groupDrawings.map(({ group, number, members, owned }) => {
    const few = [[members, group.lanes, 'members'], [owned, group.owned, 'partitions']].filter(([shown, all]) => shown.length < all.length).map(([shown, all, what]) => `showing ${shown.length} of ${all.length} ${what}`);
    const about = [`${group.protocol} protocol`, `coordinated by the leader of ${group.offsetsPartition}`, ...few].join(', ');
    return `<div class="panel tracks group"><h3 class="bar" id="group-title-${number}">Group ${escapeText(group.name)} <span class="soft">${escapeText(about)}</span></h3><div class="drawing" id="group-${number}"></div>`
      + `<div class="legend">${groupLegend()}</div><div class="at-cursor scroll" id="group-state-${number}" tabindex="0" role="region" aria-labelledby="group-title-${number}"></div>`
      + `<details class="as-text group-text" id="group-text-${number}"><summary>As text: coordinators, rebalances, owners and refused commits</summary><div class="scroll" tabindex="0" role="region" aria-label="Group ${escapeText(group.name)} as text"></div></details></div>`;
  }).join('');
}

function groupLegend() {
  const icon = (width, body) => `<svg viewBox="0 0 ${width} 18" aria-hidden="true">${body}</svg>`;
  const entries = [
    [icon(14, svg.path('M4 6h6l-3 6z', 'fill="var(--link)"')), 'record processed, partition@offset'], [icon(14, svg.path('M4 6h6l-3 6z', 'fill="var(--panel)" stroke="var(--lost)" stroke-width="1.5"')), 'processed again'],
    [icon(14, commitMark('sent', 7, 9, '')), 'commit asked for'], [icon(14, commitMark('accepted', 7, 9, '')), 'committed'], [icon(14, commitMark('unknown', 7, 9, '')), 'nobody knows whether it stands'], [icon(14, commitMark('refused', 7, 9, '')), 'commit refused, member out'],
    [icon(20, svg.rect(1, 3, 18, 12, 'url(#hatch)', 'stroke="var(--lost)"')), 'rebalance, loading, paused or stopped'], [icon(20, svg.rect(1, 3, 18, 12, 'none', 'stroke="var(--lost)" stroke-dasharray="3 2"')), 'nobody, or out and unaware'],
  ];
  return entries.map(([drawing, words]) => `<span>${drawing}${words}</span>`).join('');
}

function drawGroups(frame) {
  for (const drawing of groupDrawings) {
    const { group: { name }, number } = drawing;
    drawInto(`group-${number}`, frame, drawing.tracks(), `Coordinator, ${drawing.word}s, members and partitions of group ${name} over the run; the text version follows`, memberPatterns(number));
  }
}
