// A node with something to show: a week of earnings, torrents that seed, download, wait and stand still.
// Real torrents in a real swarm on loopback, whose clocks were set back; nothing in it is drawn.
import { randomBytes } from 'node:crypto';
import { mkdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { until } from './browser.mjs';
import { World } from './world.mjs';

const price = 16_384;
const MiB = 1 << 20;
const day_s = 86_400;

/** Asks the node's API from within its page. */
export const asker = (page) => (where, data, method = 'POST') => page.evaluate(async ([where, data, method]) => {
  const answer = await fetch(`api/v1${where}`, data === undefined ? {} : { method, headers: { 'content-type': 'application/json' }, body: JSON.stringify(data) });
  if (!answer.ok) throw new Error(`${where}: ${answer.status} ${await answer.text()}`);
  return answer.json();
}, [where, data, method]);

/** The node at another moment, signed in. */
async function enter(page, world) {
  const node = await world.node('user', '--broker', world.brokerUrl);
  await page.goto(node.login_url);
  const api = asker(page);
  await until('the node', async () => (await api('/node')).stage === 'running');
  const row = async (one) => (await api('/torrents')).torrents.find((torrent) => torrent.info_hash === one.info_hash);
  return { node, api, row };
}

/** A torrent of several files, of which some are there. */
async function lectures(world) {
  const [whole, data] = ['lectures', 'lectures-had'].map((name) => path.join(world.dir, name));
  const name = 'Open lectures 2026';
  for (const at of [whole, data]) await mkdir(path.join(at, name, 'notes'), { recursive: true });
  for (const [i, [file, kib]] of [['lecture-01.mp4', 2048], ['lecture-02.mp4', 1792], ['lecture-03.mp4', 2304], ['notes/lecture-01.pdf', 320], ['notes/lecture-02.pdf', 256], ['read-me.txt', 4]].entries()) {
    const bytes = randomBytes(kib << 10);
    await writeFile(path.join(whole, name, file), bytes);
    if (i < 2 || i === 5) await writeFile(path.join(data, name, file), i === 1 ? bytes.subarray(0, 1 << 20) : bytes);
  }
  const torrent = path.join(world.dir, 'lectures.torrent');
  const { info_hash } = await world.run('maker', 'create', path.join(whole, name), '-o', torrent, '--piece-kib', '64');
  return { name, data, torrent, info_hash };
}

/** Starts it all; `page` is signed in to the node afterwards. */
export async function showcase(page) {
  const world = await World.start({ dhtNodes: 8, clockOffset: -6 * day_s });
  const own = [];
  const labels = ['systems', 'films', 'music', 'maps'];
  for (const [name, size] of [['alpine-standard-3.22.0-x86_64.iso', 24], ['Sintel.2010.1080p.mkv', 40], ['field-recordings-vol-2.flac', 12], ['openstreetmap-monaco.osm.pbf', 8]]) own.push(await world.payload(name, size * MiB));
  const sold = [await world.payload('big-buck-bunny-2160p.mkv', 96 * MiB), await world.payload('wikipedia-simple-2026-11.zim', 32 * MiB), await world.payload('kernel-6.18.tar.xz', 16 * MiB)];
  await world.wallet('user', 600_000);
  let user = await enter(page, world);
  await user.api('/settings', { 'ui.guide_done': true, 'spending.max_price': price, 'seeding.price': price, 'spending.budget_day': 5_000, 'rules.low_balance': 500 }, 'PATCH');
  await user.api('/wallet/buy', { units: 20_000 });
  for (const [i, one] of own.entries()) await user.api('/torrents', { source: { file: await world.torrentBase64(one) }, folder: one.data, label: labels[i], confirmed: true, terms: { free: 'off' } });
  // On most days somebody comes and buys what it seeds.
  for (const [i, bought] of [[1], [0, 3], [2], [], [0, 1, 2], [3, 2], [0, 1]].entries()) {
    if (i > 0) {
      await user.node.part.stop();
      await world.travel((i - 6) * day_s);
      user = await enter(page, world);
    }
    for (const one of own) await until(one.name, async () => (await user.row(one))?.state === 'seeding');
    if (bought.length === 0) continue;
    await world.wallet(`buyer-${i}`, 300_000);
    for (const n of bought) await world.download(`buyer-${i}`, own[n].torrent, (await user.api('/node')).listen);
  }
  const sellers = [];
  for (const [i, asked] of [price, price / 2].entries()) sellers.push(await world.seeder(`seller-${i}`, sold, asked));
  const peers = sellers.map((seller) => seller.listen);
  const magnet = (one) => ({ magnet: `magnet:?xt=urn:btih:${one.info_hash}&dn=${one.name}` });
  const { api, row } = user;
  await api('/torrents', { source: magnet(sold[2]), peers, label: 'systems', confirmed: true });
  await until('the kernel', async () => (await row(sold[2]))?.state === 'seeding');
  await api('/torrents', { source: magnet(sold[1]), peers, confirmed: true, terms: { budget: 96 } });
  await until('a budget that is reached', async () => (await api('/notices')).notices.some((notice) => ['budget_reached', 'budget_rest'].includes(notice.code)));
  const many = await lectures(world);
  await api('/torrents', { source: { file: await world.torrentBase64(many) }, folder: many.data, only_files: [0, 1, 2, 4, 5], label: 'talks', confirmed: true });
  await until('the lectures that are there', async () => (await row(many))?.have_bytes > 0);
  await api('/torrents/actions', { action: 'pause', info_hashes: [many.info_hash] });
  return { world, own, sold, many, peers, magnet, ...user };
}
