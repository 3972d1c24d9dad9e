// The page as a person uses it: a real node, a real swarm on loopback, Debian's Chromium.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { cp, mkdir, open, readFile, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import path from 'node:path';
import test, { after, before } from 'node:test';
import { accessible, context, fits, launch, loaded, until } from './browser.mjs';
import { asker } from './showcase.mjs';
import { World } from './world.mjs';

const price = 16_384;
let world;
let browser;
let node;
let page;
let film;
let sample;
/** As large and as dear as the film; nobody but the node has it. */
let play;
let seller;
const tab = (name) => page.getByRole('navigation', { name: 'Pages' }).getByRole('link', { name, exact: true });
const api = (...request) => asker(page)(...request);
const row = async (hash) => (await api('/torrents')).torrents.find((one) => one.info_hash === hash);
/** The 24 words, once they are on the page. */
async function shownWords(on = page) {
  const items = on.getByRole('list', { name: 'The words of the wallet' }).getByRole('listitem');
  await items.nth(23).waitFor();
  return (await items.allInnerTexts()).map((text) => text.replace(/[^a-z]/g, ''));
}
const number = (text) => Number(text.replaceAll(/[^\d]/g, ''));

before(async () => {
  world = await World.start();
  [sample, film, play] = [await world.payload('sample.bin', 4 << 20), await world.payload('film.bin', 24 << 20), await world.payload('play-of-the-year.bin', 24 << 20)];
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
  const words = await shownWords();
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
  await dialog.getByRole('button', { name: 'Download', exact: true }).click();

  await until('the sample', async () => (await row(sample.info_hash))?.state === 'seeding');
  // The last pieces are paid once they are verified and the payment is accepted.
  await until('its payment', async () => (await row(sample.info_hash)).units_paid > 0);
  const paid = (await row(sample.info_hash)).units_paid;
  assert.ok(paid > 0 && paid <= 68, `${paid} units for 4 MiB at ${price} units per GiB`);
  await tab('Wallet').click();
  // One purchase is one line, which opens to its coins.
  const history = page.getByRole('region', { name: 'History' });
  const bought = history.getByRole('link', { name: /^Bought \d+ coins.*10,000 units/ });
  const coins = number((await bought.innerText()).match(/\d+ coins/)[0]);
  assert.ok(coins > 5, `${coins} coins`);
  await bought.click();
  const rows = page.getByRole('dialog', { name: 'Receipt' }).getByRole('row', { name: /Bought/ });
  await rows.first().waitFor();
  assert.equal(await rows.count(), coins);
  await accessible(page, 'the receipt of a purchase');
  await page.getByRole('dialog').getByRole('button', { name: 'Close' }).last().click();
  await history.getByRole('link', { name: /Paid/ }).first().click();
  await page.getByRole('dialog', { name: 'Receipt' }).getByText('sample.bin').first().waitFor();
  await accessible(page, 'a receipt');
  await page.getByRole('dialog').getByRole('button', { name: 'Close' }).last().click();
});

test('nothing read: from an empty home to a paid sample and its receipt within two minutes', { timeout: 180_000 }, async () => {
  const fresh = await world.node('newcomer');
  const begun = performance.now();
  const made = await context(browser);
  const visitor = await made.newPage();
  await visitor.goto(fresh.login_url);
  await visitor.getByRole('button', { name: /^Try it first/ }).click();
  const playing = visitor.getByRole('region', { name: 'You are playing' });
  await playing.waitFor({ timeout: 90_000 });
  await accessible(visitor, 'the play world');
  await playing.getByRole('button', { name: 'Download' }).first().click();
  await visitor.getByRole('dialog').getByText('3 sellers').waitFor();
  await visitor.getByRole('dialog').getByRole('button', { name: 'Download', exact: true }).click();
  await visitor.getByRole('status').getByText(/is complete/).waitFor({ timeout: 60_000 });
  await visitor.getByRole('link', { name: 'Overview', exact: true }).click();
  await playing.getByRole('link', { name: /units paid: the receipts/ }).click();
  await visitor.getByRole('dialog').getByRole('link', { name: /^Paid/ }).first().click();
  await visitor.getByRole('dialog', { name: 'Receipt' }).getByText('lighthouse-log.txt').first().waitFor();
  const took_s = (performance.now() - begun) / 1000;
  console.log(`from an empty home to a receipt: ${took_s.toFixed(1)} s`);
  assert.ok(took_s < 120);
  const balance = await world.run('newcomer', 'wallet', 'balance');
  assert.ok(balance.books.paid > 0 && balance.books_agree, 'the commands ask the play wallet as well');
  // Nobody leaves by one click, and what goes is said before.
  await visitor.goto(`${fresh.url}/#/wallet?do=backup`);
  await visitor.getByRole('heading', { name: 'Wallet', exact: true }).waitFor();
  assert.equal(await visitor.getByRole('button', { name: 'Back up' }).count() + await visitor.getByRole('dialog').count(), 0, 'a play wallet has no words to keep');
  await visitor.getByRole('link', { name: 'Overview', exact: true }).click();
  const leave = visitor.getByRole('button', { name: 'Leave the play world' });
  const sure = visitor.getByRole('dialog', { name: 'Leave the play world?' });
  await leave.click();
  await sure.getByText('1 download of the play world, their files and the play money go.').waitFor();
  await accessible(visitor, 'leaving the play world');
  await sure.getByRole('button', { name: 'Cancel' }).click();
  await sure.waitFor({ state: 'detached' });
  await playing.waitFor();
  await leave.click();
  await sure.getByRole('button', { name: 'Leave the play world' }).click();
  await playing.waitFor({ state: 'detached', timeout: 60_000 });
  assert.deepEqual(made.problems, []);
  await made.close();
  await fresh.part.stop();
});

test('with the keyboard only: from the welcome guide to a paid sample and its receipt', { timeout: 180_000 }, async () => {
  const fresh = await world.node('typist');
  const made = await context(browser);
  await made.addInitScript(() => {
    globalThis.pointed = 0;
    for (const type of ['pointerdown', 'click']) addEventListener(type, (event) => (globalThis.pointed += event.pointerType === 'mouse' ? 1 : 0), true);
  });
  const typist = await made.newPage();
  await typist.goto(fresh.login_url);
  /** Goes on with the tabulator to what is meant, which shows that it has the focus, and presses a key there. */
  const at = async (what, key = 'Enter') => {
    await what.waitFor({ timeout: 90_000 });
    const has = () => what.evaluate((element) => element === document.activeElement);
    for (let steps = 0; !(await has()); steps += 1) {
      assert.ok(steps < 80, `${what} is not come to by the tabulator`);
      await typist.keyboard.press('Tab');
    }
    // In the list the row that keys act on shows it.
    assert.ok(await what.evaluate((element) => element.matches(':focus-visible') && [element, ...element.querySelectorAll('.active')].some((one) => getComputedStyle(one).outlineStyle !== 'none')), `${what} does not show its focus`);
    await typist.keyboard.press(key);
  };
  await at(typist.getByRole('button', { name: /^Try it first/ }));
  const playing = typist.getByRole('region', { name: 'You are playing' });
  await at(playing.getByRole('button', { name: 'Download' }).first(), 'Space');
  const dialog = typist.getByRole('dialog');
  await dialog.getByText('3 sellers').waitFor();
  await at(dialog.getByRole('button', { name: 'Download', exact: true }));
  await typist.getByRole('status').getByText(/is complete/).waitFor({ timeout: 60_000 });
  await at(typist.getByRole('link', { name: 'Overview', exact: true }));
  await at(playing.getByRole('link', { name: /units paid: the receipts/ }));
  await at(typist.getByRole('dialog').getByRole('link', { name: /^Paid/ }).first());
  const receipt = typist.getByRole('dialog', { name: 'Receipt' });
  await receipt.getByText('lighthouse-log.txt').first().waitFor();
  await at(receipt.getByRole('button', { name: 'Close' }).last());
  await receipt.waitFor({ state: 'detached' });
  await at(dialog.getByRole('button', { name: 'Close' }));
  await dialog.waitFor({ state: 'detached' });
  // Tabs are gone through by the arrows.
  await at(typist.getByRole('link', { name: 'Torrents', exact: true }));
  await at(typist.getByRole('grid'), 'Home');
  await typist.keyboard.press('Enter');
  const tab = (name) => typist.getByRole('tab', { name });
  await at(tab('Overview'), 'ArrowRight');
  await typist.getByRole('tabpanel').getByText('lighthouse-log.txt').waitFor();
  await until('the focus', () => tab('Files').evaluate((element) => element === document.activeElement && element.getAttribute('aria-selected') === 'true'));
  assert.equal(await typist.evaluate(() => globalThis.pointed), 0);
  assert.deepEqual(made.problems, []);
  await made.close();
  await fresh.part.stop();
});

test('the backup is shown and tried at once', { timeout: 60_000 }, async () => {
  await tab('Wallet').click();
  await page.getByRole('button', { name: 'Backup' }).click();
  await page.getByRole('button', { name: 'Show the words' }).click();
  const words = await shownWords();
  await page.getByRole('button', { name: 'I have written them down' }).click();
  await page.getByLabel('The 24 words, in order').fill(words.join(' '));
  await page.getByRole('button', { name: 'Try them' }).click();
  await page.getByText('Your backup works.').waitFor();
  await accessible(page, 'the backup dialog');
  await page.getByRole('button', { name: 'Done' }).click();
});

test('the wallet is saved as a file, and the first run restores it from that, as of when it was saved', { timeout: 120_000 }, async () => {
  await page.goto(`${node.url}/#/wallet?do=backup`);
  const coming = page.waitForEvent('download');
  await page.getByRole('button', { name: 'Save a file' }).click();
  const saved = await coming;
  assert.match(saved.suggestedFilename(), /^dpay-[0-9a-f]{8}-\d{4}-\d\d-\d\d\.dpay-backup$/);
  const backup = await readFile(await saved.path());
  assert.equal(backup.subarray(0, 8).toString(), 'DPayBack');
  await page.getByText('whoever has the file has the money').waitFor();
  await accessible(page, 'a backup file that was saved');
  await page.getByRole('button', { name: 'Done' }).click();
  const { account } = await api('/wallet');

  const fresh = await world.node('restored-from-file');
  const made = await context(browser);
  const visitor = await made.newPage();
  await visitor.goto(fresh.login_url);
  await visitor.getByRole('button', { name: /^Restore a wallet/ }).click();
  await visitor.getByRole('button', { name: 'Later' }).click();
  await visitor.getByRole('button', { name: 'Backup file' }).click();
  const restore = visitor.getByRole('button', { name: 'Restore', exact: true });
  assert.ok(await restore.isDisabled());
  await visitor.getByLabel('Backup file').setInputFiles({ name: 'letter', mimeType: 'text/plain', buffer: Buffer.from('a letter') });
  await restore.click();
  await visitor.getByRole('alert').getByText(/is no backup of a wallet/).waitFor();
  assert.equal((await asker(visitor)('/node')).stage, 'setup');
  await accessible(visitor, 'a file that is no backup');
  await visitor.getByLabel('Backup file').setInputFiles({ name: 'wallet.dpay-backup', mimeType: 'application/octet-stream', buffer: backup });
  await restore.click();
  await visitor.getByRole('heading', { name: /^The wallet is back as of/ }).waitFor({ timeout: 60_000 });
  await visitor.getByText('The broker is asked for what happened since.').waitFor();
  await accessible(visitor, 'a wallet that was restored from a file');
  await until('the node', async () => (await asker(visitor)('/node')).stage === 'running');
  assert.equal((await asker(visitor)('/wallet')).account, account);
  assert.deepEqual(made.problems, []);
  await made.close();
  await fresh.part.stop();
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
  await page.getByText(/^(The budget of )?film\.bin\b.*64 units\b/).first().waitFor({ timeout: 90_000 });
  assert.ok((await row(film.info_hash)).units_paid <= 64);
  await page.getByRole('button', { name: /^Notices/ }).click();
  await page.getByRole('region', { name: 'Notices' }).getByText(/^Budget (nearly )?reached$/).first().waitFor();
  await accessible(page, 'the notices');
  await page.keyboard.press('Escape');
});

test('a file that is unticked before the yes is neither fetched nor paid for', { timeout: 180_000 }, async () => {
  const data = path.join(world.dir, 'pairs');
  await mkdir(path.join(data, 'pair'), { recursive: true });
  for (const name of ['one.bin', 'second.bin']) await writeFile(path.join(data, 'pair', name), randomBytes(4 << 20));
  const torrent = path.join(world.dir, 'pair.torrent');
  const { info_hash } = await world.run('maker', 'create', path.join(data, 'pair'), '-o', torrent, '--piece-kib', '64');
  const { listen } = await world.seeder('pair-seller', { data, torrent }, price);
  const before = (await api('/wallet')).total_paid;
  await tab('Torrents').click();
  await page.getByRole('button', { name: 'Add torrent' }).click();
  await page.getByLabel('Magnet links or addresses').fill(`magnet:?xt=urn:btih:${info_hash}&dn=pair&x.pe=${listen}`);
  await page.getByRole('dialog').getByRole('button', { name: 'Next' }).click();
  const dialog = page.getByRole('dialog', { name: 'pair' });
  await dialog.getByText('1 seller').waitFor({ timeout: 60_000 });
  await dialog.getByRole('checkbox', { name: /second\.bin/ }).uncheck();
  await dialog.getByRole('button', { name: 'Download', exact: true }).click();
  await until('one of two files', async () => (await row(info_hash))?.state === 'seeding');
  const files = await api(`/torrents/${info_hash}/files`);
  assert.deepEqual(files.map((file) => [file.wanted, file.have_bytes >> 20]), [[true, 4], [false, 0]]);
  const paid = (await api('/wallet')).total_paid - before;
  assert.ok(paid > 0 && paid <= 68, `${paid} units for one of two files`);
});

test('a restart in the middle: the page comes back and the download ends', { timeout: 240_000 }, async () => {
  await node.part.stop();
  await page.getByText('The connection to the node broke.').waitFor({ timeout: 30_000 });
  node = await world.node('user');
  // Nobody has to sign in anew.
  await page.goto(node.url);
  await page.getByRole('heading', { name: 'Overview' }).waitFor();
  await until('the film and its seller', async () => (await row(film.info_hash))?.sellers === 1);
  await page.goto(`${node.url}/#/torrents/${film.info_hash}`);
  await page.getByRole('button', { name: 'Price, budget and speed' }).last().click();
  await page.getByLabel('Budget for this torrent').fill('');
  await accessible(page, 'the terms dialog');
  await page.getByRole('button', { name: 'Save' }).click();
  await until('the film', async () => (await row(film.info_hash))?.state === 'seeding', 150_000);
});

test('what was earned is the same on the page, in the CSV, in the wallet and in the broker’s books', { timeout: 180_000 }, async () => {
  // The node alone has it now, and gives it to nobody for nothing.
  await seller.part.stop();
  await api(`/torrents/${sample.info_hash}/terms`, { free: 'off' }, 'PATCH');
  const listen = (await api('/node')).listen;
  await world.wallet('buyer', 300_000);
  await world.download('buyer', sample.torrent, listen);
  await until('the last tick', async () => (await api('/wallet')).total_earned > 0 && (await api('/wallet')).earning === 0);
  await tab('Earnings and spending').click();
  const total = page.getByRole('row', { name: /^Total/ }).getByRole('cell').first();
  const { total_earned } = await api('/wallet');
  await until('the page to show it', async () => number(await total.innerText()) === total_earned);
  // Each sum opens to its receipts.
  const sums = page.getByRole('region', { name: 'Sums' });
  const totalRow = page.getByRole('row', { name: /^Total/ });
  const opens = async (what, line) => {
    await what.click();
    const dialog = page.getByRole('dialog', { name: 'Sums' });
    await dialog.getByRole('link', { name: line }).first().waitFor();
    await dialog.getByRole('button', { name: 'Close' }).click();
    await dialog.waitFor({ state: 'detached' });
  };
  for (const name of ['Earned', 'Still held']) await opens(sums.getByRole('button', { name, exact: true }), /^Earned/);
  await opens(totalRow.getByRole('button', { name: 'Total' }), /^Earned/);
  await page.getByRole('button', { name: 'Spending', exact: true }).click();
  await opens(sums.getByRole('button', { name: 'Paid', exact: true }), /^Paid/);
  await opens(totalRow.getByRole('button', { name: 'Total' }), /^Paid/);
  await page.getByRole('button', { name: 'Earnings', exact: true }).click();
  await until('the earnings', async () => number(await total.innerText()) === total_earned);
  const [download] = await Promise.all([page.waitForEvent('download'), page.getByRole('link', { name: 'CSV' }).click()]);
  const [head, ...lines] = (await readFile(await download.path(), 'utf8')).trim().split(/\r?\n/).map((line) => line.split(',').map((cell) => cell.replaceAll('"', '')));
  const column = head.indexOf('units_earned');
  assert.ok(column >= 0, `columns of the CSV: ${head}`);
  const rows = lines.filter((cells) => /^\d{4}-/.test(cells[0]));
  assert.equal(rows.reduce((sum, cells) => sum + Number(cells[column]), 0), total_earned);
  // The broker's books: what it credits for the shares is what was earned.
  const before = (await api('/wallet')).broker_balance;
  await page.goto(`${node.url}/#/wallet?do=redeem`);
  await page.getByRole('dialog').getByRole('button', { name: 'Redeem' }).click();
  await page.getByText(/^Redeemed [\d,]+ units/).first().waitFor();
  await page.getByRole('dialog').getByRole('button', { name: 'Close' }).last().click();
  const { units, redeemed, spent_again, held, withheld } = (await api('/reports/earnings?by=day')).total;
  assert.equal(redeemed, total_earned);
  assert.equal(redeemed + spent_again + held + withheld, units);
  const credited = (await api('/wallet/history?limit=50')).lines.filter((line) => line.kind === 'redeemed').reduce((sum, line) => sum + line.units, 0);
  await until('the credit', async () => (await api('/wallet')).broker_balance === before + credited);
  assert.ok(credited >= total_earned, `${credited} units credited, ${total_earned} earned`);
  assert.equal((await world.run('broker', 'broker', 'audit')).balanced, true);
  await tab('Earnings and spending').click();
  await page.getByRole('table').getByRole('button').first().click();
  // Under what was earned stands what came of it.
  const receipts = page.getByRole('dialog');
  await receipts.getByText(`${total_earned} units in all`).first().waitFor();
  await receipts.getByRole('heading', { name: 'Earnings redeemed' }).waitFor();
  await receipts.getByRole('link', { name: /^Redeemed/ }).first().waitFor();
  await accessible(page, 'the receipts of a day');
  await page.getByRole('dialog').getByRole('button', { name: 'Close' }).click();
  await page.getByRole('region', { name: 'Sums' }).getByRole('button', { name: 'Earnings redeemed' }).click();
  await page.getByRole('dialog', { name: 'Sums' }).getByRole('link', { name: /^Redeemed/ }).first().waitFor();
  await page.getByRole('dialog').getByRole('button', { name: 'Close' }).click();
  await page.getByText('without change and coins, which the wallet counts too').waitFor();
  await api('/settings', { 'rules.low_balance': 1_000_000 }, 'PATCH');
  await tab('Wallet').click();
  // The wallet's sum, with the change, has a name of its own.
  const totals = page.getByRole('region', { name: 'Since the wallet began' });
  assert.match(await totals.innerText(), new RegExp(`Redeemed in all\\s+${credited.toLocaleString("en")}`, "i"));
  await page.reload();
  await page.getByRole('main').getByText(/units are left to pay with/).waitFor();
  await api('/settings', { 'rules.low_balance': null }, 'PATCH');
});

test('what is printed is light, its charts too, whatever is chosen for the screen', { timeout: 60_000 }, async () => {
  await page.goto(`${node.url}/#/earnings`);
  const theme = (name) => page.getByRole('group', { name: 'Light or dark' }).getByRole('button', { name }).click();
  const has = (colour) => page.locator('.plot canvas').evaluate((canvas, wanted) => {
    const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
    for (let at = 0; at < data.length; at += 4) if (wanted.every((part, i) => data[at + i] === part)) return true;
    return false;
  }, colour);
  const [light, dark] = [[11, 110, 102], [86, 205, 189]];
  const drawn = (what, is, isNot) => until(what, async () => (await has(is)) && !(await has(isNot)), 15_000);
  const colours = () => page.evaluate(() => [['body', 'backgroundColor'], ['h1', 'color'], ['.card', 'backgroundColor']].map(([name, of]) => getComputedStyle(document.querySelector(name))[of]));
  await theme('Dark');
  await drawn('a dark chart', dark, light);
  await page.emulateMedia({ media: 'print' });
  await drawn('a light chart', light, dark);
  assert.deepEqual((await colours()).slice(1), ['rgb(24, 33, 29)', 'rgb(255, 255, 255)']);
  assert.equal((await colours())[0], 'rgb(255, 255, 255)');
  await page.emulateMedia({ media: null });
  await drawn('a dark chart again', dark, light);
  // A printer does not wait: what is drawn once the page knows is what is printed.
  await page.evaluate(() => dispatchEvent(new Event('beforeprint')));
  assert.ok(await has(light), 'light before it is printed');
  await page.evaluate(() => dispatchEvent(new Event('afterprint')));
  await drawn('a dark chart afterwards', dark, light);
  await theme('As the system');
});

test('a coin that is spent twice is caught, told and not taken', { timeout: 180_000 }, async () => {
  const { listen } = await api('/node');
  await api('/torrents', { source: { file: await world.torrentBase64(play) }, folder: play.data, confirmed: true, terms: { price, free: 'off' } });
  await until('the play', async () => (await row(play.info_hash))?.state === 'seeding');
  // Two copies of a wallet that has one coin and nothing to buy another from (the rest is the bond). The second
  // spends it before it can know that the first did.
  const clip = await world.payload('clip.bin', 2 << 20);
  const other = await world.seeder('clip-seller', clip, price);
  await world.wallet('cheat', 100_064);
  await world.run('cheat', 'wallet', 'buy', '64', '--broker', world.brokerUrl);
  await cp(world.home('cheat'), world.home('copy'), { recursive: true });
  const copy = await world.node('copy', '--broker', world.brokerUrl);
  await until('the copy', async () => (await world.ask('copy', copy.url, '/wallet')).available === 64);
  const before = (await api('/wallet')).total_earned;
  await world.ask('copy', copy.url, '/settings', { 'spending.max_price': 65_536 }, 'PATCH');
  const cheat = world.startDownload('cheat', clip.torrent, other.listen);
  await cheat.event('accepted');
  await world.ask('copy', copy.url, '/torrents', { source: { file: await world.torrentBase64(play) }, peers: [listen], confirmed: true });
  await page.getByText(/was spent twice/).first().waitFor({ timeout: 90_000 });
  await page.getByRole('button', { name: /^Notices/ }).click();
  await page.getByRole('region', { name: 'Notices' }).getByText('Double spend caught').first().waitFor();
  await page.keyboard.press('Escape');
  assert.equal((await api('/wallet')).total_earned, before, 'nothing is earned by a coin that was spent before');
  await Promise.all([copy.part.stop(), cheat.ended]);
});

test('a torrent has limits on its speed: set in the dialog, and held', { timeout: 120_000 }, async () => {
  await page.goto(`${node.url}/#/torrents/${play.info_hash}`);
  await page.getByRole('button', { name: 'Price, budget and speed' }).last().click();
  await page.getByLabel('Upload at most').fill('6144');
  await page.getByRole('button', { name: 'Save' }).click();
  await page.getByText('Saved for 1 torrent').waitFor();
  const { terms } = await api(`/torrents/${play.info_hash}`);
  assert.deepEqual([terms.upload_bytes_per_s, terms.download_bytes_per_s ?? null], [6 << 20, null]);
  await page.getByText('∞ down, 6.00 MiB/s up').waitFor();
  await world.wallet('slow-buyer', 300_000);
  const bought = world.download('slow-buyer', play.torrent, (await api('/node')).listen);
  // What went out rises before one's eyes, not when the details are asked for again (every 5 s).
  const traffic = page.locator('dt', { hasText: 'Traffic' }).locator('xpath=following-sibling::dd[1]');
  const seen = [];
  let done;
  bought.then((all) => (done = all), () => (done = {}));
  await until('the end of the download', async () => {
    const text = (await traffic.innerText()).split('↑')[1];
    if (text !== seen.at(-1)?.text) seen.push({ text, at: Date.now() });
    return done;
  });
  // The first of them is what stood there before.
  const changes = seen.slice(1);
  const seconds = ((changes.at(-1)?.at ?? 0) - (changes[0]?.at ?? 0)) / 1000;
  assert.ok(changes.length > seconds / 5 + 1.5, `the details showed ${seen.map(({ text }) => text)}: ${changes.length} changes in ${seconds} s`);
  await bought;
  // 24 MiB at 6 MiB/s, less the burst.
  assert.ok(done.wall_seconds >= 3.5 && done.wall_seconds < 30, `24 MiB took ${done.wall_seconds} s`);
  await api(`/torrents/${play.info_hash}/terms`, { upload_bytes_per_s: 0 }, 'PATCH');
});

test('a disk that is full is told where one looks, and the download goes on once there is room', { timeout: 180_000 }, async () => {
  const gift = await world.payload('gift.bin', 4 << 20);
  const giver = await world.seeder('giver', gift, 0);
  await world.wallet('cramped', 64);
  const cramped = await world.nodeOnSmallDisk('cramped', 6, '--broker', world.brokerUrl);
  const made = await context(browser);
  const visitor = await made.newPage();
  await visitor.goto(cramped.login_url);
  await visitor.getByText('1.00 MiB free on disk').waitFor();
  await visitor.getByRole('button', { name: 'Put the guide away' }).click();
  await visitor.getByRole('link', { name: 'Torrents', exact: true }).click();
  await world.ask('cramped', cramped.url, '/torrents', { source: { file: await world.torrentBase64(gift) }, peers: [giver.listen], confirmed: true });
  const line = visitor.getByRole('row').filter({ hasText: 'gift.bin' });
  const told = line.getByText('disk full: make room, then resume');
  await told.waitFor({ timeout: 60_000 });
  const isWhole = (element) => element.scrollWidth <= element.clientWidth;
  assert.ok(await told.evaluate(isWhole), 'what to do is cut off');
  await line.click();
  await visitor.getByRole('alert').getByText(/^No space left on device/).waitFor();
  await accessible(visitor, 'a torrent that failed');
  await cramped.makeRoom();
  await visitor.getByRole('button', { name: 'Resume' }).first().click();
  await line.getByText('Seeding').first().waitFor({ timeout: 60_000 });
  await made.close();
  await Promise.all([cramped.part.stop(), giver.part.stop()]);
});

test('a node that does not start says why on every page, and starts once that is mended', { timeout: 90_000 }, async () => {
  const holder = createServer();
  await new Promise((listens) => holder.listen(0, '127.0.0.1', listens));
  await world.wallet('late', 64);
  const taken = `127.0.0.1:${holder.address().port}`;
  world.listen = taken;
  const late = await world.node('late');
  world.listen = '127.0.0.1:0';
  await world.ask('late', late.url, '/settings', { 'ui.guide_done': true }, 'PATCH');
  const made = await context(browser);
  const visitor = await made.newPage();
  await visitor.goto(late.login_url);
  const told = visitor.getByRole('alert').getByText(`Another program is using ${taken}`);
  for (const name of ['Wallet', 'Torrents', 'Overview']) {
    await visitor.getByRole('link', { name, exact: true }).click();
    await told.waitFor();
    assert.equal(await visitor.getByText('Loading…').count(), 0);
  }
  await accessible(visitor, 'a node that failed');
  await visitor.getByRole('main').getByRole('link', { name: 'Settings' }).click();
  await visitor.getByLabel('Peers reach the node at').waitFor();
  await visitor.getByRole('link', { name: 'Overview', exact: true }).click();
  await new Promise((closed) => holder.close(closed));
  await visitor.getByRole('button', { name: 'Try again' }).click();
  await visitor.getByRole('heading', { name: 'Ready to spend' }).waitFor();
  // A node that went away is not one that loads.
  await visitor.getByRole('link', { name: 'Wallet', exact: true }).click();
  await late.part.stop();
  await visitor.getByRole('heading', { name: 'The node does not answer' }).waitFor();
  assert.equal(await visitor.getByText('Loading…').count(), 0);
  await made.close();
});

test('on a phone: a torrent that waits shows its peers whole, and its estimate before the yes', { timeout: 120_000 }, async () => {
  const song = await world.payload('song.bin', 2 << 20);
  const singer = await world.seeder('singer', song, price);
  await api('/torrents', { source: { file: await world.torrentBase64(song) }, peers: [singer.listen], ask: true });
  const made = await context(browser, { width: 390, height: 844 });
  await made.addCookies(await page.context().cookies());
  const phone = await made.newPage();
  await phone.goto(`${node.url}/#/torrents/${song.info_hash}`);
  const text = phone.getByText('Nothing is downloaded or paid before you say so.');
  const button = phone.getByRole('button', { name: 'See what it costs' });
  const [words, below] = [await text.boundingBox(), await button.boundingBox()];
  assert.ok(words.width > 200 && below.y >= words.y + words.height, 'the button stands in the text');
  await button.click();
  const dialog = phone.getByRole('dialog', { name: 'song.bin' });
  await dialog.getByText('1 seller').waitFor({ timeout: 60_000 });
  await accessible(phone, 'the estimate of a torrent that waits');
  await dialog.getByRole('button', { name: 'Cancel' }).click();
  assert.equal((await row(song.info_hash)).state, 'asking', 'it goes on waiting');
  const notices = phone.getByRole('region', { name: 'Notices' });
  await phone.getByRole('button', { name: /^Notices/ }).click();
  await notices.getByText('song.bin waits for your yes').waitFor();
  await phone.keyboard.press('Escape');
  await phone.getByRole('tab', { name: 'Peers' }).click();
  const cells = phone.getByRole('tabpanel').locator('td');
  await cells.nth(10).waitFor();
  for (const cell of (await cells.all()).slice(0, 11)) {
    const box = await cell.boundingBox();
    assert.ok(box && box.width > 0 && box.x + box.width <= 390, `${await cell.getAttribute('data-label')} is out of sight`);
  }
  await button.click();
  await dialog.getByText('1 seller').waitFor();
  const yes = dialog.getByRole('button', { name: 'Download', exact: true });
  const limit = dialog.getByLabel('Highest price you pay');
  await limit.fill('5');
  await yes.click();
  assert.ok(await limit.evaluate((input) => input.matches(':invalid') && input === document.activeElement), 'it is said at the field');
  assert.equal((await row(song.info_hash)).state, 'asking', 'nothing begins on other terms than those in sight');
  await limit.fill(String(price));
  await dialog.getByLabel('Budget for this torrent').fill('10');
  await dialog.getByLabel('Budget for this torrent').blur();
  await dialog.getByText('This may not suffice for all of it.').waitFor();
  await dialog.getByLabel('Budget for this torrent').fill('999');
  await yes.click();
  await dialog.waitFor({ state: 'detached' });
  assert.equal((await api(`/torrents/${song.info_hash}`)).terms.budget, 999, 'what was typed last holds');
  await until('the song', async () => (await row(song.info_hash))?.state === 'seeding');
  await phone.getByRole('button', { name: /^Notices/ }).click();
  await notices.getByText('song.bin is complete').waitFor();
  assert.equal(await notices.getByText('song.bin waits for your yes').count(), 0, 'it was answered');
  await api('/torrents/actions', { action: 'remove', info_hashes: [song.info_hash] });
  await made.close();
  await singer.part.stop();
});

test('trackers say how they are, and files are checked anew', { timeout: 120_000 }, async () => {
  const tracker = createServer((_, answer) => answer.end('d8:intervali60e5:peers0:e'));
  await new Promise((listens) => tracker.listen(0, '127.0.0.1', listens));
  // A test that fails before it closes this must not keep the others from ending.
  tracker.unref();
  const url = `http://127.0.0.1:${tracker.address().port}/announce`;
  const album = await world.payload('album.flac', 1 << 20, '--tracker', url, '--tracker', 'http://127.0.0.1:9/announce');
  await api('/torrents', { source: { file: await world.torrentBase64(album) }, folder: album.data, confirmed: true });
  await page.goto(`${node.url}/#/torrents/${album.info_hash}?tab=trackers`);
  const state = (address) => page.getByRole('row').filter({ hasText: address });
  await state(url).getByText('Works').waitFor({ timeout: 60_000 });
  await state('127.0.0.1:9/').getByText('No answer').waitFor({ timeout: 60_000 });
  await state('Distributed hash table').getByText(/^\d+ nodes known$/).waitFor();
  await accessible(page, 'the trackers');
  tracker.close();

  await until('the album', async () => (await row(album.info_hash))?.state === 'seeding');
  const file = await open(path.join(album.data, album.name), 'r+');
  await file.write('not what it was', 100_000);
  await file.close();
  await page.getByRole('button', { name: 'Check files' }).click();
  await until('the damage', async () => {
    const { state, have_bytes } = await row(album.info_hash);
    return state === 'downloading' && have_bytes === (1 << 20) - (64 << 10);
  });
  await api('/torrents/actions', { action: 'remove', info_hashes: [album.info_hash] });
});

test('with the keyboard only: find, open, pause, resume, remove, add', { timeout: 90_000 }, async () => {
  await page.goto(`${node.url}/#/torrents`);
  const grid = page.getByRole('grid');
  await grid.waitFor();
  const byName = grid.getByRole('columnheader', { name: 'Name' });
  await byName.getByRole('button').focus();
  await page.keyboard.press('Enter');
  assert.equal(await byName.getAttribute('aria-sort'), 'ascending');
  await grid.getByLabel('Select all').focus();
  await page.keyboard.press('Space');
  assert.equal(await grid.getByRole('row', { selected: true }).count(), (await api('/torrents')).torrents.length);
  await page.keyboard.press('Space');
  assert.equal(await grid.getByRole('row', { selected: true }).count(), 0);
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

test('a removal that the node refuses is not called done', { timeout: 60_000 }, async () => {
  const why = { code: 'disk', error: 'play-of-the-year.bin cannot be deleted: Permission denied', what_to_do: 'let the node write there' };
  await page.route('**/torrents/actions', (route) => route.fulfill({ json: { done: [], failed: [{ info_hash: play.info_hash, problem: why }] } }));
  await page.goto(`${node.url}/#/torrents/${play.info_hash}`);
  await page.getByRole('button', { name: 'Remove' }).last().click();
  const dialog = page.getByRole('dialog', { name: /^Remove/ });
  await dialog.getByRole('button', { name: 'Remove' }).click();
  await dialog.getByText('Let the node write there.').waitFor();
  assert.equal(await page.getByRole('status').getByText('1 torrent removed').count(), 0);
  await page.keyboard.press('Escape');
  await page.unroute('**/torrents/actions');
});

test('without a broker one gets a wallet and the pages all the same', { timeout: 90_000 }, async () => {
  const fresh = await world.node('alone');
  const made = await context(browser);
  const visitor = await made.newPage();
  await visitor.goto(fresh.login_url);
  await visitor.getByRole('button', { name: /^Make a wallet/ }).click();
  await visitor.getByRole('button', { name: 'Later' }).click();
  await visitor.getByRole('button', { name: 'Make the wallet' }).click();
  const words = await shownWords(visitor);
  const ask = asker(visitor);
  await until('the node', async () => (await ask('/node')).stage === 'running');
  assert.equal((await ask('/node')).has_broker, false);
  // The page is left before the words are confirmed: they are asked for again, in the guide and after it.
  await visitor.reload();
  await visitor.getByText('You have not confirmed yet that you wrote them down.').waitFor();
  await accessible(visitor, 'words that are due');
  await visitor.getByRole('button', { name: 'Show the words' }).click();
  assert.deepEqual(await shownWords(visitor), words);
  await visitor.reload();
  await visitor.getByRole('button', { name: 'Later' }).click();
  await visitor.getByRole('heading', { name: 'Where do downloads go?' }).waitFor();
  await visitor.getByRole('button', { name: 'Put the guide away' }).click();
  const due = visitor.getByText('You have not confirmed your 24 words.');
  await due.waitFor();
  await visitor.getByRole('main').getByRole('link', { name: 'Backup' }).click();
  await visitor.getByRole('button', { name: 'I have them, try them' }).click();
  await visitor.getByLabel('The 24 words, in order').fill(words.join(' '));
  await visitor.getByRole('button', { name: 'Try them' }).click();
  await visitor.getByText('Your backup works.').waitFor();
  await due.waitFor({ state: 'detached' });
  await visitor.goto('about:blank');
  await visitor.goto(`${fresh.url}/#/wallet?do=buy`);
  const dialog = visitor.getByRole('dialog', { name: 'Buy coins' });
  await dialog.getByText('No broker is named.').waitFor();
  assert.ok(await dialog.getByRole('button', { name: 'Buy' }).isDisabled());
  await accessible(visitor, 'buying without a broker');
  await dialog.getByRole('link', { name: 'Settings' }).click();
  await visitor.getByLabel('Broker’s address').waitFor();
  await made.close();
  await fresh.part.stop();
});

test('a wallet is restored from its words, wrong ones are named, and its passphrase opens it', { timeout: 120_000 }, async () => {
  const words = (await world.run('lost', 'wallet', 'init', '--no-passphrase')).words.split(' ');
  let fresh = await world.node('restored');
  const made = await context(browser);
  const visitor = await made.newPage();
  await visitor.goto(fresh.login_url);
  await visitor.getByRole('button', { name: /^Restore a wallet/ }).click();
  await visitor.getByLabel('Broker’s address').fill(world.brokerUrl);
  await visitor.getByRole('button', { name: 'Ask it' }).click();
  await visitor.getByText('It answers').waitFor();
  await visitor.getByRole('button', { name: 'Next' }).click();
  const restore = visitor.getByRole('button', { name: 'Restore', exact: true });
  const typed = visitor.getByLabel('The 24 words, in order');
  await typed.fill(words.slice(1).join(' '));
  await visitor.getByText('23 of 24 words').waitFor();
  assert.ok(await restore.isDisabled());
  await typed.fill([...words.slice(0, 23), 'dpayer'].join(' '));
  await restore.click();
  await visitor.getByRole('alert').getByText(/word 24 is not on/i).waitFor();
  await visitor.getByText('Check the words and their order.').waitFor();
  await accessible(visitor, 'words that are none');
  assert.equal((await asker(visitor)('/node')).has_wallet, false);
  await typed.fill(` ${words.join('\n').toUpperCase()} `);
  await visitor.getByLabel(/^Passphrase/).fill('a quiet horse');
  await visitor.getByLabel('The passphrase again').fill('a quiet house');
  assert.ok(await restore.isDisabled());
  await visitor.getByLabel('The passphrase again').fill('a quiet horse');
  await restore.click();
  await visitor.getByRole('heading', { name: 'Where do downloads go?' }).waitFor({ timeout: 60_000 });
  assert.equal((await asker(visitor)('/wallet/words/try', { words: words.join(' ') })).same, true);
  assert.equal((await asker(visitor)('/node')).words_due, false);
  await asker(visitor)('/settings', { 'ui.guide_done': true }, 'PATCH');
  await visitor.goto('about:blank');
  await visitor.goto(`${fresh.url}/#/settings`);
  const card = visitor.getByRole('region', { name: 'Passphrase of the wallet' });
  await card.getByLabel('Passphrase of the wallet').fill('a quiet house');
  await card.getByLabel('New passphrase').fill('a loud horse');
  await card.getByLabel('The passphrase again').fill('a loud horse');
  await card.getByRole('button', { name: 'Save' }).click();
  await card.getByRole('alert').getByText(/passphrase is wrong/).waitFor();
  await accessible(visitor, 'a passphrase that is not changed');
  await card.getByLabel('Passphrase of the wallet').fill('a quiet horse');
  await card.getByRole('button', { name: 'Save' }).click();
  await until('empty fields', async () => (await card.getByLabel('New passphrase').inputValue()) === '');
  await visitor.goto('about:blank');
  await fresh.part.stop();

  const old = path.join(world.dir, 'old-passphrase');
  await writeFile(old, 'a quiet horse');
  fresh = await world.node('restored', '--passphrase-file', old);
  await visitor.goto(fresh.login_url);
  await visitor.getByRole('heading', { name: 'Your wallet is locked' }).waitFor();
  await visitor.getByText('The passphrase that the node was started with is wrong.').waitFor();
  await accessible(visitor, 'a wallet that is locked');
  const passphrase = visitor.getByLabel('Passphrase of the wallet');
  await passphrase.fill('a quiet house');
  await visitor.getByRole('button', { name: 'Unlock' }).click();
  await visitor.getByRole('alert').getByText(/passphrase/).first().waitFor();
  assert.equal((await asker(visitor)('/node')).stage, 'locked');
  await passphrase.fill('a loud horse');
  await visitor.getByRole('button', { name: 'Unlock' }).click();
  await visitor.getByRole('heading', { name: 'Overview' }).waitFor({ timeout: 60_000 });
  assert.equal((await asker(visitor)('/node')).stage, 'running');
  await made.close();
  await fresh.part.stop();
});

test('who signs out in one window is out in the others', { timeout: 60_000 }, async () => {
  const made = await context(browser);
  const [first, second] = [await made.newPage(), await made.newPage()];
  const fresh = await world.node('leaver');
  await first.goto(fresh.login_url);
  await first.getByRole('heading', { name: 'Welcome to DPay' }).waitFor();
  await second.goto(fresh.url);
  await second.getByRole('button', { name: /^Make a wallet/ }).click();
  await second.getByLabel('Broker’s address').fill(world.brokerUrl);
  await asker(first)('/login', {}, 'DELETE');
  await second.getByLabel('Broker’s address').press('Enter', { timeout: 3000 }).catch(() => 'it is out already');
  await second.getByRole('heading', { name: 'Sign in' }).waitFor();
  await made.close();
  await fresh.part.stop();
});

test('a wrong password says so where it was typed, and too many of them that one has to wait', { timeout: 60_000 }, async () => {
  const made = await context(browser);
  const visitor = await made.newPage();
  const fresh = await world.node('guarded');
  await world.ask('guarded', fresh.url, '/login/password', { password: 'correct horse' }, 'PUT');
  await visitor.goto(fresh.url);
  const attempt = async (password, told) => {
    await visitor.getByLabel('Or with the password').fill(password);
    await visitor.getByRole('button', { name: 'Sign in' }).click();
    await visitor.getByRole('alert').getByText(told).waitFor();
  };
  await attempt('wrong password', 'The password is wrong.');
  await accessible(visitor, 'a wrong password');
  const wrong = () => world.ask('guarded', fresh.url, '/login', { password: 'wrong again' }).catch(() => 'refused');
  for (let tries = 1; tries < 5; tries += 1) assert.equal(await wrong(), 'refused');
  await attempt('correct horse', /too many wrong passwords/i);
  await made.close();
  await fresh.part.stop();
});

test('a link of dpay open signs in where the page is open already, and a used one says so', { timeout: 60_000 }, async () => {
  const made = await context(browser);
  const visitor = await made.newPage();
  await visitor.goto(node.url);
  await visitor.getByRole('heading', { name: 'Sign in' }).waitFor();
  const link = async () => new URL((await world.ask('user', node.url, '/login/code', {})).url).hash;
  const used = await link();
  await world.ask('user', node.url, '/login', { code: used.split('=')[1] });
  await visitor.evaluate((hash) => (location.hash = hash), used);
  await visitor.getByRole('alert').getByText('This link was used already, or is too old.').waitFor();
  await visitor.getByText('Run “dpay open” for a new one').waitFor();
  assert.equal(new URL(visitor.url()).hash, '#/', 'no code stays in the address');
  await visitor.evaluate((hash) => (location.hash = hash), await link());
  await visitor.getByRole('heading', { name: 'Overview' }).waitFor();
  assert.equal(new URL(visitor.url()).hash, '#/');
  assert.deepEqual(made.problems, []);
  await made.close();
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
      await loaded(other);
      await fits(other, `${name} (${mode})`);
      await accessible(other, `${name} (${mode})`);
    }
    assert.deepEqual(made.problems, []);
    await made.close();
  });
}

test('the page prints no error and asks nobody but the node', () => {
  assert.deepEqual(page.context().problems, []);
});
