import { createHash } from 'node:crypto';
import { readFileSync, readdirSync } from 'node:fs';
import { svelte } from '@sveltejs/vite-plugin-svelte';
import { defineConfig, type Plugin } from 'vite';
import { lean } from './lean.ts';

const source = new URL('src/', import.meta.url);
const read = (name: string): string => readFileSync(new URL(name, source), 'utf8');
const table = (code: string): Record<string, string> => JSON.parse(read(`i18n/${code}.json`)) as Record<string, string>;

/** Of what the page is built from. Each file that is loaded later says it, and so does the page: after an upgrade the two differ. */
const version = createHash('sha256')
  .update(JSON.stringify([...readdirSync(source, { recursive: true, encoding: 'utf8' }).filter((name) => /\.\w+$/.test(name)).sort(), '../lean.ts', '../vite.config.ts', '../package-lock.json'].map((name) => [name, read(name)])))
  .digest('hex').slice(0, 12);

const node = ['beat', 'entry', 'folder', 'life'].map((file) => readFileSync(new URL(`../src/session/${file}.rs`, import.meta.url), 'utf8')).join('');

/** The node's own English says it, be it in the same words. */
const unsaidHere = (id: string, key: string, text = ''): boolean => id.endsWith('-en.js') && (key.startsWith('advice.') || (key.startsWith('saying.') && node.includes(`"${text}"`)));

/**
 * Languages have the same keys in the same order (a test sees to it), so each brings its texts only. Keys that
 * the page puts together as it runs are kept; the others are numbers in what is built, and are refused if nobody says them.
 * Of another version the numbers mean other texts.
 */
function texts(): Plugin {
  const virtual = '\0texts-';
  const code = readdirSync(source, { recursive: true, encoding: 'utf8' }).filter((name) => /\.(svelte|ts)$/.test(name)).map(read).join('\n');
  const beginnings = [...code.matchAll(/`([\w.]+\.\w*)\$\{/g), ...code.matchAll(/\bword\('(\w+)'/g)].map(([, begin = '']) => (begin.includes('.') ? begin : `${begin}.`));
  const keys = Object.keys(table('en'));
  const kept = keys.filter((key) => beginnings.some((begin) => key.startsWith(begin)));
  const numbered = keys.filter((key) => !kept.includes(key));
  const unsaid = numbered.filter((key) => !code.includes(`'${key}'`));
  if (unsaid.length > 0) throw new Error(`nobody says ${unsaid.join(', ')}`);
  const numbers = new Map(numbered.map((key, i) => [key, (kept.length + i).toString(36)]));
  return {
    name: 'texts',
    enforce: 'pre',
    config: () => ({ define: { VERSION: JSON.stringify(version) } }),
    resolveId: (name) => {
      const language = /^\.\/(\w+)\.json$/.exec(name)?.[1];
      return language === undefined ? null : `${virtual}${language}.js`;
    },
    load: (id) => {
      if (!id.startsWith(virtual)) return null;
      const language = table(id.slice(virtual.length, -3));
      const said = [...kept, ...numbered].map((key) => (unsaidHere(id, key, language[key]) ? '' : language[key]));
      return `export const version = '${version}';\nconst kept = ${JSON.stringify(kept)};\nexport default Object.fromEntries(${JSON.stringify(said)}.map((text, i) => [kept[i] ?? i.toString(36), text]));`;
    },
    transform: (code, id) => (/\/src\/[^?]*\.(svelte|ts)$/.test(id) ? code.replace(/'([a-z_]+\.[\w.]+)'/g, (whole, key: string) => (numbers.has(key) ? `'${numbers.get(key)}'` : whole)) : null),
  };
}

// The result is committed and compared, so names carry no hashes and nothing depends on the machine.
// Nothing is inlined as `data:`: the page runs under `default-src 'self'`.
export default defineConfig({
  base: './',
  plugins: [texts(), lean(), svelte()],
  build: {
    outDir: 'dist',
    emptyOutDir: true,
    target: ['chrome123', 'firefox128', 'safari17.5'],
    cssTarget: ['chrome123', 'firefox128', 'safari17.5'],
    assetsInlineLimit: 0,
    cssCodeSplit: false,
    modulePreload: { polyfill: false },
    reportCompressedSize: false,
    rolldownOptions: {
      output: {
        entryFileNames: 'assets/[name].js',
        chunkFileNames: ({ name }) => `assets/${name.replace(/^.*texts-/, '')}.js`,
        assetFileNames: 'assets/[name][extname]',
      },
    },
  },
  server: {
    port: 5173,
    proxy: { '/api': { target: process.env['DPAY_NODE'] ?? 'http://127.0.0.1:7481', changeOrigin: true } },
  },
});
