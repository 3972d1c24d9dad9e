// Debian's Chromium, a page of the node in it, and what every page is held to.
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { chromium } from 'playwright-core';

const axeSource = await readFile(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

export function launch() {
  return chromium.launch({
    executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
    args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'],
  });
}

/** A context whose pages may speak to their own origin only and never print an error. */
export async function context(browser, { width = 1280, height = 800, dark = false, language = 'en-GB' } = {}) {
  const made = await browser.newContext({ viewport: { width, height }, colorScheme: dark ? 'dark' : 'light', locale: language, reducedMotion: 'reduce' });
  made.setDefaultTimeout(30_000);
  if (process.env.DPAY_DIST) await fromDist(made);
  made.problems = [];
  made.on('page', (page) => {
    page.on('pageerror', (error) => made.problems.push(String(error)));
    page.on('console', (message) => {
      if (message.type() === 'error' && /Content Security Policy|Uncaught/.test(message.text())) made.problems.push(message.text());
    });
    page.on('request', (request) => {
      const url = new URL(request.url());
      if (url.hostname !== '127.0.0.1') made.problems.push(`asked ${url.origin}`);
    });
  });
  return made;
}

/** The page as it lies in `dist`, not as the binary carries it: for work on the page. */
async function fromDist(made) {
  const dist = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '../dist');
  const types = { '.js': 'text/javascript', '.css': 'text/css', '.svg': 'image/svg+xml', '.html': 'text/html' };
  await made.route((url) => !url.pathname.startsWith('/api/'), async (route) => {
    const { pathname } = new URL(route.request().url());
    const name = pathname === '/' ? 'index.html' : pathname.slice(1);
    await route.fulfill({ body: await readFile(path.join(dist, name)), contentType: types[path.extname(name)] });
  });
}

/** No rule of axe-core is broken, in what is on the page now. */
export async function accessible(page, what) {
  // Playwright evaluates outside of the page's policy, which stays as the node sends it.
  await page.evaluate(axeSource);
  const violations = await page.evaluate(async () => {
    const { violations } = await globalThis.axe.run(document, { resultTypes: ['violations'] });
    return violations.map((one) => `${one.id}: ${one.help}: ${one.nodes.map((node) => `${node.target.join(' ')} ${node.any.map((check) => check.message).join('; ')}`).join(' | ')}`);
  });
  assert.deepEqual(violations, [], `axe-core on ${what}`);
}

/** Nothing is wider than the page. */
export async function fits(page, what) {
  const [wide, inner] = await page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
  assert.ok(wide <= inner, `${what} is ${wide} px wide in a window of ${inner} px`);
}

/** Nothing on the page is still being asked for. */
export function loaded(page) {
  return until('nothing loading', async () => (await page.getByText(/^(Loading…|불러오는 중…)$/).count()) === 0);
}

/** Asks until `check` gives something; `what` names it in the failure. */
export async function until(what, check, timeout_ms = 90_000) {
  const end = Date.now() + timeout_ms;
  let last;
  for (;;) {
    try {
      const value = await check();
      if (value) return value;
      last = value;
    } catch (error) {
      last = error;
    }
    if (Date.now() > end) throw new Error(`still waiting for ${what}: ${last}`);
    await new Promise((wake) => setTimeout(wake, 200));
  }
}
