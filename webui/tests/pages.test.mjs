// The page as a person uses it: a real node, a real swarm on loopback, Debian's Chromium.
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import test, { after, before } from 'node:test';
import { accessible, context, fits, launch, shot, until } from './browser.mjs';
import { World } from './world.mjs';

const price = 16_384;
let world;
let browser;
let node;
let page;
let film;
let sample;
let seller;
const tab = (name) => page.getByRole('navigation', { name: 'Pages' }).getByRole('link', { name, exact: true });
const api = (path, data, method = 'POST') => page.evaluate(async ([path, data, method]) => {
  const answer = await fetch(`api/v1${path}`, data === undefined ? {} : { method, headers: { 'content-type': 'application/json' }, body: JSON.stringify(data) });
  if (!answer.ok) throw new Error(`${path}: ${answer.status} ${await answer.text()}`);
  return answer.json();
}, [path, data, method]);
const row = async (hash) => (await api('/torrents')).torrents.find((one) => one.info_hash === hash);
const number = (text) => Number(text.replaceAll(/[^\d]/g, ''));

before(async () => {
  world = await World.start();
  [sample, film] = [await world.payload('sample.bin', 4 << 20), await world.payload('film.bin', 24 << 20)];
  seller = await world.seeder('seller', sample, price);
  film.seeder = await world.seeder('film-seller', film, price);
  node = await world.node('user');
  browser = await launch();
  const made = await context(browser);
  page = await made.newPage();
}, { timeout: 180_000 });
after(async () => {
  await browser?.close();
  await world?.end();
});

test('first run: from nothing to a paid download and its receipt', { timeout: 300_000 }, async () => {
  await page.goto(node.login_url);
  await page.getByRole('heading', { name: 'Welcome to DPay' }).waitFor();
  await accessible(page, 'the welcome page');
  await shot(page, 'welcome');
  await page.getByRole('button', { name: /^Make a wallet/ }).click();

  await page.getByLabel('Broker’s address').fill('http://127.0.0.1:9');
  await page.getByRole('button', { name: 'Ask it' }).click();
  await page.getByRole('alert').filter({ hasText: /\S/ }).first().waitFor();
  await page.getByLabel('Broker’s address').fill(world.brokerUrl);
  await page.getByRole('button', { name: 'Ask it' }).click();
  await page.getByText('It answers').waitFor();
  await accessible(page, 'the broker step');
  await page.getByRole('button', { name: 'Next' }).click();

  await page.getByRole('button', { name: 'Make the wallet' }).click();
  const list = page.getByRole('list', { name: 'The words of the wallet' });
  await list.waitFor();
  const words = (await list.getByRole('listitem').allInnerTexts()).map((text) => text.replace(/[^a-z]/g, ''));
  assert.equal(words.length, 24);
  await accessible(page, 'the words');
  await page.getByRole('button', { name: 'I have written them down' }).click();
  const asked = page.getByRole('textbox', { name: /^Word \d+/ });
  await asked.first().fill('wrong');
  for (let i = 1; i < 3; i++) await asked.nth(i).fill('wrong');
  await page.getByRole('button', { name: 'Next' }).click();
  await page.getByText('Not all of these are right').waitFor();
  for (let i = 0; i < 3; i++) {
    const label = await asked.nth(i).evaluate((input) => input.labels[0].textContent);
    await asked.nth(i).fill(words[number(label) - 1]);
  }
  await page.getByRole('button', { name: 'Next' }).click();

  await page.getByRole('heading', { name: 'Where do downloads go?' }).waitFor({ timeout: 60_000 });
  await page.getByRole('button', { name: 'Next' }).click();
  await page.getByRole('heading', { name: 'What is it worth to you?' }).waitFor();
  await page.getByLabel('Highest price you pay').fill(String(price));
  await accessible(page, 'the price step');
  await page.getByRole('button', { name: 'Next' }).click();

  await page.getByRole('heading', { name: 'Your first download' }).waitFor();
  await world.deposit((await api('/wallet')).account, 500_000);
  await page.getByRole('button', { name: 'Buy' }).click();
  await page.getByLabel('How many units').fill('10000');
  await accessible(page, 'the buy dialog');
  await page.getByRole('dialog').getByRole('button', { name: 'Buy' }).click();
  await page.getByText(/Bought 10,000 units/).waitFor();

  await page.getByRole('button', { name: 'Add torrent' }).click();
  await page.getByLabel('Magnet links or addresses').fill(`magnet:?xt=urn:btih:${sample.info_hash}&dn=sample.bin&x.pe=${seller.listen}`);
  await page.getByRole('dialog').getByRole('button', { name: 'Next' }).click();
  const dialog = page.getByRole('dialog', { name: 'sample.bin' });
  await dialog.getByText('1 seller').waitFor({ timeout: 60_000 });
  await accessible(page, 'the estimate');
  await shot(page, 'estimate');
  await dialog.getByRole('button', { name: 'Download', exact: true }).click();

  await until('the sample', async () => (await row(sample.info_hash))?.state === 'seeding');
  const paid = (await row(sample.info_hash)).units_paid;
  assert.ok(paid > 0 && paid <= 68, `${paid} units for 4 MiB at ${price} units per GiB`);
  await tab('Wallet').click();
  await page.getByRole('region', { name: 'History' }).getByRole('link', { name: /Paid/ }).first().click();
  await page.getByRole('dialog', { name: 'Receipt' }).getByText('sample.bin').first().waitFor();
  await accessible(page, 'a receipt');
  await shot(page, 'receipt');
  await page.getByRole('dialog').getByRole('button', { name: 'Close' }).last().click();
});

test('the backup is shown and tried at once', { timeout: 60_000 }, async () => {
  await tab('Wallet').click();
  await page.getByRole('button', { name: 'Backup' }).click();
  await page.getByRole('button', { name: 'Show the words' }).click();
  const words = (await page.getByRole('list', { name: 'The words of the wallet' }).getByRole('listitem').allInnerTexts()).map((text) => text.replace(/[^a-z]/g, ''));
  await page.getByRole('button', { name: 'I have written them down' }).click();
  await page.getByLabel('The 24 words, in order').fill(words.join(' '));
  await page.getByRole('button', { name: 'Try them' }).click();
  await page.getByText('Your backup works.').waitFor();
  await accessible(page, 'the backup dialog');
  await page.getByRole('button', { name: 'Done' }).click();
});

test('a budget that is reached is told, and nothing is paid beyond it', { timeout: 180_000 }, async () => {
  await tab('Torrents').click();
  await page.getByRole('button', { name: 'Add torrent' }).click();
  await page.getByLabel('Magnet links or addresses').fill(`magnet:?xt=urn:btih:${film.info_hash}&dn=film.bin&x.pe=${film.seeder.listen}`);
  await page.getByRole('dialog').getByRole('button', { name: 'Next' }).click();
  const dialog = page.getByRole('dialog', { name: 'film.bin' });
  await dialog.getByLabel('Budget for this torrent').fill('64');
  await dialog.getByLabel('Budget for this torrent').blur();
  await until('the budget in the estimate', async () => (await api(`/torrents/${film.info_hash}/estimate`)).torrent_budget_left === 64);
  await dialog.getByRole('button', { name: 'Download', exact: true }).click();
  await page.getByText(/The budget .* is used up/).first().waitFor({ timeout: 90_000 });
  assert.ok((await row(film.info_hash)).units_paid <= 64);
  await page.getByRole('button', { name: /^Notices/ }).click();
  await page.getByRole('region', { name: 'Notices' }).getByText('Budget reached').waitFor();
  await accessible(page, 'the notices');
  await page.keyboard.press('Escape');
});

test('a restart in the middle: the page comes back and the download ends', { timeout: 240_000 }, async () => {
  await node.part.stop();
  await page.getByText('The connection to the node broke.').waitFor({ timeout: 30_000 });
  node = await world.node('user');
  await page.goto(node.login_url);
  await until('the film in the list', () => row(film.info_hash));
  await page.goto(`${node.url}/#/torrents/${film.info_hash}`);
  await page.getByRole('button', { name: 'Price and budget' }).last().click();
  await page.getByLabel('Budget for this torrent').fill('');
  await accessible(page, 'the terms dialog');
  await page.getByRole('button', { name: 'Save' }).click();
  await until('the film', async () => (await row(film.info_hash))?.state === 'seeding', 150_000);
});

test('what was earned is the same on the page, in the CSV and in the wallet', { timeout: 180_000 }, async () => {
  // The node alone has it now, and gives it to nobody for nothing.
  await seller.part.stop();
  await api(`/torrents/${sample.info_hash}/terms`, { free: 'off' }, 'PATCH');
  const listen = (await api('/node')).listen;
  const account = (await world.run('buyer', 'wallet', 'init', '--no-passphrase', '--broker', world.brokerUrl)).account;
  await world.deposit(account, 300_000);
  await world.run('buyer', 'download', sample.torrent, '-o', world.home('buyer-downloads'), '--yes', '--max-price', '65536', '--peer', listen);
  await until('the last tick', async () => (await api('/wallet')).total_earned > 0 && (await api('/wallet')).earning === 0);
  await tab('Earnings').click();
  const total = page.getByRole('row', { name: /^Total/ }).getByRole('cell').first();
  const { total_earned } = await api('/wallet');
  await until('the page to show it', async () => number(await total.innerText()) === total_earned);
  const [download] = await Promise.all([page.waitForEvent('download'), page.getByRole('link', { name: 'CSV' }).click()]);
  const [head, ...lines] = (await readFile(await download.path(), 'utf8')).trim().split(/\r?\n/).map((line) => line.split(',').map((cell) => cell.replaceAll('"', '')));
  const column = head.indexOf('units_earned');
  assert.ok(column >= 0, `columns of the CSV: ${head}`);
  const rows = lines.filter((cells) => /^\d{4}-/.test(cells[0]));
  assert.equal(rows.reduce((sum, cells) => sum + Number(cells[column]), 0), total_earned);
  await page.getByRole('table').getByRole('button').first().click();
  await page.getByRole('dialog').getByText(`${total_earned} units in all`).waitFor();
  await accessible(page, 'the receipts of a day');
  await page.getByRole('dialog').getByRole('button', { name: 'Close' }).click();
});

test('with the keyboard only: find, open, pause, resume, remove, add', { timeout: 90_000 }, async () => {
  await page.goto(`${node.url}/#/torrents`);
  const grid = page.getByRole('grid');
  await grid.waitFor();
  await page.keyboard.press('/');
  await page.keyboard.type('film');
  await until('one row', async () => (await grid.getByRole('row').count()) === 2);
  for (let i = 0; i < 20 && !(await grid.evaluate((element) => element === document.activeElement)); i++) await page.keyboard.press('Tab');
  await page.keyboard.press('ArrowDown');
  await page.keyboard.press('p');
  await until('pause', async () => (await row(film.info_hash)).state === 'paused');
  await page.keyboard.press('p');
  await until('resume', async () => (await row(film.info_hash)).state === 'seeding');
  await page.keyboard.press('Enter');
  await page.getByRole('tablist').waitFor();
  assert.match(page.url(), new RegExp(film.info_hash));
  await page.keyboard.press('Delete');
  const dialog = page.getByRole('dialog', { name: /^Remove/ });
  await dialog.waitFor();
  await page.keyboard.press('Escape');
  await dialog.waitFor({ state: 'detached' });
  assert.ok(await row(film.info_hash));
  await page.locator('main').focus();
  await page.keyboard.press('n');
  await page.getByRole('dialog', { name: 'Add torrents' }).waitFor();
  await page.keyboard.press('Escape');
});

test('dropped files and pasted magnets open the dialog', { timeout: 60_000 }, async () => {
  await page.goto(`${node.url}/#/home`);
  await page.getByRole('heading', { name: 'Overview' }).waitFor();
  await page.evaluate((magnet) => {
    const data = new DataTransfer();
    data.setData('text/plain', magnet);
    document.body.dispatchEvent(new ClipboardEvent('paste', { clipboardData: data, bubbles: true }));
  }, `magnet:?xt=urn:btih:${sample.info_hash}`);
  await page.getByText('is in the list already').first().waitFor();
  await page.evaluate(() => {
    const data = new DataTransfer();
    data.items.add(new File(['not a torrent'], 'broken.torrent'));
    document.body.dispatchEvent(new DragEvent('drop', { dataTransfer: data, bubbles: true, cancelable: true }));
  });
  await page.getByRole('dialog').getByRole('alert').filter({ hasText: /\S/ }).waitFor();
  await page.getByRole('dialog').getByRole('button', { name: 'Close' }).last().click();
});

const pages = {
  home: '#/home', torrents: '#/torrents', wallet: '#/wallet', earnings: '#/earnings', spending: '#/earnings?kind=spending&by=torrent&all=1', settings: '#/settings', logs: '#/logs',
};
const details = ['overview', 'files', 'peers', 'channels', 'log', 'trackers'];
for (const [mode, look] of Object.entries({
  'desktop-light': {}, 'desktop-dark': { dark: true }, 'phone-light': { width: 360, height: 740 }, 'phone-dark-ko': { width: 360, height: 740, dark: true, language: 'ko-KR' },
})) {
  test(`every page, ${mode}: fits, breaks no rule of axe-core, prints no error`, { timeout: 180_000 }, async () => {
    const made = await context(browser, look);
    await made.addCookies(await page.context().cookies());
    const other = await made.newPage();
    const all = { ...pages, ...Object.fromEntries(details.map((name) => [`torrent-${name}`, `#/torrents/${film.info_hash}?tab=${name}`])) };
    for (const [name, hash] of Object.entries(all)) {
      await other.goto(`${node.url}/${hash}`);
      await other.locator('main h1').first().waitFor({ state: 'attached' });
      await until('nothing loading', async () => (await other.getByText(/^(Loading…|불러오는 중…)$/).count()) === 0);
      await fits(other, `${name} (${mode})`);
      await accessible(other, `${name} (${mode})`);
      if (mode !== 'phone-dark-ko' || name === 'home') await shot(other, `${name}-${mode}`);
    }
    assert.deepEqual(made.problems, []);
    await made.close();
  });
}

test('the page prints no error and asks nobody but the node', () => {
  assert.deepEqual(page.context().problems, []);
});
