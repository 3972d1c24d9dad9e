// What the dialogs of torrents show and send: theirs, all of it, and nothing before it is known.
import assert from 'node:assert/strict';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import path from 'node:path';
import test, { after, before, beforeEach } from 'node:test';
import { accessible, context, fits, launch, until } from './browser.mjs';
import { asker } from './showcase.mjs';
import { World } from './world.mjs';

let world;
let browser;
let node;
let page;
/** Three that stand still, and two that wait for a yes. */
let still;
let asking;
const api = (...request) => asker(page)(...request);
const terms = async ({ info_hash }) => (await api(`/torrents/${info_hash}`)).terms;
const isListed = async ({ info_hash }) => (await api('/torrents')).torrents.some((one) => one.info_hash === info_hash);
const setTerms = ({ info_hash }, change) => api(`/torrents/${info_hash}/terms`, change, 'PATCH');
const magnet = ({ info_hash, name }) => `magnet:?xt=urn:btih:${info_hash}&dn=${name}`;
/** Holds back what the page asks at `url` by `method` until `release` is called. */
async function hold(url, method) {
  let release;
  const released = new Promise((resolve) => (release = resolve));
  const asked = [];
  await page.route(url, async (route) => {
    if (route.request().method() !== method) return route.fallback();
    asked.push(route.request().url());
    await released;
    return route.continue();
  });
  return { asked, release };
}

before(async () => {
  world = await World.start({ dhtNodes: 4 });
  await world.wallet('user', 64);
  node = await world.node('user', '--broker', world.brokerUrl);
  await world.ask('user', node.url, '/settings', { 'ui.guide_done': true }, 'PATCH');
  const all = [];
  for (const name of ['alpha.bin', 'beta.bin', 'gamma.bin', 'delta.bin', 'epsilon.bin', 'zeta.bin']) all.push(await world.payload(name, 1 << 20));
  for (const [i, one] of all.slice(0, 5).entries()) await world.ask('user', node.url, '/torrents', { source: { file: await world.torrentBase64(one) }, ...(i < 3 ? { paused: true, confirmed: true } : { ask: true }) });
  [still, asking] = [all.slice(0, 3), all.slice(3)];
  browser = await launch();
  const made = await context(browser);
  page = await made.newPage();
  await page.goto(node.login_url);
  await page.getByRole('heading', { name: 'Overview' }).waitFor();
}, { timeout: 120_000 });
after(async () => {
  await browser?.close();
  await world?.end();
});

// A page of its own for each: nothing that was open or chosen is left.
beforeEach(async () => {
  await page.unrouteAll();
  await page.goto('about:blank');
  await page.goto(`${node.url}/#/home`);
  await page.getByRole('heading', { name: 'Overview' }).waitFor();
});

const several = async () => {
  await page.goto(`${node.url}/#/torrents`);
  for (const { name } of still) await page.getByRole('checkbox', { name: `Select ${name}` }).check();
  await page.getByRole('toolbar').getByRole('button', { name: 'Price, budget and speed' }).click();
  const dialog = page.getByRole('dialog', { name: 'Price, budget and speed of 3 torrents' });
  await dialog.getByLabel('Highest price you pay').waitFor();
  return dialog;
};
const close = async (dialog, name) => {
  await dialog.getByRole('button', { name, exact: true }).click();
  await dialog.waitFor({ state: 'detached' });
};

test('several torrents: what differs is said, and what is touched is sent to all of them, and nothing else', { timeout: 60_000 }, async () => {
  const [alpha, beta, gamma] = still;
  await setTerms(alpha, { budget: 50, max_price: 1000, price: 300, free: 'on', upload_bytes_per_s: 4096 });
  await setTerms(beta, { budget: 70, max_price: 2000, price: 300, free: 'off', pays: false });
  await setTerms(gamma, { budget: 50, max_price: 3000, price: 300, free: 'off' });
  const had = await Promise.all(still.map(terms));
  const dialog = await several();
  const pays = dialog.getByRole('checkbox', { name: /^Pay seeders/ });
  assert.deepEqual(await pays.evaluate((box) => [box.indeterminate, box.checked]), [true, false]);
  for (const label of ['Highest price you pay', 'Budget for this torrent', 'Upload at most']) {
    const field = dialog.getByRole('spinbutton', { name: label });
    assert.deepEqual([await field.inputValue(), await field.getAttribute('placeholder')], ['', 'They differ'], label);
  }
  assert.equal(await dialog.getByLabel('Price you ask').inputValue(), '300');
  assert.equal(await dialog.getByLabel('Serve for nothing').evaluate((list) => list.selectedOptions[0].textContent), 'They differ');
  await accessible(page, 'the terms of torrents that differ');
  // What the first of them has: the others have it afterwards too.
  await dialog.getByRole('spinbutton', { name: 'Budget for this torrent' }).fill('50');
  await dialog.getByLabel('Highest price you pay').fill('5');
  await dialog.getByLabel('Highest price you pay').fill('');
  await close(dialog, 'Save');
  assert.deepEqual(await Promise.all(still.map(terms)), had.map((one) => ({ ...one, budget: 50 })));

  const again = await several();
  assert.equal(await again.getByRole('spinbutton', { name: 'Budget for this torrent' }).inputValue(), '50');
  await pays.check();
  await again.getByLabel('Serve for nothing').selectOption('Free while nobody pays');
  await close(again, 'Save');
  assert.deepEqual(await Promise.all(still.map(terms)), had.map((one) => ({ ...one, budget: 50, pays: true, free: 'leftover' })));
});

test('the terms of several are asked and changed by one request each, and those that were not changed are counted', { timeout: 60_000 }, async () => {
  const asked = [];
  const note = (request) => /\/torrents\/(terms|[0-9a-f]{40})/.test(request.url()) && asked.push(`${request.method()} ${new URL(request.url()).pathname}`);
  page.on('request', note);
  const dialog = await several();
  await dialog.getByRole('spinbutton', { name: 'Budget for this torrent' }).fill('61');
  await close(dialog, 'Save');
  page.off('request', note);
  assert.deepEqual(asked, ['GET /api/v1/torrents/terms', 'PATCH /api/v1/torrents/terms']);
  for (const one of still) assert.equal((await terms(one)).budget, 61);

  await page.getByRole('toolbar').getByRole('button', { name: 'Price, budget and speed' }).click();
  await dialog.getByRole('spinbutton', { name: 'Budget for this torrent' }).fill('62');
  const problem = { code: 'not_found', error: 'there is no such torrent', what_to_do: 'look at the list', advice: 'see_list' };
  const [done, ...failed] = still.map((one) => one.info_hash);
  await page.route('**/api/v1/torrents/terms', (route) => route.fulfill({ json: { done: [done], failed: failed.map((info_hash) => ({ info_hash, problem })) } }));
  await dialog.getByRole('button', { name: 'Save', exact: true }).click();
  await dialog.getByText('2 torrents were not changed. The first of them:').waitFor();
  await dialog.getByRole('alert').getByText('There is no such torrent').waitFor();
  // It is below what fits, and yet in sight.
  const [text, foot] = await Promise.all([dialog.getByRole('alert').boundingBox(), dialog.getByRole('button', { name: 'Cancel' }).boundingBox()]);
  assert.ok(text.y + text.height <= foot.y, `${text.y} and ${foot.y}`);
  await page.getByText('Saved for 1 torrent', { exact: true }).waitFor();
  await accessible(page, 'terms that some did not take');
});

test('several at once are paused, resumed and removed by one request each', { timeout: 60_000 }, async () => {
  const had = (await api('/torrents')).torrents.length;
  const pair = ['one-of-two', 'two-of-two'].map((name, i) => ({ name, info_hash: `${i + 1}`.repeat(40) }));
  for (const one of pair) await api('/torrents', { source: { magnet: magnet(one) }, confirmed: true, terms: { pays: false } });
  await page.goto(`${node.url}/#/torrents`);
  for (const { name } of pair) await page.getByRole('checkbox', { name: `Select ${name}` }).check();
  const sent = [];
  page.on('request', (request) => request.url().endsWith('/torrents/actions') && sent.push(request.postDataJSON()));
  const press = (name) => page.getByRole('toolbar').getByRole('button', { name }).click();
  const paused = async () => (await api('/torrents')).torrents.filter((one) => one.name.endsWith('of-two') && one.state === 'paused').length;
  await press('Pause');
  await page.getByText('2 torrents paused', { exact: true }).waitFor();
  assert.equal(await paused(), 2);
  await press('Resume');
  await page.getByText('2 torrents resumed', { exact: true }).waitFor();
  assert.equal(await paused(), 0);
  await press('Remove');
  const dialog = page.getByRole('dialog', { name: 'Remove 2 torrents?' });
  await dialog.getByText('two-of-two').waitFor();
  await accessible(page, 'the removal of several');
  await close(dialog, 'Remove');
  await page.getByText('2 torrents removed', { exact: true }).waitFor();
  assert.equal((await api('/torrents')).torrents.length, had);
  assert.deepEqual(sent.map(({ action, info_hashes }) => [action, info_hashes.length]), [['pause', 2], ['resume', 2], ['remove', 2]]);
});

test('the keys of the list are named by ? and by a button, and do what is said of them', { timeout: 60_000 }, async () => {
  await page.goto(`${node.url}/#/torrents`);
  const grid = page.getByRole('grid');
  await grid.waitFor();
  const keys = page.getByRole('dialog', { name: 'Keys' });
  for (const ask of [() => page.keyboard.press('?'), () => page.getByRole('button', { name: 'Keys' }).click()]) {
    await ask();
    await keys.getByText('Delete, Backspace').waitFor();
    await accessible(page, 'the keys');
    await page.keyboard.press('Escape');
    await keys.waitFor({ state: 'detached' });
  }
  const all = (await api('/torrents')).torrents.length;
  const selected = async (number) => until(`${number} selected`, async () => (await grid.getByRole('row', { selected: true }).count()) === number, 10_000);
  await grid.focus();
  for (const [key, number] of [['Control+a', all], ['Escape', 0], ['Home', 0], ['Space', 1], ['Shift+ArrowDown', 2], ['Shift+End', all], ['Escape', 0]]) {
    await page.keyboard.press(key);
    await selected(number);
  }
  await page.keyboard.press('Home');
  await page.keyboard.press('Backspace');
  await page.getByRole('dialog', { name: 'Remove 1 torrent?' }).getByRole('button', { name: 'Cancel' }).click();
});

test('a limit is lifted: from one torrent, and from several that differ', { timeout: 60_000 }, async () => {
  const [alpha, beta, gamma] = still;
  await setTerms(alpha, { budget: 80, upload_bytes_per_s: 8192 });
  await setTerms(beta, { budget: 90 });
  const dialog = await several();
  await dialog.getByRole('button', { name: 'No limit for any of them: Budget for this torrent' }).click();
  assert.equal(await dialog.getByRole('spinbutton', { name: 'Budget for this torrent' }).getAttribute('placeholder'), 'None');
  await dialog.getByRole('button', { name: 'No limit for any of them: Upload at most' }).click();
  await close(dialog, 'Save');
  for (const one of still) assert.deepEqual([(await terms(one)).budget ?? null, (await terms(one)).upload_bytes_per_s ?? null], [null, null]);

  await setTerms(gamma, { budget: 64 });
  await page.goto(`${node.url}/#/torrents/${gamma.info_hash}`);
  await page.getByRole('button', { name: 'Price, budget and speed' }).last().click();
  const one = page.getByRole('dialog', { name: /gamma\.bin$/ });
  assert.equal(await one.getByRole('spinbutton', { name: 'Budget for this torrent' }).inputValue(), '64');
  await one.getByRole('spinbutton', { name: 'Budget for this torrent' }).fill('');
  await close(one, 'Save');
  assert.equal((await terms(gamma)).budget ?? null, null);
});

test('nothing is shown or saved before the terms are known', { timeout: 60_000 }, async () => {
  const [alpha, beta] = still;
  await setTerms(alpha, { budget: 123 });
  await page.goto(`${node.url}/#/torrents/${beta.info_hash}?tab=files`);
  await page.goto(`${node.url}/#/torrents/${alpha.info_hash}?tab=files`);
  const held = await hold(`**/api/v1/torrents/${alpha.info_hash}`, 'GET');
  const sent = [];
  page.on('request', (request) => request.method() === 'PATCH' && sent.push(request.url()));
  await page.getByRole('button', { name: 'Price, budget and speed' }).last().click();
  const dialog = page.getByRole('dialog', { name: /alpha\.bin$/ });
  await until('the question', () => held.asked.length > 0);
  assert.equal(await dialog.getByRole('spinbutton').count(), 0, 'a field without what is known');
  assert.ok(await dialog.getByRole('button', { name: 'Save' }).isDisabled());
  await dialog.getByRole('status').getByText('Loading').waitFor();
  held.release();
  await dialog.getByRole('spinbutton', { name: 'Budget for this torrent' }).waitFor();
  assert.equal(await dialog.getByRole('spinbutton', { name: 'Budget for this torrent' }).inputValue(), '123');
  await close(dialog, 'Save');
  assert.deepEqual(sent, [], 'nothing was touched');

  await page.route(`**/api/v1/torrents/${alpha.info_hash}`, (route) => route.abort());
  await page.getByRole('button', { name: 'Price, budget and speed' }).last().click();
  await dialog.getByRole('alert').getByText('The node does not answer').waitFor();
  assert.ok(await dialog.getByRole('button', { name: 'Save' }).isDisabled());
  await dialog.getByRole('button', { name: 'Cancel' }).click();
  await page.unroute(`**/api/v1/torrents/${alpha.info_hash}`);
  assert.equal((await terms(alpha)).budget, 123);
});

test('a source that was cancelled does not take over the dialog of another one', { timeout: 60_000 }, async () => {
  const [, , zeta] = asking;
  await page.goto(`${node.url}/#/torrents`);
  const held = await hold('**/api/v1/torrents', 'POST');
  const add = async (link) => {
    await page.getByRole('button', { name: 'Add torrent' }).click();
    await page.getByLabel('Magnet links or addresses').fill(link);
    await page.getByRole('dialog').getByRole('button', { name: 'Next' }).click();
  };
  const slow = { info_hash: '5'.repeat(40), name: 'slow.bin' };
  await add(magnet(slow));
  await page.getByRole('dialog', { name: 'slow.bin' }).getByRole('button', { name: 'Cancel' }).click();
  await page.getByRole('dialog').waitFor({ state: 'detached' });
  await add(magnet(zeta));
  const dialog = page.getByRole('dialog', { name: 'zeta.bin' });
  await dialog.waitFor();
  await until('both questions', () => held.asked.length === 2);
  const [answered] = await Promise.all([page.waitForResponse((response) => response.url().endsWith('/torrents/actions')), held.release()]);
  assert.deepEqual(answered.request().postDataJSON(), { action: 'remove', info_hashes: [slow.info_hash] });
  assert.equal(await isListed(slow), false, 'what was cancelled is gone');
  await dialog.getByText('Asking peers what this is…').waitFor();
  assert.equal(await page.getByRole('dialog').count(), 1);
  await dialog.getByRole('button', { name: 'Cancel' }).click();
  await until('an empty place', async () => !(await isListed(zeta)));
});

test('a yes to what is not known yet is one to what is paid without asking, or to a budget', { timeout: 60_000 }, async () => {
  const links = ['psi.bin', 'omega.bin'].map((name, i) => ({ info_hash: `${i + 7}d`.repeat(20), name }));
  await world.ask('user', node.url, '/settings', { 'spending.ask_above': 10 }, 'PATCH');
  await page.goto(`${node.url}/#/torrents`);
  for (const [i, one] of links.entries()) {
    const held = await hold('**/estimate', 'GET');
    await page.getByRole('button', { name: 'Add torrent' }).click();
    await page.getByLabel('Magnet links or addresses').fill(magnet(one));
    await page.getByRole('dialog').getByRole('button', { name: 'Next' }).click();
    const dialog = page.getByRole('dialog', { name: one.name });
    const yes = dialog.getByRole('button', { name: 'Download', exact: true });
    await dialog.getByText('Counting what it may cost…').waitFor();
    assert.equal(await yes.isDisabled(), true, 'nothing is in sight to say yes to');
    held.release();
    await dialog.getByText('it asks before anything is fetched if it may cost more than 10 units').waitFor();
    if (i === 1) {
      await dialog.getByRole('spinbutton', { name: 'Budget for this torrent' }).fill('55');
      await dialog.getByText('It may cost up to its budget of 55 units.').waitFor();
    }
    await accessible(page, 'a yes to what is not known yet');
    const [answered] = await Promise.all([page.waitForResponse((response) => response.url().endsWith('/torrents/actions')), yes.click()]);
    assert.deepEqual(answered.request().postDataJSON(), { action: i === 0 ? 'confirm_unseen' : 'confirm', info_hashes: [one.info_hash] });
    assert.equal((await terms(one)).budget ?? null, i === 0 ? null : 55);
    await dialog.waitFor({ state: 'detached' });
    await page.unrouteAll();
    await page.goto(`${node.url}/#/torrents`);
  }
  await api('/torrents/actions', { action: 'remove', info_hashes: links.map((one) => one.info_hash) });
  await world.ask('user', node.url, '/settings', { 'spending.ask_above': null }, 'PATCH');
});

test('an estimate that is opened anew has the terms of its torrent', { timeout: 60_000 }, async () => {
  const [delta, epsilon] = asking;
  await setTerms(delta, { budget: 111, max_price: 1111 });
  await setTerms(epsilon, { budget: 222, max_price: 2222 });
  const opened = async ({ info_hash, name }) => {
    await page.goto(`${node.url}/#/torrents/${info_hash}`);
    await page.getByRole('button', { name: 'See what it costs' }).click();
    const dialog = page.getByRole('dialog', { name });
    await dialog.getByRole('spinbutton', { name: 'Budget for this torrent' }).waitFor();
    return dialog;
  };
  const fields = async (dialog) => [await dialog.getByLabel('Highest price you pay').inputValue(), await dialog.getByRole('spinbutton', { name: 'Budget for this torrent' }).inputValue()];
  let dialog = await opened(delta);
  assert.deepEqual(await fields(dialog), ['1111', '111']);
  await dialog.getByRole('spinbutton', { name: 'Budget for this torrent' }).fill('333');
  await dialog.getByRole('spinbutton', { name: 'Budget for this torrent' }).blur();
  await until('the budget', async () => (await terms(delta)).budget === 333);
  await dialog.getByRole('button', { name: 'Cancel' }).click();
  dialog = await opened(epsilon);
  assert.deepEqual(await fields(dialog), ['2222', '222']);
  await dialog.getByRole('button', { name: 'Cancel' }).click();
  dialog = await opened(delta);
  assert.deepEqual(await fields(dialog), ['1111', '333']);
  await dialog.getByRole('button', { name: 'Cancel' }).click();
  assert.deepEqual([(await terms(epsilon)).budget, (await terms(epsilon)).max_price], [222, 2222]);
});

test('an estimate has what is ready to be spent and what waits to be read apart', { timeout: 60_000 }, async () => {
  const [delta] = asking;
  await page.route('**/estimate', async (route) => {
    const answer = await route.fetch();
    await route.fulfill({ json: { ...(await answer.json()), available_units: 40, unread_units: 24, buyable_units: 0, day_budget_left: null, total_budget_left: null, torrent_budget_left: null } });
  });
  await page.goto(`${node.url}/#/torrents/${delta.info_hash}`);
  await page.getByRole('button', { name: 'See what it costs' }).click();
  const dialog = page.getByRole('dialog', { name: delta.name });
  await dialog.getByText('Waits to be read again').waitFor();
  const facts = await dialog.locator('dl.facts').first().innerText();
  assert.match(facts, /Ready to spend\s+40 units/);
  assert.match(facts, /Waits to be read again\s+24 units of an earlier run/);
  await dialog.getByText('You may spend 64').waitFor();
  await dialog.getByRole('button', { name: 'Cancel' }).click();
  await page.unrouteAll({ behavior: 'wait' });
});

test('a torrent goes where it is told to, and does not start before it is told to', { timeout: 60_000 }, async () => {
  const [, , zeta] = asking;
  const { folder: usual } = await api('/node');
  await page.goto(`${node.url}/#/torrents`);
  await page.getByRole('button', { name: 'Add torrent' }).click();
  await page.getByRole('dialog').locator('input[type=file]').setInputFiles(zeta.torrent);
  const dialog = page.getByRole('dialog', { name: 'zeta.bin' });
  const folder = dialog.getByLabel('Folder for this torrent');
  const yes = dialog.getByRole('button', { name: 'Download', exact: true });
  assert.equal(await folder.inputValue(), usual);
  await dialog.getByText(/^[\d.]+ [KMGT]iB free there$/).waitFor();
  await dialog.getByRole('spinbutton', { name: 'Budget for this torrent' }).fill('77');
  await folder.fill('not/from/the/root');
  await folder.press('Enter');
  await dialog.getByRole('alert').getByText(/is no path from the root/).waitFor();
  assert.equal(await yes.count(), 0, 'there is nothing to say yes to');
  const elsewhere = path.join(world.dir, 'elsewhere');
  await folder.fill(elsewhere);
  await folder.press('Enter');
  await yes.waitFor();
  await dialog.getByText('A folder that is not there is made.').waitFor();
  assert.equal(await dialog.getByRole('alert').filter({ hasText: /\S/ }).count(), 0);
  await dialog.getByLabel('Start paused').check();
  await dialog.getByLabel('Label').fill(' talks ');
  await accessible(page, 'the folder of a torrent');
  await yes.click();
  await page.getByText('zeta.bin is in the list, paused').waitFor();
  const { row, folder: there, terms: agreed } = await api(`/torrents/${zeta.info_hash}`);
  assert.deepEqual([row.state, row.label, there, agreed.budget], ['paused', 'talks', elsewhere, 77], 'and what was typed before holds');
  // The next one is offered that folder, and begins at once again.
  await api('/torrents/actions', { action: 'remove', info_hashes: [zeta.info_hash] });
  await api('/torrents/label', { label: 'films', info_hashes: [still[0].info_hash] }, 'PUT');
  await page.getByRole('button', { name: 'Add torrent' }).click();
  await page.getByRole('dialog').locator('input[type=file]').setInputFiles(zeta.torrent);
  await yes.waitFor();
  const offered = (at) => dialog.locator('datalist').nth(at).locator('option').evaluateAll((all) => all.map((one) => one.value));
  assert.deepEqual([await offered(0), await offered(1)], [[usual, elsewhere], ['films']], 'labels that there are');
  await api('/torrents/label', { label: null, info_hashes: [still[0].info_hash] }, 'PUT');
  assert.deepEqual([await folder.inputValue(), await dialog.getByLabel('Start paused').isChecked()], [usual, false]);
  await dialog.getByRole('button', { name: 'Cancel' }).click();
  await until('an empty place', async () => !(await isListed(zeta)));
});

test('what something else adds is in the list that is open, paused or not', { timeout: 60_000 }, async () => {
  await page.goto(`${node.url}/#/torrents`);
  const grid = page.getByRole('grid');
  await grid.waitFor();
  const all = page.getByRole('group', { name: 'Show' }).getByRole('button', { name: /^All / });
  const before = (await api('/torrents')).torrents.length;
  const told = [];
  for (const [i, name] of ['nu.bin', 'xi.bin'].entries()) {
    const one = { info_hash: `e${i}`.repeat(20), name };
    await world.ask('user', node.url, '/torrents', { source: { magnet: magnet(one) }, paused: i === 0, confirmed: true });
    await grid.getByRole('row').filter({ hasText: name }).waitFor({ timeout: 5000 });
    told.push(one.info_hash);
  }
  assert.equal(await all.innerText(), `All ${before + 2}`);
  await world.ask('user', node.url, '/torrents/actions', { action: 'remove', info_hashes: told });
  await until('the chip', async () => (await all.innerText()) === `All ${before}`);
});

test('many links: what is none is said, a mistake is mended, and one answer may be for all', { timeout: 90_000 }, async () => {
  const links = ['iota.bin', 'kappa.bin', 'lambda.bin'].map((name, i) => ({ info_hash: `${i + 7}b`.repeat(20), name }));
  const nowhere = 'http://127.0.0.1:9/gone.torrent';
  await page.goto(`${node.url}/#/torrents`);
  await page.getByRole('button', { name: 'Add torrent' }).click();
  const field = page.getByLabel('Magnet links or addresses');
  await field.fill(['foo', nowhere, ...links.map(magnet)].join('\n'));
  const dialog = page.getByRole('dialog');
  await dialog.getByRole('status').getByText('Left out, as it is no magnet link, info hash or address: foo').waitFor();
  await accessible(page, 'a line that is left out');
  await dialog.getByRole('button', { name: 'Next' }).click();
  await dialog.getByRole('alert').filter({ hasText: /\S/ }).first().waitFor();
  await dialog.getByRole('button', { name: 'Back to the links' }).click();
  assert.equal(await field.inputValue(), [nowhere, ...links.map(magnet)].join('\n'));
  await field.fill(links.map(magnet).join('\n'));
  await dialog.getByRole('button', { name: 'Next' }).click();
  await dialog.getByText('Asking peers what this is…').waitFor();
  await dialog.getByLabel('Start paused').check();
  await dialog.getByLabel('Label').fill('many');
  await dialog.getByLabel('The same for the 2 after this, without asking again').check();
  await accessible(page, 'one answer for all');
  await dialog.getByRole('button', { name: 'Free peers only' }).click();
  await dialog.waitFor({ state: 'detached' });
  await page.getByRole('status').getByText('2 more torrents added').waitFor();
  for (const one of links) {
    const { row, terms } = await api(`/torrents/${one.info_hash}`);
    assert.deepEqual([row.state, row.label, terms.pays], ['paused', 'many', false], one.name);
  }
  await api('/torrents/actions', { action: 'remove', info_hashes: links.map((one) => one.info_hash) });
});

test('a link that nobody answers says so in the list and in its details, with what to do', { timeout: 60_000 }, async () => {
  const lost = { info_hash: '5a'.repeat(20), name: 'nobody-has-this' };
  await page.goto(`${node.url}/#/torrents`);
  await page.locator('main').press('n');
  const dialog = page.getByRole('dialog');
  await dialog.getByLabel('Magnet links or addresses').fill(magnet(lost));
  await dialog.getByRole('button', { name: 'Next' }).click();
  await dialog.getByText('Asking peers what this is…').waitFor();
  await dialog.getByRole('button', { name: 'Free peers only' }).click();
  await page.getByRole('row').filter({ hasText: lost.name }).getByText('No peer has answered yet').waitFor();
  await page.getByText(/^No peer has answered for \d+/).waitFor();
  await page.getByText('Check the link, or add one that names trackers').waitFor();
  await accessible(page, 'a torrent that nobody has');
  await api('/torrents/actions', { action: 'remove', info_hashes: [lost.info_hash] });
});

test('what is no torrent says so, asks nothing else, and leads back to another file', { timeout: 60_000 }, async () => {
  await page.goto(`${node.url}/#/torrents`);
  await page.locator('main').press('n');
  const dialog = page.getByRole('dialog');
  await dialog.locator('input[type=file]').setInputFiles({ name: 'broken.torrent', mimeType: '', buffer: Buffer.from('junk') });
  await dialog.getByRole('alert').getByText('This is not a torrent').waitFor();
  assert.equal(await dialog.getByRole('textbox').count() + await dialog.getByRole('combobox').count(), 0, 'a folder and a label for nothing');
  await accessible(page, 'a broken torrent');
  await dialog.getByRole('button', { name: 'Back' }).click();
  const another = page.getByRole('dialog', { name: 'Add torrents' });
  await another.waitFor();
  assert.ok(await another.getByRole('button', { name: 'Next' }).isDisabled(), 'the broken one waits no more');
  await another.locator('input[type=file]').setInputFiles({ name: 'whole.torrent', mimeType: '', buffer: Buffer.from(await world.torrentBase64(await world.payload('theta.bin', 1 << 16)), 'base64') });
  await page.getByRole('dialog', { name: 'theta.bin' }).getByLabel('Folder for this torrent').waitFor();
  await page.getByRole('dialog').getByRole('button', { name: 'Cancel' }).click();
});

test('a broken file among many is named, and a dialog that a key opened leaves the focus on the page', { timeout: 60_000 }, async () => {
  await page.goto(`${node.url}/#/torrents`);
  await page.getByRole('heading', { name: 'Torrents' }).waitFor();
  const focused = () => page.evaluate(() => document.activeElement?.id);
  await page.keyboard.press('n');
  const dialog = page.getByRole('dialog');
  await dialog.waitFor();
  await page.keyboard.press('Escape');
  await dialog.waitFor({ state: 'detached' });
  assert.equal(await focused(), 'main');
  const whole = Buffer.from(await world.torrentBase64(await world.payload('eta.bin', 1 << 16)), 'base64');
  await page.keyboard.press('n');
  await dialog.locator('input[type=file]').setInputFiles([{ name: 'eta.torrent', mimeType: '', buffer: whole }, { name: 'broken.torrent', mimeType: '', buffer: Buffer.from('junk') }]);
  await dialog.getByLabel('Start paused').check();
  await dialog.getByLabel(/^The same for the/).check();
  await dialog.getByRole('button', { name: 'Free peers only' }).click();
  await page.getByRole('listitem').filter({ hasText: 'broken.torrent' }).waitFor();
  await page.locator('.banner').getByRole('button', { name: 'Dismiss' }).click();
});

test('one answer for many shows how far it is, also on a page that is loaded anew, and what was refused', { timeout: 90_000 }, async () => {
  const held = [];
  const server = createServer((_, response) => held.push(response)).listen(0, '127.0.0.1');
  await new Promise((ready) => server.once('listening', ready));
  const links = ['mu.bin', 'omicron.bin'].map((name, i) => ({ info_hash: `${i + 7}c`.repeat(20), name }));
  try {
    await page.goto(`${node.url}/#/torrents`);
    await page.getByRole('button', { name: 'Add torrent' }).click();
    await page.getByLabel('Magnet links or addresses').fill([...links.map(magnet), `http://127.0.0.1:${server.address().port}/slow.torrent`].join('\n'));
    const dialog = page.getByRole('dialog');
    await dialog.getByRole('button', { name: 'Next' }).click();
    await dialog.getByText('Asking peers what this is…').waitFor();
    await dialog.getByLabel('Start paused').check();
    await dialog.getByLabel('The same for the 2 after this, without asking again').check();
    await dialog.getByRole('button', { name: 'Free peers only' }).click();
    await dialog.waitFor({ state: 'detached' });
    await page.goto(`${node.url}/#/torrents`);
    const far = page.getByRole('status').filter({ hasText: '1 of 2 answered' });
    await far.waitFor();
    await accessible(page, 'how far one answer for many is');
    await page.reload();
    await far.waitFor();
    await until('the question', () => held.length === 1);
    held.pop().writeHead(404).end();
    const refused = page.getByRole('listitem').filter({ hasText: 'slow.torrent' });
    await refused.getByText(/could not be fetched/).waitFor();
    await page.getByRole('status').getByText('1 more torrent added').waitFor();
    await accessible(page, 'what was refused of many');
    await page.getByRole('button', { name: 'Try again' }).click();
    await until('the next question', () => held.length === 1);
    await far.waitFor();
    held.pop().writeHead(404).end();
    await refused.waitFor();
    await page.locator('.banner').getByRole('button', { name: 'Dismiss' }).click();
    await refused.waitFor({ state: 'detached' });
    assert.equal((await api('/torrents/many')).refused, 0);
  } finally {
    server.close();
  }
  await api('/torrents/actions', { action: 'remove', info_hashes: links.map((one) => one.info_hash) });
});

test('the columns of the list are chosen, and stay so', { timeout: 60_000 }, async () => {
  await page.goto(`${node.url}/#/torrents`);
  const heads = async () => (await page.getByRole('columnheader').allInnerTexts()).map((text) => text.trim()).filter(Boolean);
  const choose = page.getByRole('button', { name: 'Columns of the list' });
  await choose.click();
  const dialog = page.getByRole('dialog', { name: 'Columns of the list' });
  await accessible(page, 'choosing columns');
  for (const name of ['Time left', 'Paid', 'Earned']) await dialog.getByLabel(name).uncheck();
  await dialog.getByLabel('Size').check();
  await close(dialog, 'Close');
  const wanted = ['Name', 'Down', 'Up', 'Seeds / peers', 'Ratio', 'Size'];
  assert.deepEqual(await heads(), wanted);
  await page.reload();
  await until('the columns', async () => String(await heads()) === String(wanted));
  const row = page.getByRole('row').filter({ hasText: 'alpha.bin' });
  assert.equal(await row.getByRole('gridcell').last().innerText(), '1.00 MiB');
  assert.equal(await row.getByRole('gridcell').count(), wanted.length + 1);
  await page.evaluate(() => localStorage.removeItem('dpay.columns'));
});

test('a ratio limit is given to a torrent and to all, as a ratio', { timeout: 60_000 }, async () => {
  const [alpha] = still;
  const open = async () => {
    await page.goto(`${node.url}/#/torrents/${alpha.info_hash}`);
    await page.getByRole('button', { name: 'Price, budget and speed' }).last().click();
    const dialog = page.getByRole('dialog', { name: /alpha\.bin$/ });
    await dialog.getByLabel('Ratio limit').waitFor();
    return dialog;
  };
  const dialog = await open();
  await dialog.getByLabel('Ratio limit').fill('1.25');
  await close(dialog, 'Save');
  assert.equal((await terms(alpha)).ratio_limit_percent, 125);
  const again = await open();
  assert.equal(await again.getByLabel('Ratio limit').inputValue(), '1.25');
  await again.getByLabel('Ratio limit').fill('');
  await close(again, 'Save');
  assert.equal((await terms(alpha)).ratio_limit_percent ?? null, null);
  const setting = async () => (await api('/settings')).settings.find((one) => one.key === 'seeding.ratio_limit_percent').value;
  await page.goto(`${node.url}/#/settings?section=seeding`);
  const field = page.getByLabel('Ratio limit');
  await field.fill('2.5');
  await field.press('Enter');
  await until('the setting', async () => (await setting()) === 250);
  assert.equal(await field.inputValue(), '2.5');
  await field.fill('');
  await field.press('Enter');
  await until('no setting', async () => (await setting()) === null);
});

test('of a change that cannot be written down it is said what holds and what does not', { timeout: 60_000 }, async () => {
  const dialog = await several();
  const problem = { code: 'disk', error: 'nothing could be written down', about: '/home/x', what_to_do: 'make room', advice: 'holds_until_stop', in_part: { holding: ['spending.budget_torrent'], refused: ['seeding.price'] } };
  await page.route('**/terms', (route) => route.fulfill({ status: 507, json: problem }));
  await dialog.getByRole('spinbutton', { name: 'Budget for this torrent' }).fill('44');
  await dialog.getByRole('button', { name: 'Save', exact: true }).click();
  await dialog.getByRole('alert').getByText('Nothing can be written in /home/x. “Budget per torrent” holds now all the same; “Price you ask” stays as it was.').waitFor();
  await dialog.getByRole('alert').getByText(/only as long as the node runs/).waitFor();
});

test('the account at the broker is looked at once for all who show it, and ever less while nothing changes', { timeout: 90_000 }, async () => {
  const own = await page.context().newPage();
  let asked = 0;
  await own.route('**/api/v1/broker', async (route) => {
    asked += 1;
    await route.continue();
  });
  await own.clock.install();
  await own.goto(`${node.url}/#/wallet?do=buy`);
  await own.getByRole('dialog', { name: 'Buy coins' }).waitFor();
  // Two minutes, with time for answers in between.
  for (let i = 0; i < 60; i++) {
    await own.clock.runFor(2000);
    await own.evaluate(() => fetch('api/v1/node').then((answer) => answer.text()));
  }
  await own.close();
  assert.ok(asked >= 3 && asked <= 14, `asked ${asked} times in two minutes`);
});

test('who has a wallet and no money is told on the overview how it comes in, until it has', { timeout: 90_000 }, async () => {
  const { account } = await world.run('poor', 'wallet', 'init', '--no-passphrase');
  const poor = await world.node('poor', '--broker', world.brokerUrl);
  await world.ask('poor', poor.url, '/settings', { 'ui.guide_done': true }, 'PATCH');
  const made = await context(browser, { width: 360, height: 740 });
  const visitor = await made.newPage();
  await visitor.goto(poor.login_url);
  const told = visitor.locator('.banner').filter({ hasText: 'No coins at hand.' });
  await told.getByText('To put money in, give the broker’s operator your account.').waitFor();
  await told.getByText(account.slice(0, 10)).waitFor();
  await told.getByRole('button', { name: 'Copy' }).waitFor();
  await accessible(visitor, 'an empty wallet');
  await fits(visitor, 'an empty wallet');
  // The rule that keeps small coins ready is off: what comes in stays there to be bought with.
  await world.ask('poor', poor.url, '/settings', { 'rules.at_hand': 0 }, 'PATCH');
  await world.deposit(account, 150_000);
  await visitor.goto(`${poor.url}/#/wallet`);
  await told.getByText('You can buy up to 50,000 units now.').waitFor();
  assert.deepEqual(made.problems, []);
  await made.close();
  await poor.part.stop();
});

test('a deposit is seen where one buys, and what limits the purchase is named', { timeout: 90_000 }, async () => {
  await page.goto(`${node.url}/#/wallet?do=buy`);
  const dialog = page.getByRole('dialog', { name: 'Buy coins' });
  await dialog.getByText('takes a bond of 100,000 units, which comes back. Your balance is 64 units').waitFor();
  await accessible(page, 'buying without the bond');
  await world.deposit((await api('/wallet')).account, 149_936);
  // The node keeps a few small coins at hand, and has bought those, and with them the bond.
  await dialog.getByText(/^Your balance at the broker buys up to 49,\d{3} units\.$/).waitFor({ timeout: 15_000 });
  await world.deposit((await api('/wallet')).account, 350_000);
  const limited = async () => {
    const { outstanding } = await api('/wallet');
    const [n, out] = [100_000 - outstanding, outstanding].map((units) => units.toLocaleString('en-GB'));
    return dialog.getByText(`You can buy up to ${n} units now: of your bond of 100,000 units, ${out} are bound by coins.`);
  };
  await (await limited()).waitFor({ timeout: 15_000 });
  const before = (await api('/wallet')).outstanding;
  // Too much is said by the page, with the limit that it names, and nothing is asked for.
  const most = 100_000 - before;
  await dialog.getByLabel('How many units').fill(String(most + 1));
  await dialog.getByRole('button', { name: 'Buy', exact: true }).click();
  await dialog.getByRole('alert').getByText(`From 1 to ${most.toLocaleString('en-GB')}`).waitFor();
  assert.equal((await api('/wallet')).outstanding, before);
  await dialog.getByLabel('How many units').fill('1600');
  await dialog.getByRole('button', { name: 'Buy', exact: true }).click();
  await dialog.waitFor({ state: 'detached' });
  await page.getByRole('button', { name: 'Buy', exact: true }).click();
  await until('the coins that are out', async () => (await api('/wallet')).outstanding === before + 1600);
  await (await limited()).waitFor();
});

test('a torrent is given more trackers and peers', { timeout: 60_000 }, async () => {
  const [alpha] = still;
  await page.goto(`${node.url}/#/torrents/${alpha.info_hash}?tab=trackers`);
  const more = page.getByLabel('Add trackers');
  const add = page.getByRole('tabpanel').getByRole('button', { name: 'Add', exact: true });
  assert.ok(await add.isDisabled(), 'nothing is typed');
  await more.fill('gopher://127.0.0.1:9/announce');
  await add.click();
  await page.getByRole('alert').getByText(/is no address of a tracker/).waitFor();
  await accessible(page, 'a tracker that is none');
  await more.fill('http://127.0.0.1:9/announce\nudp://127.0.0.1:9/announce');
  await more.press('Control+Enter');
  await page.getByRole('status').getByText('2 trackers added').waitFor();
  await page.getByRole('row').filter({ hasText: 'udp://127.0.0.1:9/announce' }).waitFor();
  assert.equal(await more.inputValue(), '');
  await more.fill('http://127.0.0.1:9/announce');
  await add.click();
  await page.getByRole('status').getByText('0 trackers added').waitFor();

  await page.getByRole('tab', { name: 'Peers' }).click();
  await page.getByLabel('Add peers').fill('127.0.0.1');
  await add.click();
  await page.getByRole('alert').getByText(/is no address of a peer/).waitFor();
  await page.getByLabel('Add peers').fill('127.0.0.1:9 127.0.0.2:9');
  await add.click();
  await page.getByRole('status').getByText('2 peers added').waitFor();
  await accessible(page, 'the peers of a torrent that has none');
});

test('a file that is not chosen has a button that chooses it where the others are opened', { timeout: 60_000 }, async () => {
  const folder = path.join(world.dir, 'pair');
  await mkdir(folder, { recursive: true });
  for (const name of ['one.bin', 'second.bin', 'third.bin']) await writeFile(path.join(folder, name), name.repeat(10_000));
  const torrent = path.join(world.dir, 'pair.torrent');
  const { info_hash } = await world.run('maker', 'create', folder, '-o', torrent, '--piece-kib', '64');
  await api('/torrents', { source: { file: await world.torrentBase64({ torrent }) }, paused: true, confirmed: true, only_files: [0] });
  await page.goto(`${node.url}/#/torrents/${info_hash}?tab=files`);
  const second = page.getByRole('row').filter({ hasText: 'second.bin' });
  const choose = second.getByRole('button', { name: /^Choose .*second\.bin, to open it$/ });
  await choose.waitFor();
  assert.equal(await second.getByRole('link').count(), 0);
  await accessible(page, 'the files of which one is chosen');
  await choose.click();
  await second.getByRole('link', { name: /second\.bin/ }).waitFor();
  assert.equal(await choose.count(), 0);
  assert.ok(await second.getByRole('checkbox').isChecked());
  const wanted = async () => (await api(`/torrents/${info_hash}/files`)).map((file) => file.wanted);
  assert.deepEqual(await wanted(), [true, true, false], 'that one, and those that were');
  await page.getByRole('button', { name: 'All files' }).click();
  await until('all files', async () => (await wanted()).every(Boolean));
  await api('/torrents/actions', { action: 'remove', info_hashes: [info_hash] });
});

test('on a page in Korean, what others said is marked and stands after the page’s own words', { timeout: 60_000 }, async () => {
  const [alpha] = still;
  const made = await context(browser, { language: 'ko-KR' });
  await made.addCookies(await page.context().cookies());
  const korean = await made.newPage();
  const [tracker, disk, broker] = ['unregistered torrent', 'Input/output error (os error 5)', '127.0.0.1:9 said 503: closed for the night'];
  await korean.route(`**/torrents/${alpha.info_hash}/trackers`, (route) => route.fulfill({ json: [{ tier: 0, dht: false, url: 'http://127.0.0.1:9/announce', works: false, error: tracker }] }));
  await korean.route('**/api/v1/notices', (route) => route.fulfill({ json: { notices: [{ id: 1, at: Date.now(), level: 'error', code: 'torrent_failed', values: { name: 'alpha.bin', error: disk, code: 'disk', advice: 'make_room', about: '/srv/downloads' }, text: `alpha.bin stopped: ${disk}` }] } }));
  await korean.route(`**/torrents/${alpha.info_hash}/terms`, (route) => route.fulfill({ status: 502, json: { code: 'broker', error: broker, what_to_do: 'look whether the broker runs', advice: 'see_broker' } }));
  const said = (within, text) => within.locator('div', { hasText: /^원문:/ }).locator('[lang=en]').getByText(text);
  await korean.goto(`${node.url}/#/torrents/${alpha.info_hash}?tab=trackers`);
  await said(korean.getByRole('row'), tracker).waitFor();
  await korean.getByRole('button', { name: /알림/ }).click();
  const notices = korean.getByRole('region', { name: '알림' });
  await notices.getByText('alpha.bin 중단: 디스크에 쓸 수 없습니다: /srv/downloads — 디스크 공간을 비우세요.').waitFor();
  await said(notices, disk).waitFor();
  await accessible(korean, 'foreign words in Korean');
  await korean.keyboard.press('Escape');
  await korean.getByRole('button', { name: '가격, 예산, 속도' }).last().click();
  const dialog = korean.getByRole('dialog');
  await dialog.getByRole('checkbox').first().click();
  await dialog.getByRole('button', { name: '저장' }).click();
  await dialog.getByRole('alert').getByText('브로커에 연결할 수 없습니다', { exact: false }).waitFor();
  await said(dialog.getByRole('alert'), broker[0].toUpperCase() + broker.slice(1)).waitFor();
  assert.deepEqual(made.problems, []);
  await made.close();
});

/** A page of the same user in a window of its own, opened at the settings. */
async function elsewhere(prepare = async () => {}) {
  const made = await context(browser);
  await made.addCookies(await page.context().cookies());
  const other = await made.newPage();
  await prepare(other);
  await other.goto(`${node.url}/#/settings`);
  return { made, other, languages: other.getByRole('combobox', { name: /^(Language|언어)$/ }), heading: (name) => other.getByRole('heading', { level: 1, name }) };
}

test('a page that is older than the language it asks for loads itself anew, in that language', { timeout: 60_000 }, async () => {
  const { made, other, languages, heading } = await elsewhere();
  // As after an upgrade: the texts stand elsewhere than this page looks for them. The next page is of the same version.
  await other.route('**/assets/ko.js', (route) => route.fulfill({ contentType: 'text/javascript', body: "export const version = 'later'; export default { 1: 'elsewhere' };" }), { times: 1 });
  await Promise.all([other.waitForEvent('load'), languages.selectOption('ko')]);
  await heading('설정').waitFor();
  assert.deepEqual([await languages.inputValue(), await other.evaluate(() => document.documentElement.lang), made.problems], ['ko', 'ko', []]);
  await made.close();
});

test('a language that does not come leaves the page as it is and says so, and one that comes late is not the one chosen since', { timeout: 60_000 }, async () => {
  const { made, other, languages, heading } = await elsewhere();
  await other.route('**/assets/ko.js', (route) => route.abort(), { times: 1 });
  await languages.selectOption('ko');
  await other.getByRole('status').getByText('The texts of that language did not come').waitFor();
  assert.deepEqual([await languages.inputValue(), await other.evaluate(() => [document.documentElement.lang, localStorage.getItem('dpay.language')])], ['en', ['en', null]]);

  let release;
  const released = new Promise((resolve) => (release = resolve));
  await other.route('**/assets/ko.js', async (route) => (await released, route.fallback()));
  await Promise.all([other.waitForRequest('**/assets/ko.js'), languages.selectOption('ko')]);
  await languages.selectOption('en');
  release();
  // Once the file is there, whoever waited for it has had it.
  await other.evaluate(() => import('./assets/ko.js'));
  await heading('Settings').waitFor();
  assert.deepEqual([await languages.inputValue(), await other.evaluate(() => localStorage.getItem('dpay.language'))], ['en', 'en']);
  await languages.selectOption('ko');
  await heading('설정').waitFor();
  assert.deepEqual(made.problems, []);
  await made.close();
});

test('a page whose first texts do not come says in both languages what to do', { timeout: 60_000 }, async () => {
  const { made, other } = await elsewhere((it) => it.route('**/assets/en.js', (route) => route.abort()));
  const said = other.getByRole('alert');
  for (const text of ['load the page anew', '새로 고치세요']) await said.getByText(text).waitFor();
  await accessible(other, 'a page without texts');
  await other.unrouteAll();
  await other.reload();
  await other.getByRole('heading', { level: 1, name: 'Settings' }).waitFor();
  assert.deepEqual(made.problems, []);
  await made.close();
});

test('a page that is older than the node says so: where a part of it is loaded late, and wherever the node answers', { timeout: 60_000 }, async () => {
  const { made, other } = await elsewhere();
  const main = other.getByRole('main');
  const home = async () => {
    await other.goto('about:blank');
    await other.goto(`${node.url}/#/home`);
  };
  const gone = main.getByRole('alert').filter({ hasText: 'What draws this chart did not come.' });
  // Of a later version, or not there any more.
  for (const late of [(route) => route.fulfill({ contentType: 'text/javascript', body: "export const version = 'later'; export const rates = 1;" }), (route) => route.abort()]) {
    await other.route('**/assets/plot.js', late, { times: 1 });
    await home();
    await gone.waitFor();
    await accessible(other, 'a chart that does not come');
    await gone.getByRole('button', { name: 'Load the page anew' }).click();
    await main.locator('canvas').waitFor();
  }
  const older = main.getByRole('alert').filter({ hasText: 'This page is older than the node.' });
  assert.equal(await older.count(), 0);
  await other.route('**/api/v1/reports/**', async (route) => {
    const answer = await route.fetch();
    await route.fulfill({ response: answer, headers: { ...answer.headers(), 'dpay-page': 'later' } });
  });
  await other.goto(`${node.url}/#/earnings`);
  await older.waitFor();
  await accessible(other, 'a page that is older than the node');
  await other.unrouteAll({ behavior: 'wait' });
  await Promise.all([other.waitForEvent('load'), older.getByRole('button', { name: 'Load the page anew' }).click()]);
  await other.getByRole('heading', { level: 1, name: 'Earnings' }).waitFor();
  assert.equal(await older.count(), 0);
  assert.deepEqual(made.problems, []);
  await made.close();
});

test('torrents that wait for a yes, or for their turn, are found by their number', { timeout: 60_000 }, async () => {
  const chips = page.getByRole('group', { name: 'Show' }).getByRole('button');
  const rows = page.getByRole('grid').getByRole('row').filter({ hasText: '.bin' });
  await page.goto(`${node.url}/#/torrents`);
  await chips.filter({ hasText: /^Waiting for you 2$/ }).click();
  await until('only those', async () => (await rows.count()) === 2);
  for (const { name } of asking.slice(0, 2)) await rows.filter({ hasText: name }).getByText('Waits for your yes').first().waitFor();
  assert.equal(await chips.filter({ hasText: 'Queued' }).count(), 0);
  // One downloads, the other waits until it is paused.
  await page.goto(`${node.url}/#/settings?section=limits`);
  await page.getByLabel('Downloads at once').fill('1');
  await page.getByLabel('Downloads at once').press('Enter');
  await page.getByRole('status').getByText('Saved: Downloads at once').waitFor();
  const [alpha, beta] = still;
  const act = (action, ...all) => api('/torrents/actions', { action, info_hashes: all.map((one) => one.info_hash) });
  await act('resume', alpha, beta);
  await page.goto(`${node.url}/#/torrents`);
  await chips.filter({ hasText: /^Queued 1$/ }).click();
  await rows.filter({ hasText: beta.name }).getByText('Queued').first().waitFor();
  await accessible(page, 'a torrent that is queued');
  await act('pause', alpha);
  await until('its turn', async () => (await api(`/torrents/${beta.info_hash}`)).row.state === 'downloading');
  await act('pause', beta);
  await api('/settings', { 'limits.downloads_at_once': null }, 'PATCH');
});

test('a budget below what is paid says so where it is typed', { timeout: 60_000 }, async () => {
  await page.route('**/api/v1/torrents', async (route) => {
    const answer = await route.fetch();
    const list = await answer.json();
    for (const row of list.torrents) row.units_paid = row.name === still[0].name || row.name === asking[0].name ? 48 : 0;
    await route.fulfill({ response: answer, json: list });
  });
  await page.reload();
  const said = '48 units are paid for it already: nothing more is paid.';
  await page.goto(`${node.url}/#/torrents/${still[0].info_hash}`);
  await page.getByRole('button', { name: 'Price, budget and speed' }).last().click();
  let dialog = page.getByRole('dialog', { name: /alpha\.bin$/ });
  const budget = () => dialog.getByRole('spinbutton', { name: 'Budget for this torrent' });
  await budget().fill('49');
  assert.equal(await dialog.getByText(said).count(), 0);
  await budget().fill('48');
  await dialog.getByRole('status').getByText(said).waitFor();
  await accessible(page, 'a budget that is used up already');
  await close(dialog, 'Cancel');
  dialog = await several();
  await budget().fill('10');
  await dialog.getByText('1 of them has paid as much already: nothing more is paid for it.').waitFor();
  await close(dialog, 'Cancel');
  // Also of one that is added again, for which was paid before.
  await page.goto(`${node.url}/#/torrents/${asking[0].info_hash}`);
  await page.getByRole('button', { name: 'See what it costs' }).click();
  dialog = page.getByRole('dialog', { name: asking[0].name });
  await budget().fill('20');
  await dialog.getByText(said).waitFor();
  await dialog.getByRole('button', { name: 'Cancel' }).click();
  await page.unrouteAll({ behavior: 'wait' });
});

test('where torrents run the first-run guide is a card that is put away, and comes back from the settings', { timeout: 60_000 }, async () => {
  await api('/settings', { 'ui.guide_done': false }, 'PATCH');
  await page.goto('about:blank');
  await page.goto(`${node.url}/#/torrents`);
  const card = page.getByRole('region', { name: 'First-run guide' });
  await card.waitFor();
  await page.getByRole('grid').getByRole('row').filter({ hasText: still[0].name }).waitFor();
  await accessible(page, 'the guide as a card');
  await card.getByRole('link', { name: 'Open the guide' }).click();
  await page.getByRole('heading', { name: 'Where do downloads go?' }).waitFor();
  await page.goBack();
  await card.getByRole('button', { name: 'Put the guide away' }).click();
  await card.waitFor({ state: 'detached' });
  assert.equal((await api('/node')).guide_done, true);
  await page.goto(`${node.url}/#/settings`);
  await page.getByRole('link', { name: 'First-run guide' }).click();
  await page.getByRole('heading', { name: 'Where do downloads go?' }).waitFor();
});

test('on a phone all of it is found: the log, the columns and what they say, all tabs, all torrents at once', { timeout: 60_000 }, async () => {
  const made = await context(browser, { width: 360, height: 740 });
  await made.addCookies(await page.context().cookies());
  const phone = await made.newPage();
  await phone.route('**/api/v1/torrents', async (route) => {
    const answer = await route.fetch();
    const list = await answer.json();
    for (const row of list.torrents) if (row.name === still[0].name) Object.assign(row, { downloaded_bytes: 1 << 20, uploaded_bytes: 3 << 19, units_paid: 7 });
    await route.fulfill({ response: answer, json: list });
  });
  const inSight = async (place) => {
    const box = await place.boundingBox();
    assert.ok(box && box.x >= 0 && box.x + box.width <= 360, `${await place.innerText()} is out of sight: ${JSON.stringify(box)}`);
  };
  await phone.goto(`${node.url}/#/torrents`);
  const row = phone.getByRole('row').filter({ hasText: still[0].name });
  await row.getByText('1.50').waitFor();
  await row.getByText('−7 units').waitFor();
  const columns = phone.getByRole('button', { name: 'Columns of the list' });
  await inSight(columns);
  await columns.click();
  const dialog = phone.getByRole('dialog', { name: 'Columns of the list' });
  for (const name of ['Ratio', 'Paid']) await dialog.getByLabel(name).uncheck();
  await dialog.getByLabel('Added').check();
  await dialog.getByRole('button', { name: 'Close' }).click();
  await row.getByText(String(new Date().getFullYear())).waitFor();
  assert.deepEqual([await row.getByText('1.50').count(), await row.getByText('−7').count()], [0, 0]);
  await phone.getByRole('checkbox', { name: `Select ${still[0].name}` }).check();
  const all = phone.getByRole('toolbar').getByRole('checkbox', { name: 'Select all' });
  await all.click();
  const { torrents } = await api('/torrents');
  await phone.getByRole('toolbar').getByRole('status').getByText(`${torrents.length} selected`).waitFor();
  for (const button of await phone.getByRole('toolbar').getByRole('button').all()) await inSight(button);
  await accessible(phone, 'all selected on a phone');
  await phone.getByRole('toolbar').getByRole('button', { name: 'Clear' }).click();
  await row.click();
  for (const tab of await phone.getByRole('tab').all()) await inSight(tab);
  const log = phone.getByRole('navigation', { name: 'Pages' }).getByRole('link', { name: 'Log' });
  await inSight(log);
  await log.click();
  await phone.getByRole('heading', { level: 1, name: 'Log' }).waitFor();
  assert.deepEqual(made.problems, []);
  await made.close();
});

test('money is withdrawn, once for each asking, and what is too much is refused with what there is', { timeout: 60_000 }, async () => {
  const { broker_balance: before } = await api('/wallet');
  assert.ok(before > 40, `${before}`);
  await page.goto(`${node.url}/#/wallet`);
  await page.getByRole('link', { name: 'Withdraw', exact: true }).click();
  const dialog = page.getByRole('dialog', { name: 'Withdraw' });
  await dialog.getByLabel('How many units').fill('1000000');
  await dialog.getByLabel('Where to, as the operator asks for it').fill('account 7');
  await accessible(page, 'the dialog of a withdrawal');
  await dialog.getByLabel('How many units').press('Enter');
  await dialog.getByText('1,000,000 units are withdrawn to “account 7”. That cannot be taken back here.').waitFor();
  await accessible(page, 'what is withdrawn, before it is');
  await dialog.getByRole('button', { name: 'Withdraw it' }).click();
  await dialog.getByRole('alert').getByText(String(before)).first().waitFor();
  assert.equal((await api('/wallet')).broker_balance, before);
  const { withdrawable } = await api('/wallet');
  await dialog.getByText(`Can be withdrawn now: ${withdrawable.toLocaleString('en-GB')} units.`).waitFor();
  await dialog.getByRole('button', { name: 'All of it' }).click();
  assert.equal(await dialog.getByLabel('How many units').inputValue(), String(withdrawable));
  // Nothing is not all.
  await dialog.getByLabel('How many units').fill('');
  await dialog.getByRole('button', { name: 'Withdraw', exact: true }).click();
  assert.equal(await dialog.getByRole('button', { name: 'Withdraw it' }).count(), 0);
  await dialog.getByLabel('How many units').fill('40');
  await dialog.getByRole('button', { name: 'Withdraw', exact: true }).click();
  await dialog.getByRole('button', { name: 'Withdraw it' }).click();
  await dialog.getByText('The wallet shows when they are paid out').waitFor();
  await dialog.getByRole('button', { name: 'Close', exact: true }).last().click();
  await dialog.waitFor({ state: 'detached' });
  await until('the balance', async () => (await api('/wallet')).broker_balance === before - 40);
  await page.getByRole('region', { name: 'History' }).getByText('account 7').first().waitFor();
  // Whether it is paid is not known; that it was asked for, and where to, is. Only what is answered has a receipt.
  const at = page.getByRole('region', { name: 'At the broker' });
  const queued = at.locator('div', { hasText: /^40 units to account 7, asked for .*: in the broker’s queue, not paid out yet as far as it says/ });
  await queued.getByRole('link', { name: 'Receipt' }).click();
  await page.getByRole('dialog', { name: 'Receipt' }).getByText('account 7').first().waitFor();
  await page.route('**/api/v1/wallet', async (route) => {
    const answer = await route.fetch();
    const wallet = await answer.json();
    await route.fulfill({ response: answer, json: { ...wallet, withdrawals: wallet.withdrawals.map((one) => ({ ...one, is_queued: false })) } });
  });
  await page.goto('about:blank');
  await page.goto(`${node.url}/#/wallet`);
  const open = at.locator('div', { hasText: /^40 units to account 7, asked for .*: the broker has not answered yet$/ });
  await open.waitFor();
  assert.equal(await open.getByRole('link').count(), 0);
  await page.unrouteAll({ behavior: 'wait' });
  await page.route('**/api/v1/wallet', async (route) => {
    const answer = await route.fetch();
    const wallet = await answer.json();
    await route.fulfill({ response: answer, json: { ...wallet, withdrawals: wallet.withdrawals.map((one) => ({ ...one, paid: Date.UTC(2026, 0, 2, 12) })) } });
  });
  await page.goto('about:blank');
  await page.goto(`${node.url}/#/wallet`);
  await at.locator('div', { hasText: /^40 units to account 7, asked for .*: paid out .*2026/ }).waitFor();
  await page.unrouteAll({ behavior: 'wait' });
});

test('why a torrent waits is whole in the list where its row has room, and units have their word beside the graph', { timeout: 60_000 }, async () => {
  await page.route('**/api/v1/torrents', async (route) => {
    const answer = await route.fetch();
    const list = await answer.json();
    for (const row of list.torrents) if (row.info_hash === still[0].info_hash) Object.assign(row, { state: 'downloading', size_bytes: 1 << 20, have_bytes: 300_000, peers: 1, units_paid: 2, units_earned: 1, waits: { code: 'price', values: { asked: '16384', limit: '8000' }, text: '' } });
    await route.fulfill({ response: answer, json: list });
  });
  await page.reload();
  await page.getByText('0 units/s').first().waitFor();
  await page.goto(`${node.url}/#/torrents`);
  const row = page.getByRole('row').filter({ hasText: still[0].name });
  const why = row.getByText('Asks 16,384 per GiB, more than your limit of 8,000');
  await why.waitFor();
  assert.ok(await why.evaluate((text) => text.scrollWidth <= text.clientWidth), 'it is not cut');
  for (const amount of ['2 units', '1 unit']) await row.getByText(amount, { exact: true }).waitFor();
  assert.equal(await row.getByRole('gridcell').count(), await page.getByRole('row').filter({ hasText: still[1].name }).getByRole('gridcell').count());
  await accessible(page, 'a row with room for its reason');
  await page.unrouteAll({ behavior: 'wait' });
});

test('labels: given to several at once, shown, looked for, and taken away', { timeout: 60_000 }, async () => {
  const [alpha, beta, gamma] = still;
  const labels = async () => Object.fromEntries((await api('/torrents')).torrents.map((one) => [one.name, one.label]));
  await page.goto(`${node.url}/#/torrents`);
  const choose = async (...all) => {
    for (const { name } of all) await page.getByRole('checkbox', { name: `Select ${name}` }).check();
    await page.getByRole('toolbar').getByRole('button', { name: 'Label' }).click();
  };
  await choose(alpha, beta);
  let dialog = page.getByRole('dialog', { name: 'Label of 2 torrents' });
  await dialog.getByRole('combobox').fill('  films ');
  await accessible(page, 'the label of torrents');
  await close(dialog, 'Save');
  const had = await labels();
  assert.deepEqual([had[alpha.name], had[beta.name], had[gamma.name]], ['films', 'films', null]);
  await page.getByRole('toolbar').getByRole('button', { name: 'Clear' }).click();
  const rows = page.getByRole('grid').getByRole('row');
  await rows.filter({ hasText: alpha.name }).getByText('films').waitFor();
  const filter = page.getByRole('combobox', { name: 'Label' });
  await filter.selectOption('films (2)');
  await until('only those', async () => (await rows.filter({ hasText: '.bin' }).count()) === 2);
  await filter.selectOption('No label');
  await rows.filter({ hasText: gamma.name }).waitFor();
  assert.equal(await rows.filter({ hasText: alpha.name }).count(), 0);
  await filter.selectOption('All labels');
  await accessible(page, 'the list with labels');
  // Where they differ, nothing is changed unasked.
  await choose(alpha, gamma);
  dialog = page.getByRole('dialog', { name: 'Label of 2 torrents' });
  const field = dialog.getByRole('combobox');
  const none = dialog.getByRole('button', { name: 'No label for any of them' });
  const shown = async () => [await field.inputValue(), await field.getAttribute('placeholder'), await none.getAttribute('aria-pressed')];
  assert.deepEqual(await shown(), ['', 'They differ', 'false']);
  await field.pressSequentially('x');
  await field.press('Backspace');
  assert.deepEqual(await shown(), ['', 'They differ', 'false'], 'typed and taken back');
  await close(dialog, 'Save');
  assert.deepEqual(await labels(), had);
  await page.getByRole('toolbar').getByRole('button', { name: 'Label' }).click();
  await none.press('Enter');
  assert.deepEqual(await shown(), ['', 'No label', 'true']);
  assert.ok(await none.evaluate((button) => button === document.activeElement), 'the focus is where it was');
  await none.press('Enter');
  assert.deepEqual(await shown(), ['', 'They differ', 'false']);
  await none.press('Enter');
  await accessible(page, 'labels that are taken away');
  await close(dialog, 'Save');
  assert.equal((await labels())[alpha.name], null);
  // Forty are counted as the node counts, which is not by halves of a character.
  const emoji = '🎬'.repeat(40);
  await page.getByRole('toolbar').getByRole('button', { name: 'Label' }).click();
  await dialog.getByRole('combobox').pressSequentially(emoji);
  await close(dialog, 'Save');
  assert.equal((await labels())[alpha.name], emoji);
  // Where they are the same, empty takes it away.
  await page.getByRole('toolbar').getByRole('button', { name: 'Label' }).click();
  await dialog.getByRole('combobox').fill('');
  await close(dialog, 'Save');
  assert.equal((await labels())[alpha.name], null);
  // A refusal is said where one looks.
  await page.getByRole('toolbar').getByRole('button', { name: 'Label' }).click();
  dialog = page.getByRole('dialog', { name: 'Label of 2 torrents' });
  await page.route('**/api/v1/torrents/label', (route) => route.fulfill({ status: 400, json: { code: 'bad_request', error: 'there are 100 labels already, which is the most', what_to_do: 'give another value: nothing was changed', advice: 'other_value' } }));
  await dialog.getByRole('combobox').fill('one more');
  await dialog.getByRole('button', { name: 'Save' }).click();
  await dialog.getByText('There are 100 labels already').waitFor();
  await page.unrouteAll({ behavior: 'wait' });
});

/** What was dropped on the page or pasted into it: files as base64 by their names, or a text. */
const give = (kind, files, text = '') => page.evaluate(([kind, files, text]) => {
  const data = new DataTransfer();
  for (const [name, base64] of Object.entries(files)) data.items.add(new File([Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0))], name));
  if (text) data.setData('text/plain', text);
  const event = kind === 'paste' ? new ClipboardEvent(kind, { clipboardData: data, bubbles: true, cancelable: true }) : new DragEvent(kind, { dataTransfer: data, bubbles: true, cancelable: true });
  document.querySelector('main').dispatchEvent(event);
}, [kind, files, text]);

test('a dropped file, a pasted link, a pasted file and an address of a file each end in the list', { timeout: 60_000 }, async () => {
  const all = [];
  for (const name of ['dropped.bin', 'pasted.bin', 'linked.bin', 'named.bin']) all.push(await world.payload(name, 1 << 16));
  const [dropped, pasted, linked, named] = all;
  const server = createServer(async (_, answer) => answer.end(Buffer.from(await world.torrentBase64(named), 'base64'))).listen(0, '127.0.0.1');
  await new Promise((ready) => server.once('listening', ready));
  const file = async (one) => ({ [`${one.name}.torrent`]: await world.torrentBase64(one) });
  const over = page.getByText('Drop to add', { exact: true });
  await give('dragover', await file(dropped));
  await over.waitFor();
  try {
    const ways = [
      [dropped, async () => give('drop', await file(dropped))],
      [pasted, async () => give('paste', await file(pasted))],
      [linked, () => give('paste', {}, magnet(linked))],
      [named, () => give('drop', {}, `http://127.0.0.1:${server.address().port}/any.torrent`)],
    ];
    for (const [one, come] of ways) {
      await come();
      const dialog = page.getByRole('dialog', { name: one.name });
      await dialog.getByRole('button', { name: 'Free peers only' }).click();
      await dialog.waitFor({ state: 'detached' });
      assert.equal(await over.count(), 0);
      await until(one.name, () => isListed(one), 10_000);
    }
    await page.goto(`${node.url}/#/torrents`);
    for (const { name } of all) await page.getByRole('grid').getByRole('row').filter({ hasText: name }).waitFor();
  } finally {
    server.close();
  }
  await api('/torrents/actions', { action: 'remove', info_hashes: all.map((one) => one.info_hash) });
});

test('limits for all torrents are typed on the page, kept by the node, and held', { timeout: 60_000 }, async () => {
  const film = await world.payload('slow-film.bin', 3 << 20);
  const giver = await world.seeder('slow-giver', film, 0);
  const held = async () => {
    const { settings } = await api('/settings');
    return ['download', 'upload'].map((way) => settings.find((one) => one.key === `limits.${way}_bytes_per_s`).value);
  };
  await page.goto(`${node.url}/#/settings?section=limits`);
  for (const [label, kib] of [['Download at most', '768'], ['Upload at most', '256']]) {
    const field = page.getByRole('region', { name: 'Limits' }).getByLabel(label);
    await field.fill(kib);
    await field.press('Enter');
    await page.getByRole('status').getByText(`Saved: ${label}`).waitFor();
  }
  assert.deepEqual(await held(), [768 << 10, 256 << 10]);
  assert.match(await readFile(path.join(world.home('user'), 'config.toml'), 'utf8'), /download_bytes_per_s = 786432\nupload_bytes_per_s = 262144/);
  await api('/torrents', { source: { file: await world.torrentBase64(film) }, peers: [giver.listen], confirmed: true });
  const state = async () => (await api(`/torrents/${film.info_hash}`)).row;
  await until('its first bytes', async () => (await state()).have_bytes > 0);
  const begun = performance.now();
  await until('its end', async () => (await state()).state === 'seeding', 30_000);
  const took_s = (performance.now() - begun) / 1000;
  // 3 MiB at 768 KiB/s are 4 s, less what came before the first look and the burst.
  assert.ok(took_s > 2.5 && took_s < 20, `3 MiB took ${took_s} s`);
  await api('/torrents/actions', { action: 'remove', info_hashes: [film.info_hash] });
  await page.reload();
  for (const label of ['Download at most', 'Upload at most']) {
    const field = page.getByRole('region', { name: 'Limits' }).getByLabel(label);
    assert.match(await field.inputValue(), /^(768|256)$/);
    await field.fill('');
    await field.press('Enter');
  }
  await until('no limits', async () => String(await held()) === ',');
  await giver.part.stop();
});

test('what happens is told on the desktop to whoever asked for that and is not looking, and to nobody else', { timeout: 60_000 }, async () => {
  const song = await world.payload('song.bin', 1 << 16);
  const giver = await world.seeder('song-giver', song, 0);
  const watcher = async (mayTell, isHidden) => {
    const made = await context(browser);
    if (mayTell) await made.grantPermissions(['notifications'], { origin: node.url });
    await made.addCookies(await page.context().cookies());
    await made.addInitScript((isHidden) => {
      globalThis.told = [];
      globalThis.Notification = class extends Notification {
        constructor(title, options) {
          super(title, options);
          globalThis.told.push([title, options.body]);
        }
      };
      if (isHidden) Object.defineProperty(document, 'hidden', { get: () => true });
    }, isHidden);
    const other = await made.newPage();
    await other.goto(`${node.url}/#/torrents`);
    await other.getByRole('grid').waitFor();
    return { made, other, told: () => other.evaluate(() => globalThis.told) };
  };
  const [away, looking, silent] = [await watcher(true, true), await watcher(true, false), await watcher(false, true)];
  await api('/torrents', { source: { file: await world.torrentBase64(song) }, peers: [giver.listen], confirmed: true });
  for (const { other } of [away, looking, silent]) await other.getByRole('status').getByText('song.bin is complete.').waitFor();
  assert.deepEqual(await away.told(), [['Finished', 'song.bin is complete.']]);
  assert.deepEqual([await looking.told(), await silent.told()], [[], []]);
  // Who has not been asked is asked where notices are, and told from then on.
  assert.equal(await silent.other.evaluate(() => Notification.permission), 'default');
  await silent.made.grantPermissions(['notifications'], { origin: node.url });
  await silent.other.getByRole('button', { name: /^Notices/ }).click();
  const ask = silent.other.getByRole('button', { name: 'Tell me on the desktop too' });
  await ask.click();
  await ask.waitFor({ state: 'detached' });
  await api('/torrents/actions', { action: 'remove', info_hashes: [song.info_hash] });
  await api('/torrents', { source: { file: await world.torrentBase64(song) }, ask: true });
  await until('the question', async () => (await silent.told()).length > 0, 10_000);
  assert.deepEqual(await silent.told(), [['Waits for you', 'song.bin waits for your yes to what it may cost.']]);
  assert.deepEqual(await looking.told(), []);
  await api('/torrents/actions', { action: 'remove', info_hashes: [song.info_hash] });
  for (const { made } of [away, looking, silent]) {
    assert.deepEqual(made.problems, []);
    await made.close();
  }
  await giver.part.stop();
});

test('what warns is said at the edge of the page, in its words, and stays longer than what is well', { timeout: 60_000 }, async () => {
  await give('drop', {}, 'no link at all');
  const words = page.getByRole('status').locator('.toast.warn', { hasText: 'That is no magnet link, info hash or address.' });
  await words.getByRole('button', { name: 'Dismiss' }).click();
  await words.waitFor({ state: 'detached' });
  assert.equal(await page.getByRole('dialog').count(), 0);
  const made = await context(browser);
  await made.addCookies(await page.context().cookies());
  const other = await made.newPage();
  await other.clock.install();
  await other.goto(`${node.url}/#/settings?section=broker`);
  const field = other.getByLabel('Broker’s address');
  await field.fill('http://127.0.0.1:9');
  await field.press('Enter');
  const toasts = other.getByRole('status').locator('.toast');
  const saved = toasts.filter({ hasText: 'Saved: Broker’s address' });
  const warned = toasts.filter({ hasText: /“Broker’s address” is kept, but the broker at http:\/\/127\.0\.0\.1:9 does not answer/ });
  await warned.waitFor();
  assert.deepEqual([await saved.count(), await warned.evaluate((toast) => toast.classList.contains('warn'))], [1, true]);
  await accessible(other, 'a warning');
  await other.clock.runFor(4500);
  assert.deepEqual([await saved.count(), await warned.count()], [0, 1]);
  await other.clock.runFor(3000);
  assert.equal(await warned.count(), 0);
  await api('/settings', { 'broker.url': null }, 'PATCH');
  await made.close();
  // In another language the node's own words stand below.
  const korean = await context(browser, { language: 'ko-KR' });
  await korean.addCookies(await page.context().cookies());
  const there = await korean.newPage();
  await there.goto(`${node.url}/#/settings`);
  await there.getByLabel('브로커 주소').fill('http://127.0.0.1:9');
  await there.getByLabel('브로커 주소').press('Enter');
  const said = there.getByRole('status').locator('.toast', { hasText: '저장했지만 확인이 필요합니다.' });
  await said.locator('[lang=en]').getByText(/127\.0\.0\.1:9/).waitFor();
  await api('/settings', { 'broker.url': null }, 'PATCH');
  await korean.close();
});

test('coins that are about to expire are told by a notice and where the wallet is', { timeout: 90_000 }, async () => {
  const day_s = 86_400;
  const told = page.getByText(/units in coins expire on/);
  await page.goto(`${node.url}/#/wallet`);
  await page.getByRole('region', { name: 'What the wallet holds' }).waitFor();
  assert.equal(await told.count(), 0, 'a month before');
  await world.deposit((await api('/wallet')).account, 150_000);
  const { next_expiry: first } = await until('coins', async () => {
    const wallet = await api('/wallet');
    return wallet.next_expiry && wallet;
  });
  await node.part.stop();
  // Coins live for thirty days, and are redeemed three before their end.
  await world.travel(25 * day_s);
  node = await world.node('user', '--broker', world.brokerUrl);
  const made = await context(browser);
  const later = await made.newPage();
  await later.clock.setFixedTime(Date.now() + 25 * day_s * 1000);
  await later.goto(node.login_url);
  const date = new Intl.DateTimeFormat('en-GB', { dateStyle: 'medium', timeZone: 'UTC' }).format(first.day * day_s * 1000);
  const text = `${first.units.toLocaleString('en-GB')} units in coins expire on ${date}. They are redeemed by themselves before, while the node runs and the broker answers.`;
  await later.getByRole('main').getByText(text).waitFor();
  await later.getByRole('button', { name: /^Notices/ }).click();
  const notices = later.getByRole('region', { name: 'Notices' });
  await notices.getByText('Coins expire soon', { exact: true }).waitFor();
  await notices.getByText(text).waitFor();
  await accessible(later, 'coins that expire soon');
  await later.keyboard.press('Escape');
  await later.getByRole('main').locator('.banner', { hasText: text }).getByRole('link', { name: 'Redeem' }).click();
  await later.getByRole('dialog', { name: 'Redeem' }).waitFor();
  assert.deepEqual(made.problems, []);
  await made.close();
});

test('a DHT that is gone is said on the overview and by a notice', { timeout: 150_000 }, async () => {
  const nodes = world.parts.filter(({ args }) => args.includes('dht-node'));
  assert.ok(nodes.length >= 4);
  for (const one of nodes) one.child.kill('SIGKILL');
  // Looked for once a minute at the least.
  await page.getByRole('link', { name: /^Torrents/ }).getByText(/^No DHT node answers since .*: nothing is paid\. Check the network\.$/).waitFor({ timeout: 120_000 });
  await page.getByRole('button', { name: /^Notices/ }).click();
  await page.getByRole('region', { name: 'Notices' }).getByText('No DHT', { exact: true }).waitFor();
});

test('the page prints no error', () => {
  assert.deepEqual(page.context().problems, []);
});
