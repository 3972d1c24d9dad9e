// `npm run screenshots`: the pages of a node in use, into docs/screenshots. `npm run screenshots FOLDER` takes
// every page in every look, to be looked at.
import { mkdir } from 'node:fs/promises';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { context, launch, loaded, until } from './browser.mjs';
import { showcase } from './showcase.mjs';

const all = process.argv[2];
const folder = path.resolve(all ?? path.resolve(path.dirname(fileURLToPath(import.meta.url)), '../../docs/screenshots'));
await mkdir(folder, { recursive: true });
const phone = { width: 390, height: all === undefined ? 844 : 1500 };
const looks = { light: {}, dark: { dark: true }, phone, 'phone-ko': { ...phone, dark: true, language: 'ko-KR' } };
/** What the documents show in other looks than the light one, which has all. */
const few = {
  dark: ['overview', 'torrents', 'earnings'],
  phone: ['overview', 'torrents', 'files', 'peers', 'wallet', 'earnings'],
  'phone-ko': ['overview', 'wallet'],
};
const shows = (look, name) => all !== undefined || look === 'light' || few[look].includes(name);
const browser = await launch();
let show;
try {
  const first = await context(browser);
  const page = await first.newPage();
  show = await showcase(page);
  const { api, node, own, sold, many, peers, magnet, row, world } = show;
  const film = sold[0].info_hash;
  await api('/settings', { 'limits.download_bytes_per_s': 900_000 }, 'PATCH');

  /** The page as it is now, or a part of it. */
  const shot = async (name, look, on, part = on) => {
    await on.locator('main h1').first().waitFor({ state: 'attached' });
    await loaded(on);
    // Charts are drawn a moment after their figures came.
    await on.evaluate(() => new Promise((drawn) => requestAnimationFrame(() => requestAnimationFrame(drawn))));
    if ((await on.locator('.plot').count()) > 0) {
      await on.locator('.plot canvas').first().waitFor();
      await on.waitForTimeout(1200);
    }
    // What has the focus because a page was opened by its address shows a ring that nobody sees who came by a click.
    await on.evaluate(() => document.querySelector('dialog') ?? document.activeElement?.blur());
    const file = look === 'light' ? name : `${name}-${look}`;
    await (all === undefined ? part : on).screenshot({ path: path.join(folder, `${file}.png`) });
    console.log(file);
  };
  /** A page of its own in this look, signed in with these cookies. */
  const inLook = async (look, cookies) => {
    const made = await context(browser, looks[look]);
    await made.addCookies(cookies);
    return { made, other: await made.newPage() };
  };

  await page.goto(`${node.url}/#/torrents`);
  await page.getByRole('button', { name: 'Add torrent' }).click();
  await page.getByLabel('Magnet links or addresses').fill(`${magnet(sold[0]).magnet}${peers.map((peer) => `&x.pe=${peer}`).join('')}`);
  await page.getByRole('dialog').getByRole('button', { name: 'Next' }).click();
  await page.getByRole('dialog').getByText('2 sellers').waitFor();
  await shot('estimate', 'light', page);
  await page.getByRole('dialog').getByRole('button', { name: 'Download', exact: true }).click();
  await until('a download on its way', async () => (await row(sold[0])).have_bytes > 20_000_000);

  const earned = `#/earnings?by=torrent&all=1&row=${own[1].info_hash}`;
  const places = {
    overview: '#/home', torrents: `#/torrents/${film}?tab=overview`, files: `#/torrents/${many.info_hash}?tab=files`, peers: `#/torrents/${film}?tab=peers`, channels: `#/torrents/${film}?tab=channels`, trackers: `#/torrents/${film}?tab=trackers`,
    wallet: '#/wallet', backup: '#/wallet?do=backup', earnings: '#/earnings?by=day&all=1', spending: '#/earnings?kind=spending&by=torrent&all=1', settings: '#/settings', passphrase: '#/settings', log: '#/logs',
    ...(all === undefined ? {} : { list: '#/torrents', 'torrent-log': `#/torrents/${film}?tab=log`, buy: '#/wallet?do=buy', redeem: '#/wallet?do=redeem', withdraw: '#/wallet?do=withdraw', sums: earned }),
  };
  const cookies = await first.cookies();
  for (const look of Object.keys(looks)) {
    const { made, other } = await inLook(look, cookies);
    for (const [name, hash] of Object.entries(places)) {
      if (!shows(look, name)) continue;
      await other.goto('about:blank');
      await other.goto(`${node.url}/${hash}`);
      const part = { passphrase: other.getByRole('region', { name: /^(Passphrase of the wallet|지갑 암호)/ }), backup: other.getByRole('dialog') }[name];
      await part?.evaluate((element) => element.scrollIntoView());
      await shot(name, look, other, part);
    }
    if (shows(look, 'add')) {
      await other.goto(`${node.url}/#/torrents`);
      await other.locator('main').press('n');
      await other.getByRole('dialog').waitFor();
      await shot('add', look, other, other.getByRole('dialog'));
    }
    if (shows(look, 'receipt')) {
      await other.goto('about:blank');
      await other.goto(`${node.url}/${earned}`);
      await other.locator('dialog a').filter({ hasText: /\d/ }).first().click();
      await other.getByRole('dialog', { name: /^(Receipt|영수증)$/ }).waitFor();
      await shot('receipt', look, other);
    }
    await made.close();
  }
  // Before anybody is in, and before there is anything.
  await world.ask('user', node.url, '/login/password', { password: 'correct horse' }, 'PUT');
  const fresh = await world.node('newcomer');
  for (const look of Object.keys(looks)) {
    const { made, other } = await inLook(look, []);
    if (shows(look, 'sign-in')) {
      await other.goto(node.url);
      await shot('sign-in', look, other);
    }
    if (shows(look, 'welcome')) {
      await other.goto((await world.ask('newcomer', fresh.url, '/login/code', {})).url);
      await shot('welcome', look, other);
    }
    await made.close();
  }
  await world.ask('newcomer', fresh.url, '/play', {});
  await until('the play world', async () => (await world.ask('newcomer', fresh.url, '/node')).play.samples?.length > 0);
  for (const look of Object.keys(looks)) {
    if (!shows(look, 'play')) continue;
    const { made, other } = await inLook(look, []);
    await other.goto((await world.ask('newcomer', fresh.url, '/login/code', {})).url);
    await other.locator('section.play').waitFor();
    await shot('play', look, other);
    await made.close();
  }
} finally {
  await browser.close();
  await show?.world.end();
}
