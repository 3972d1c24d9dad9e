// `npm run screenshots`: the pages of a node in use, into docs/screenshots.
import { mkdir } from 'node:fs/promises';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { context, launch, loaded, until } from './browser.mjs';
import { showcase } from './showcase.mjs';

const folder = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '../../docs/screenshots');
await mkdir(folder, { recursive: true });
const browser = await launch();
let show;
try {
  const first = await context(browser);
  const page = await first.newPage();
  show = await showcase(page);
  const { api, node, own, sold, peers, magnet, row, world } = show;
  const film = sold[0].info_hash;
  await api('/settings', { 'limits.download_bytes_per_s': 900_000 }, 'PATCH');

  /** The page as it is now, or at another place of it. */
  const shot = async (name, on, hash) => {
    if (hash !== undefined) await on.goto(`${node.url}/${hash}`);
    await on.locator('main h1').first().waitFor({ state: 'attached' });
    await loaded(on);
    // Charts are drawn a moment after their figures came.
    await on.evaluate(() => new Promise((drawn) => requestAnimationFrame(() => requestAnimationFrame(drawn))));
    if ((await on.locator('canvas').count()) > 0) await on.waitForTimeout(1200);
    await on.screenshot({ path: path.join(folder, `${name}.png`) });
    console.log(name);
  };

  await page.goto(`${node.url}/#/torrents`);
  await page.getByRole('button', { name: 'Add torrent' }).click();
  await page.getByLabel('Magnet links or addresses').fill(`${magnet(sold[0]).magnet}${peers.map((peer) => `&x.pe=${peer}`).join('')}`);
  await page.getByRole('dialog').getByRole('button', { name: 'Next' }).click();
  await page.getByRole('dialog').getByText('2 sellers').waitFor();
  await shot('estimate', page);
  await page.getByRole('dialog').getByRole('button', { name: 'Download', exact: true }).click();
  await until('a download on its way', async () => (await row(sold[0])).have_bytes > 20_000_000);

  const looks = { light: {}, dark: { dark: true }, phone: { width: 390, height: 844 }, 'phone-ko': { width: 390, height: 844, dark: true, language: 'ko-KR' } };
  const places = {
    overview: '#/home', torrents: `#/torrents/${film}?tab=overview`, peers: `#/torrents/${film}?tab=peers`, channels: `#/torrents/${film}?tab=channels`, trackers: `#/torrents/${film}?tab=trackers`,
    wallet: '#/wallet', earnings: '#/earnings?by=day&all=1', spending: '#/earnings?kind=spending&by=torrent&all=1', settings: '#/settings', log: '#/logs',
  };
  const few = { light: Object.keys(places), dark: ['overview', 'torrents', 'earnings'], phone: ['overview', 'torrents', 'peers', 'wallet', 'earnings'], 'phone-ko': ['overview', 'wallet'] };
  for (const [look, options] of Object.entries(looks)) {
    const made = await context(browser, options);
    await made.addCookies(await first.cookies());
    const other = await made.newPage();
    for (const name of few[look]) await shot(look === 'light' ? name : `${name}-${look}`, other, places[name]);
    await made.close();
  }
  await page.goto(`${node.url}/#/earnings?by=torrent&all=1&row=${own[1].info_hash}`);
  await page.getByRole('dialog').getByRole('link', { name: /^Earned/ }).first().click();
  await page.getByRole('dialog', { name: 'Receipt' }).waitFor();
  await shot('receipt', page);
  const fresh = await world.node('newcomer');
  const made = await context(browser);
  const visitor = await made.newPage();
  await visitor.goto(fresh.login_url);
  await visitor.getByRole('heading', { name: 'Welcome to DPay' }).waitFor();
  await shot('welcome', visitor);
} finally {
  await browser.close();
  await show?.world.end();
}
