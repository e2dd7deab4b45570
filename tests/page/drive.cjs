// Opens the pages of recorded runs in Chromium and uses them as a person would; one line for each, and the measures.

'use strict';
const fs = require('node:fs'), path = require('node:path'), { pathToFileURL } = require('node:url');
const { chromium } = require('playwright-core');
const axe = fs.readFileSync(require.resolve('axe-core/axe.min.js'), 'utf8');

const [runs, , shots] = process.argv.slice(2);
const PAGE_BYTES_MAX = 1.5e6, READY_MS_MAX = 1000, STEP_MS_MAX = 16, LARGE_EVENTS = 20000;

function check(holds, what) {
  if (!holds) throw new Error(what);
}

const cursor = page => page.evaluate(() => Number(document.getElementById('minimap').getAttribute('aria-valuenow')));
const data = page => page.evaluate(() => {
  const { opening, milestones, lost, journal, branches } = JSON.parse(document.getElementById('run').textContent);
  const { names, kinds, events } = journal, numbers = events.kind.map((kind, index) => [kinds[kind].name, index + 1]);
  const column = (kind, field) => kinds.find(({ name }) => name === kind)?.fields.find(([name]) => name === field)?.[2] ?? [];
  const texts = (kind, field) => [...new Set(column(kind, field).map(number => names[number]))];
  const ofGroups = { groups: texts('rebalance_began', 'group').length, members: texts('member_joined', 'client'), owned: [...new Set(column('partitions_assigned', 'partitions').flat())], rebalances: numbers.filter(([kind]) => kind === 'rebalance_began').map(([, id]) => id) };
  return { ...ofGroups, opening, milestones: milestones.map(([id]) => id), lost: lost.length, events: journal.events.kind.length, branches: branches.length, questions: document.querySelectorAll('.ask').length };
});

// A page that was opened, with all that it said and asked for.
async function open(browser, file, options = {}, hash = '') {
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, ...options });
  const page = await context.newPage(), heard = [], url = file.startsWith('file:') ? file : pathToFileURL(file).href;
  page.on('console', message => heard.push(`console ${message.type()}: ${message.text()}`));
  page.on('pageerror', error => heard.push(`error: ${error.stack}`));
  page.on('request', request => { if (request.url().split('#')[0] !== url) heard.push(`request: ${request.url()}`); });
  await page.goto(url + hash);
  await page.waitForFunction(() => document.documentElement.dataset.ready, null, { timeout: 20000 });
  return { context, page, heard };
}

const arrives = (page, id) => page.waitForFunction(id => document.getElementById('minimap').getAttribute('aria-valuenow') === String(id), id)
  .catch(async () => check(false, `at event ${await cursor(page)}, expected ${id}`));
const closed = (page, dialog) => page.locator(`${dialog}[open]`).waitFor({ state: 'detached' });

// Input reaches the page with its next frame; what was asked before is answered after the one behind it.
const settled = page => page.evaluate(() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(done)))));

async function presses(page, ...keys) {
  for (const key of keys) await page.keyboard.press(key);
  await settled(page);
}

// The checks by keyboard and mouse, each a sentence.
const uses = {
  async 'opens paused at the decisive moment'(page, run) {
    check(await cursor(page) === run.opening, `opened at ${await cursor(page)}, decisive is ${run.opening}`);
    await page.waitForTimeout(400);
    check(await cursor(page) === run.opening, 'it moved by itself');
    check(await page.locator('.story .key').count() === 0 || await page.locator('.story .cur .key').count() > 0, 'it opens at nothing that a story marks');
  },
  async 'nothing runs out of the page, and the tracks begin on the first screen'(page) {
    const [wide, top] = await page.evaluate(() => [document.documentElement.scrollWidth, document.getElementById('tracks').getBoundingClientRect().top + scrollY]);
    check(wide <= 1280, `the page is ${wide} wide`);
    check(top < 900, `the tracks begin at ${top}`);
  },
  async 'steps by event both ways'(page, run) {
    await presses(page, 'ArrowRight', 'ArrowRight');
    const ahead = await cursor(page);
    check(ahead > run.opening, `two steps lead from ${run.opening} to ${ahead}`);
    const inspected = await page.textContent('#inspector h2');
    check(inspected.startsWith(`#${ahead} `), `the inspector shows ${inspected}`);
    await presses(page, 'ArrowLeft', 'ArrowLeft');
    check(await cursor(page) === run.opening, 'two steps back do not lead back');
  },
  async 'steps by milestone both ways'(page, run) {
    await presses(page, 'Home', 'Shift+ArrowRight');
    check(await cursor(page) === run.milestones.find(id => id > 1), `the first milestone is ${run.milestones[0]}, not ${await cursor(page)}`);
    await presses(page, 'Shift+ArrowRight', 'Shift+ArrowLeft');
    check(await cursor(page) === run.milestones.find(id => id > 1), 'a milestone forth and back is not where it was');
  },
  async 'scrubs with the mouse, and shows the same state from both sides'(page) {
    await page.locator('#minimap').scrollIntoViewIfNeeded();
    const box = await (await page.$('#minimap')).boundingBox(), y = box.y + box.height / 2;
    await page.mouse.move(box.x + box.width * 0.3, y);
    await page.mouse.down();
    await settled(page);
    const first = await cursor(page), logs = () => page.innerHTML('#strips');
    await page.waitForTimeout(50);
    const before = await logs();
    await page.mouse.move(box.x + box.width * 0.8, y, { steps: 8 });
    await settled(page);
    check(await cursor(page) > first, 'dragging to the right did not go ahead');
    await page.mouse.move(box.x + box.width * 0.3, y, { steps: 8 });
    await page.mouse.up();
    await settled(page);
    check(await cursor(page) === first, 'dragging back did not lead back');
    check(await logs() === before, 'the logs differ after the way there and back');
  },
  async 'a click in the tracks goes to what was clicked'(page) {
    await presses(page, 'd');
    const target = page.locator('#tracks text.halo[data-e]').first(), id = Number(await target.getAttribute('data-e'));
    await target.scrollIntoViewIfNeeded();
    const box = await target.boundingBox();
    await page.mouse.click(box.x + box.width / 2, box.y + box.height / 2);
    check(await cursor(page) === id, `clicked at event ${id} and went to ${await cursor(page)}`);
  },
  async 'follows a cause and its effect'(page, run) {
    await presses(page, 'd');
    const links = page.locator('#cause a, #effects a');
    for (let tries = 0; tries < 50 && !await links.count(); tries++) await presses(page, 'ArrowRight');
    const here = await cursor(page), to = Number((await links.first().getAttribute('href')).slice(3));
    await links.first().click();
    await arrives(page, to);
    check(await page.locator(`#inspector a[href="#e=${here}"]`).count() > 0, 'the way back is not among its causes and effects');
    await page.goBack();
    await arrives(page, here);
  },
  async 'a message shows the fields that were on the wire, where it is sent and where it arrives'(page, run) {
    await presses(page, '/');
    await page.fill('#query', 'sends Produce request');
    await page.locator('#results a', { hasText: 'sends Produce request' }).first().click();
    await closed(page, '#search');
    const words = () => page.textContent('#decoded');
    const asked = await words();
    check(/^version \d+, client p\d/.test(asked) && /\n +- name orders\n/.test(asked) && / base_offset 0, leader_epoch -1, records \d+, /.test(asked), `a produce says ${asked}`);
    await page.locator('#effects a', { hasText: 'gets Produce request' }).click();
    await settled(page);
    check(await words() === asked, 'it arrives as another message');
    await presses(page, '/');
    await page.fill('#query', 'sends Produce response');
    await page.locator('#results a', { hasText: 'sends Produce response' }).first().click();
    await closed(page, '#search');
    check(/ error_code NONE, base_offset \d+/.test(await words()), `an answer says ${await words()}`);
  },
  async 'a witness leads to its event'(page, run) {
    const witness = page.locator('.claims a').first();
    if (!run.lost) return;
    const to = Number((await witness.getAttribute('href')).slice(3));
    await witness.click();
    await arrives(page, to);
  },
  async 'search finds an event by its number, and words'(page) {
    await presses(page, '/');
    await page.fill('#query', '#12');
    await presses(page, 'Enter');
    await arrives(page, 12);
    await presses(page, '/');
    await page.fill('#query', 'leads epoch');
    check(await page.locator('#results a').count() > 0, 'nobody ever led');
    await presses(page, 'Escape');
    await closed(page, '#search');
  },
  async 'goes to a time'(page) {
    await presses(page, 'g');
    await page.fill('#time', '0.15');
    await presses(page, 'Enter');
    await closed(page, '#jump');
    const time = async () => Number((await page.getAttribute('#minimap', 'aria-valuetext')).match(/, ([\d.]+) s$/)[1]);
    const there = await time();
    await presses(page, 'q', 'ArrowLeft');
    const before = await time();
    check(before <= 0.15 && there >= 0.15, `it went to ${there}, and the event before is at ${before}`);
    await presses(page, 'q');
  },
  async 'scale, folding, zoom and theme change by key'(page, run) {
    const shown = () => page.textContent('#shown');
    await presses(page, 's');
    check(await page.inputValue('#scale') === 'time', 'the scale did not change');
    const folded = await shown();
    await presses(page, 'q');
    check(await shown() !== folded, 'folding changed nothing');
    await presses(page, 'q', 's', '+', '-', 't', 't');
    check(await page.getAttribute('html', 'data-theme') === 'dark', 'the theme is not dark');
    await presses(page, 't', '?');
    check(await page.locator('#keys[open]').count() === 1, 'there is no sheet of keys');
    await presses(page, 'Escape');
    await closed(page, '#keys');
    await presses(page, '.', 'l');
    check((await page.locator('body.asking').count() === 1) === (run.questions > 0), 'l does not hide what came of it');
    if (!run.questions) return;
    await presses(page, 'l', 'v');
    check(await page.locator('body.asking').count() === 0 && await page.locator('#verdict:visible').count() === 1, 'l does not bring the verdict back');
  },
  async 'one node alone, and all again'(page) {
    const shown = async () => (await page.textContent('#shown')).split(' of ')[1], all = await shown();
    await presses(page, 'n');
    const node = await page.inputValue('#node');
    check(node && await shown() !== all, `only ${node}: of ${await shown()}`);
    await page.selectOption('#node', '');
    await settled(page);
    check(await shown() === all, 'choosing all nodes does not show what was shown');
    await page.evaluate(() => document.activeElement.blur());
  },
  async 'the text version of the tracks tells what they draw'(page, run) {
    await presses(page, 'Home');
    await page.locator('#tracks-text summary').click();
    await page.locator('#tracks-text tbody tr').first().waitFor({ timeout: 5000 });
    const said = await page.textContent('#tracks-text'), rows = await page.locator('#tracks-text tbody tr').count();
    check(rows > run.milestones.length, `${rows} rows for ${run.milestones.length} milestones`);
    check(/sends \w+ (request|response) to \w+; arrives after /.test(said), 'it tells of no message');
    await page.locator('#tracks-text summary').click();
    await page.evaluate(() => document.activeElement.blur());
  },
  async 'metrics tell what changed since the first step'(page) {
    await presses(page, 'Home');
    check(await page.locator('#metrics .chg').count() === 0 || (await page.textContent('#metrics')).includes('\u2212'), 'at the begin something has grown');
    await presses(page, 'End');
    check(await page.locator('#metrics tbody tr').count() > 10 && await page.locator('#metrics .chg').count() > 0, 'at the end nothing has changed');
    await presses(page, 'd');
  },
  async 'a group has its lanes, its state at the cursor, and is scrubbed'(page, run) {
    check(await page.locator('#groups:visible').count() === (run.groups ? 1 : 0), `${run.groups} groups, and the panels do not fit them`);
    if (!run.groups) return;
    if (await page.locator('body.asking').count()) await page.click('#blind');
    await page.evaluate(() => document.activeElement.blur());
    const said = async () => (await page.locator('#group-0 svg text').allTextContents()).join(' | '), state = () => page.textContent('#group-state-0');
    await presses(page, 'Home', 'r');
    const began = await cursor(page);
    check(run.rebalances[0] === began, `the first rebalance is ${run.rebalances[0]}, not ${began}`);
    check((await said()).includes('a member joins'), `a rebalance without its cause: ${await said()}`);
    for (let zoom = 0; zoom < 30; zoom++) await page.keyboard.press('-');
    await settled(page);
    for (const name of ['coordinator', 'coordinates', ...run.members, ...run.owned, 'since']) check((await said()).includes(name), `the lanes do not say ${name}: ${await said()}`);
    const before = await state();
    await presses(page, 'End');
    check(await state() !== before, 'the state of the group does not follow the cursor');
    await page.locator('#group-0').scrollIntoViewIfNeeded();
    const box = await page.locator('#group-0').boundingBox();
    await page.mouse.click(box.x + box.width * 0.4, box.y + 12);
    await settled(page);
    const there = await cursor(page);
    check(there > began && there < run.events, `a click in the lanes led to event ${there}`);
    const mark = page.locator('#group-0 path[data-e]').last(), id = Number(await mark.getAttribute('data-e'));
    await mark.dispatchEvent('pointerdown', { bubbles: true, button: 0, pointerId: 1 });
    await settled(page);
    check(await cursor(page) === id, `clicked at event ${id} and went to ${await cursor(page)}`);
    await page.locator('#group-text-0 summary').click();
    // It is written when it opens, not before.
    await page.locator('#group-text-0 tbody tr').first().waitFor({ timeout: 5000 });
    check(await page.locator('#group-text-0 tbody tr').count() >= run.rebalances.length, 'the text version is shorter than the rebalances');
    await page.evaluate(() => document.activeElement.blur());
    for (let zoom = 0; zoom < 8; zoom++) await page.keyboard.press('+');
    await settled(page);
  },
  async 'hides the verdict until a prediction is made'(page, run) {
    if (!run.questions) return;
    await page.evaluate(() => document.activeElement.blur());
    const told = '#verdict:visible, #claims:visible, .sub:visible, #lives:visible, #branches:visible, #lesson:visible, .tells:visible';
    const other = await open(page.context().browser(), page.url().split('#')[0], {}, '#e=100&l=1');
    check(await other.page.locator(told).count() === 0 && await cursor(other.page) === 100, 'a link with l=1 shows what came of it');
    await presses(other.page, '1', 'ArrowRight');
    await other.page.waitForTimeout(300);
    check(other.page.url().includes('&l=1') && !other.page.url().includes('&b='), `the address says ${other.page.url()}`);
    await other.context.close();
    await presses(page, 'l');
    check(await page.locator(told).count() === 0, 'the verdict is shown before an answer');
    await accessible(page, 'a lesson');
    for (const question of await page.locator('.ask').all()) {
      const right = await question.getAttribute('data-answer'), radio = question.locator('input[type=radio]');
      if (await radio.count()) {
        for (const choice of await radio.all()) if (await choice.getAttribute('value') === right) await choice.check();
      } else {
        await question.locator('input').fill(right);
        await question.locator('input').blur();
      }
      check((await question.locator('.told').textContent()).includes('Yes'), `the answer ${right} is not right`);
    }
    check(await page.locator('#verdict:visible').count() === 1, 'the verdict stays hidden');
    await page.evaluate(() => document.activeElement.blur());
  },
  async 'switches to each branch and back, at the same time'(page, run) {
    await page.evaluate(() => document.activeElement.blur());
    await presses(page, 'd');
    const time = async () => Number((await page.getAttribute('#minimap', 'aria-valuetext')).match(/, ([\d.]+) s$/)[1]);
    const there = await time(), logs = await page.innerHTML('#strips');
    for (let branch = 1; branch <= Math.min(9, run.branches); branch++) {
      await presses(page, String(branch));
      const said = await page.textContent('#banner');
      check(said.startsWith(`Branch ${branch}: `), `the banner says ${said}`);
      check(await page.locator('#beside:not([hidden])').count() === 1, 'the milestones do not stand side by side');
      await presses(page, 'ArrowRight', 'ArrowLeft', 'Shift+ArrowRight', 'Shift+ArrowLeft', 's', 's', 'd');
    }
    if (run.branches) await deepLink(page.context().browser(), page, page.url().split('#')[0]);
    await presses(page, '0', 'd');
    check(await page.locator('#banner:not([hidden])').count() === 0, 'the banner stays');
    check(await time() === there && await page.innerHTML('#strips') === logs, 'the run is not what it was');
    const button = page.locator('button[data-branch]').last(), number = await button.getAttribute('data-branch');
    if (!run.branches) return;
    await button.click();
    await settled(page);
    check((await page.textContent('#banner')).startsWith(`Branch ${number}: `), 'the button shows no branch');
    const witness = page.locator('.story a').first();
    if (run.lost) {
      await witness.click();
      await settled(page);
      check(await page.locator('#banner:not([hidden])').count() === 0, 'a line of the story does not lead back to the run');
    }
    await presses(page, '0');
  },
  async 'a fault for a node and for a message becomes a step of a scenario'(page) {
    await presses(page, 'd', 'b');
    await page.locator('[data-fault]').first().click();
    const made = () => page.textContent('#step-text');
    check(/^(\[\[step\]\]\n(when = "(not )?[a-z]+\(.+"|after = "\d+ms")\ndo   = "[a-z]+.*"(\n\n)?)+$/.test(await made()), `the step is ${await made()}`);
    check((await page.textContent('#step-command')).includes('cargo sim run '), 'there is no command');
    await page.locator('#tracks [data-node="b2"]').click();
    await settled(page);
    check((await page.textContent('#faults summary')).startsWith('Break it here: b2'), 'a click on a node offers nothing');
    await page.locator('[data-fault="pause b2"]').click();
    check((await made()).endsWith('do   = "pause b2"'), `it says ${await made()}`);
    // Not every line is a message.
    const held = page.locator('[data-fault^="hold "]');
    for (let nth = 0; nth < 60 && await held.count() === 0; nth++) {
      await page.evaluate(nth => {
        const lines = document.querySelectorAll('#tracks line[data-e]');
        lines[nth % lines.length].dispatchEvent(new PointerEvent('pointerdown', { bubbles: true, button: 0, pointerId: 1 }));
      }, nth);
      await presses(page, 'b');
    }
    check(await held.count() === 1, `a message offers ${await page.textContent('#faults')}`);
  },
  async 'plays and stops'(page) {
    await page.evaluate(() => document.activeElement.blur());
    await presses(page, 'Home', ']', ']', ' ');
    await page.waitForFunction(() => Number(document.getElementById('minimap').getAttribute('aria-valuenow')) > 3, null, { timeout: 5000 });
    await presses(page, ' ');
    const at = await cursor(page);
    await page.waitForTimeout(300);
    check(await cursor(page) === at, 'it did not stop');
  },
  async 'every control is reached by tab and has a name'(page) {
    const nameless = await page.evaluate(() => [...document.querySelectorAll('button, select, input, [role=slider]')]
      .filter(control => control.tabIndex < 0 || !(control.textContent.trim() || control.getAttribute('aria-label') || control.closest('label'))).map(control => control.id));
    check(nameless.length === 0, `without name or tab stop: ${nameless}`);
  },
};

// A link to what is shown now shows it again in a fresh page.
async function deepLink(browser, page, file) {
  await page.evaluate(() => { location.hash = '#e=100'; });
  await presses(page, 's', 'q', 'ArrowRight');
  await page.waitForTimeout(300);
  const state = () => [document.getElementById('minimap').getAttribute('aria-valuetext'), document.getElementById('scale').value,
    document.getElementById('quiet').checked, document.getElementById('inspector').textContent, document.getElementById('strips').textContent];
  const here = await page.evaluate(state), hash = await page.evaluate(() => location.hash);
  const other = await open(browser, file, {}, hash);
  const there = await other.page.evaluate(state);
  await other.context.close();
  check(JSON.stringify(here) === JSON.stringify(there), `${hash} shows ${there[0]}, was ${here[0]}`);
}

async function accessible(page, what) {
  const found = await page.evaluate(source => (0, eval)(source), axe).then(() => page.evaluate(() => axe.run())).catch(async () => {
    // A page that allows no eval takes the checker as the debugger's own script.
    await page.evaluate(`${axe};0`);
    return page.evaluate(() => axe.run());
  });
  const told = found.violations.map(({ id, nodes }) => `${id}: ${nodes.slice(0, 3).map(node => `${node.html.slice(0, 160)} (${node.any.concat(node.all)[0]?.message ?? ''})`).join(' | ')}`);
  check(told.length === 0, `axe (${what}): ${told.join('; ')}`);
}

async function drive(browser, file) {
  const { context, page, heard } = await open(browser, file), run = await data(page);
  page.setDefaultTimeout(8000);
  for (const [what, use] of Object.entries(uses)) {
    await use(page, run).catch(async error => {
      const where = await page.evaluate(() => `focus on ${document.activeElement.outerHTML.slice(0, 80)}, open: ${[...document.querySelectorAll('dialog[open]')].map(dialog => dialog.id)}`);
      throw new Error(`${what}: ${error.message.split('\n')[0]} (${where})`);
    });
  }
  await deepLink(browser, page, file);
  for (const details of await page.$$('details')) await details.evaluate(element => { element.open = true; });
  await page.waitForTimeout(100);
  await accessible(page, 'light');
  await page.emulateMedia({ colorScheme: 'dark' });
  await accessible(page, 'dark');
  await presses(page, '?');
  await accessible(page, 'keys');
  check(heard.length === 0, heard.join('\n'));
  await context.close();
  return run;
}

const median = list => [...list].sort((a, b) => a - b)[list.length >> 1];

// How long the page takes: to be ready, and for a step and a scrub from key to the end of layout.
async function measure(browser, file) {
  const readies = [];
  let opened;
  for (let time = 0; time < 3; time++) {
    if (opened) await opened.context.close();
    opened = await open(browser, file);
    readies.push(await opened.page.evaluate(() => performance.getEntriesByName('ready')[0].startTime));
  }
  const steps = await opened.page.evaluate(() => {
    const times = { step: [], back: [], milestone: [], scrub: [] };
    const timed = (list, act) => {
      const begun = performance.now();
      act();
      document.body.getBoundingClientRect();
      list.push(performance.now() - begun);
    };
    const press = (key, shiftKey = false) => document.body.dispatchEvent(new KeyboardEvent('keydown', { key, shiftKey, bubbles: true }));
    for (let count = 0; count < 200; count++) timed(times.step, () => press('ArrowRight'));
    for (let count = 0; count < 200; count++) timed(times.back, () => press('ArrowLeft'));
    for (let count = 0; count < 20; count++) timed(times.milestone, () => press('ArrowLeft', true));
    const map = document.getElementById('minimap'), box = map.getBoundingClientRect();
    map.setPointerCapture = () => {};
    for (let count = 0; count < 60; count++) {
      timed(times.scrub, () => map.dispatchEvent(new PointerEvent('pointerdown', { clientX: box.left + box.width * (count * 37 % 60) / 60, clientY: box.top + 5, bubbles: true })));
    }
    return times;
  });
  await opened.context.close();
  return { ready: median(readies), ...Object.fromEntries(Object.entries(steps).map(([name, list]) => [name, median(list)])) };
}

async function photograph(browser, file, name) {
  fs.mkdirSync(shots, { recursive: true });
  for (const width of [1280, 1920]) {
    for (const colorScheme of ['light', 'dark']) {
      const { context, page } = await open(browser, file, { viewport: { width, height: 1000 }, colorScheme });
      await page.waitForTimeout(150);
      await page.screenshot({ path: path.join(shots, `${name}-${width}-${colorScheme}.png`), fullPage: true });
      if (width === 1280 && colorScheme === 'light') await page.pdf({ path: path.join(shots, `${name}.pdf`), format: 'A4', landscape: true, printBackground: true });
      await context.close();
    }
  }
}

(async () => {
  const browser = await chromium.launch({ executablePath: process.env.CHROMIUM, args: ['--no-sandbox', '--disable-gpu'] });
  let passed = 0, failed = 0;
  for (const scenario of fs.readdirSync(runs).sort()) {
    const seed = fs.readdirSync(path.join(runs, scenario))[0], file = path.join(runs, scenario, seed, 'report.html'), bytes = fs.statSync(file).size;
    try {
      const run = await drive(browser, file), times = await measure(browser, file);
      const told = Object.entries(times).map(([name, ms]) => `${name} ${ms.toFixed(1)} ms`).join(', ');
      if (scenario.startsWith('large')) {
        check(run.events >= LARGE_EVENTS, `only ${run.events} events`);
        check(bytes / run.events * LARGE_EVENTS <= PAGE_BYTES_MAX, `${bytes} bytes for ${run.events} events`);
        check(times.ready < READY_MS_MAX, `ready after ${times.ready} ms`);
        for (const name of ['step', 'back', 'scrub']) check(times[name] < STEP_MS_MAX, `median of ${name}: ${times[name]} ms`);
      }
      if (shots) await photograph(browser, file, scenario);
      console.log(`page           ok: ${scenario}: ${run.events} events, ${(bytes / 1e6).toFixed(2)} MB, ${told}`);
      passed++;
    } catch (error) {
      console.log(`page           FAILED: ${scenario}: ${error.message}`);
      failed++;
    }
  }
  await browser.close();
  console.log(`${passed} passed, ${failed} failed`);
  process.exitCode = failed ? 1 : 0;
})();
