// What needs no browser: the languages say the same things, and the bundle is what it promises to be.
import assert from 'node:assert/strict';
import { readFileSync, readdirSync } from 'node:fs';
import test from 'node:test';
import { gzipSync } from 'node:zlib';
import { runnerImport } from 'vite';

const here = new URL('..', import.meta.url);
const read = (name) => readFileSync(new URL(name, here), 'utf8');
const languages = Object.fromEntries(['en', 'ko'].map((code) => [code, JSON.parse(read(`src/i18n/${code}.json`))]));
const names = (text) => new Set([...text.matchAll(/\{(\w+)/g)].map((match) => match[1]));

test('every language has the same keys in the same order, and no text is empty', () => {
  for (const [code, texts] of Object.entries(languages)) {
    assert.deepEqual(Object.keys(texts), Object.keys(languages.en), code);
    for (const [key, text] of Object.entries(texts)) assert.ok(text.trim() !== '', `${code} ${key}`);
  }
});

test('a translation uses the values of the English text and no others', () => {
  for (const [key, text] of Object.entries(languages.en)) {
    const [mine, theirs] = [names(text), names(languages.ko[key])];
    for (const name of theirs) assert.ok(mine.has(name), `ko ${key} has {${name}}`);
    // A plural of English may be all that a number is for.
    for (const name of mine) assert.ok(theirs.has(name) || text.includes(`{${name}|`), `ko ${key} lacks {${name}}`);
  }
});

test('Korean is Korean', () => {
  const same = Object.keys(languages.en).filter((key) => languages.ko[key] === languages.en[key]);
  const may = new Set(['add.links_placeholder', 'settings.dht', 'notice.home_unwritten']);
  assert.deepEqual(same.filter((key) => !may.has(key)), []);
});

test('whatever the node may say has words in every language', () => {
  const { schemas } = JSON.parse(read('../docs/openapi.json')).components;
  const codes = (name) => schemas[name].oneOf?.map((one) => one.enum[0]) ?? schemas[name].enum;
  const wire = read('../src/wire/codes.rs');
  const words = (name) => [...wire.slice(wire.indexOf(`    ${name} {`)).split('}')[0].matchAll(/= "(\w+)"/g)].map((match) => match[1]);
  const reasons = [...read('../src/session/view/saying.rs').matchAll(/(?:=> |\(|return \()"(\w+)"/g)].map((match) => match[1]);
  // What the page never asks in such a way that it would be told this.
  const forPrograms = new Set(['ask_by_address', 'give_info_hash', 'give_one_source', 'go_on', 'name_fewer', 'open_own_page', 'see_api', 'see_files', 'see_history', 'see_list', 'send_base64', 'send_json', 'send_less', 'use_token_or_browser']);
  const wanted = [
    ...codes('NoticeCode').flatMap((code) => [`notice.${code}`, `notice_title.${code}`]),
    ...codes('ProblemCode').map((code) => `problem.${code}`),
    ...codes('Advice').filter((code) => !forPrograms.has(code)).map((code) => `advice.${code}`),
    ...codes('State').map((code) => `state.${code}`),
    ...words('RefuseReason').map((word) => `refuse.${word}`),
    ...words('WaitReason').filter((word) => word !== 'no').map((word) => `saying.waits_${word}`),
    ...reasons.filter((word) => !['asked', 'limit', 'reason'].includes(word)).map((word) => `saying.${word}`),
  ];
  assert.ok(wanted.length > 70, `${wanted.length} texts`);
  assert.deepEqual(wanted.filter((key) => !(key in languages.en)), []);
});

test('the page takes a torrent as large as the node does', () => {
  const mib = (name, line) => Number(read(name).match(line)?.[1]);
  const node = mib('../src/torrent/metainfo.rs', /MAX_TORRENT_BYTES: usize = (\d+) << 20;/);
  assert.ok(node > 0);
  assert.equal(mib('src/torrents/add.svelte.ts', /mostMib = (\d+);/), node);
});

test('what a browser loads weighs at most 120 kB gzipped in each language, and asks nobody else', () => {
  const weights = new Map();
  for (const name of readdirSync(new URL('dist', here), { recursive: true })) {
    if (!/\.(js|css|html|svg)$/.test(name)) continue;
    const bytes = readFileSync(new URL(`dist/${name}`, here));
    weights.set(name, gzipSync(bytes, { level: 9 }).length);
    const text = bytes.toString();
    // Svelte names its own pages in messages; nothing loads them.
    const urls = [...text.matchAll(/https?:\/\/[\w.-]+/g)].map((match) => match[0]).filter((url) => !/^https?:\/\/(svelte\.dev|www\.w3\.org|127\.0\.0\.1)/.test(url));
    assert.deepEqual(urls, [], name);
    if (name.endsWith('.html')) assert.doesNotMatch(text, /<style|style=|<script(?![^>]*src=)/, name);
  }
  const files = Object.keys(languages).map((code) => `assets/${code}.js`);
  const all = [...weights.values()].reduce((sum, weight) => sum + weight, 0);
  for (const file of files) {
    assert.ok(weights.get(file) > 5_000, `${file} has the texts`);
    const others = files.filter((other) => other !== file).reduce((sum, other) => sum + weights.get(other), 0);
    console.log(`bundle with ${file}: ${all - others} bytes gzipped`);
    assert.ok(all - others <= 120_000, `${file}: ${all - others} bytes`);
  }
});

test('numbers read as people expect', async () => {
  const { module: format } = await runnerImport(new URL('src/lib/format.ts', here).pathname);
  assert.equal(format.bytes(0), '0 B');
  assert.equal(format.bytes(1536), '1.50 KiB');
  assert.equal(format.bytes(1000 * 1024), '0.98 MiB');
  assert.equal(format.speed(0), '–');
  assert.equal(format.percent(999_999, 1_000_000), '99 %');
  assert.equal(format.percent(1, 1_000_000), '0 %');
  assert.equal(format.percent(5, 5), '100 %');
  assert.equal(format.duration(3_725), '1 h 2 min');
  assert.equal(format.duration(null), '–');
  assert.equal(format.credits(1, { name: 'credit', units_per_credit: 100_000 }, 'en'), '0.00001 credit');
});

test('the list is searched, filtered and ordered without jumping', async () => {
  const { module: list } = await runnerImport(new URL('src/torrents/choose.ts', here).pathname);
  const row = (name, state, down) => ({ name, info_hash: name.padEnd(40, '0'), state, down_bytes_per_s: down, up_bytes_per_s: 0, units_paid: 0, units_earned: 0, peers: 0, progress: 0, wanted_bytes: 0, eta_s: null, added: 1 });
  const rows = [row('b 10', 'seeding', 0), row('a', 'paused', 5), row('b 2', 'downloading', 5), row('C', 'failed', 1)];
  const ask = (text, filter, by, descending) => list.choose(rows, text, filter, { by, descending }).map((one) => one.name);
  assert.deepEqual(ask('', 'all', 'name', false), ['a', 'b 2', 'b 10', 'C']);
  assert.deepEqual(ask('', 'all', 'down', true), ['a', 'b 2', 'C', 'b 10']);
  assert.deepEqual(ask('B 1', 'all', 'name', false), ['b 10']);
  assert.deepEqual(ask('', 'active', 'down', false), ['C', 'a', 'b 2']);
  rows[3].info_hash = 'a1b2c3d4'.padEnd(40, '0');
  assert.deepEqual([ask('a1b2c3d', 'all', 'name', false), ask('A1B2C3D4', 'all', 'name', false)], [[], ['C']]);
  assert.deepEqual(list.counts(rows), { all: 4, asking: 0, downloading: 1, queued: 0, seeding: 1, active: 3, paused: 1, money: 0, error: 1 });
  rows[0].label = 'films';
  rows[1].label = 'books';
  rows[2].label = 'films';
  const labelled = (label) => list.choose(rows, '', 'all', { by: 'name', descending: false }, label).map((one) => one.name);
  assert.deepEqual([labelled('films'), labelled(null), labelled(undefined).length], [['b 2', 'b 10'], ['C'], 4]);
  assert.deepEqual([...list.labelCounts(rows)], [['books', 1], ['films', 2]]);
});

test('a day, week or month without a row has its place in the chart', async () => {
  const { module: days } = await runnerImport(new URL('src/lib/days.ts', here).pathname);
  assert.deepEqual(days.upTo('2026-03-02', '2026-02-27', 'day', 60), ['2026-02-27', '2026-02-28', '2026-03-01', '2026-03-02']);
  assert.deepEqual(days.upTo('2026-01-05', '2025-12-22', 'week', 60), ['2025-12-22', '2025-12-29', '2026-01-05']);
  assert.deepEqual(days.upTo('2026-02-01', '2025-11-01', 'month', 60), ['2025-11-01', '2025-12-01', '2026-01-01', '2026-02-01']);
  assert.deepEqual(days.upTo('2026-03-02', '2020-01-01', 'day', 2), ['2026-03-01', '2026-03-02']);
});

test('older lines of the history fit to the newer ones, whatever is written meanwhile, and none is there twice', async () => {
  const { module: history } = await runnerImport(new URL('src/wallet/newest.ts', here).pathname);
  // As the node does: 3 lines at most for each question.
  const journal = [...'gfedcba'].map((reference) => ({ reference, kind: 'bought', units: 64, at: 1 }));
  const asked = [];
  const ask = (written) => async (skip, limit) => {
    asked.push(skip);
    const lines = journal.slice(skip, skip + Math.min(limit, 3));
    const answer = { lines, more: skip + lines.length < journal.length };
    for (const reference of written.splice(0, 1).flat()) journal.unshift({ ...journal[0], reference });
    return answer;
  };
  const said = async (wanted, ...written) => {
    asked.length = 0;
    const { lines, more } = await history.newest(wanted, ask(written));
    return `${lines.map((line) => line.reference).join('')} ${more} ${asked}`;
  };
  assert.equal(await said(2), 'gf true 0');
  assert.equal(await said(5), 'gfedc true 0,3,0');
  assert.equal(await said(5, ['h'], [], ['i']), 'ihgfe true 0,3,0,0,3,0');
  assert.equal(await said(20), 'ihgfedcba false 0,3,6,0');
});

test('the coins of one request are one line of the history, with their sum', async () => {
  const { module: acts } = await runnerImport(new URL('src/wallet/gathered.ts', here).pathname);
  const line = (reference, kind, units) => ({ reference, kind, units, at: 1 });
  const lines = [line('b', 'bought', 512), line('b', 'bought', 64), line('b', 'bought', 16), line('s', 'change', 3), line('s', 'paid', 61), line('a', 'bought', 64), line('a', 'bought', 64)];
  const said = (more) => acts.gathered(lines, more).map(({ reference, kind, units, count }) => `${reference} ${kind} ${units} ${count}`);
  assert.deepEqual(said(false), ['b bought 592 3', 's change 3 1', 's paid 61 1', 'a bought 128 2']);
  // A sum is shown once all of it is there.
  assert.deepEqual(said(true), ['b bought 592 3', 's change 3 1', 's paid 61 1']);
  // What was earned from several is redeemed together: each torrent and each peer has its own sum.
  const redeemed = [['t', 'p'], ['t', 'p'], ['u', 'p'], ['u', 'q'], [null, 'q'], [undefined, 'q']].map(([info_hash, peer]) => ({ ...line('r', 'redeemed', 8), info_hash, peer }));
  assert.deepEqual(acts.gathered(redeemed, false).map(({ info_hash, peer, units }) => `${info_hash} ${peer} ${units}`), ['t p 16', 'u p 8', 'u q 8', 'null q 16']);
});
