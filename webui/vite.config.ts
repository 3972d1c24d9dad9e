import { readFileSync } from 'node:fs';
import { svelte } from '@sveltejs/vite-plugin-svelte';
import { defineConfig, type Plugin } from 'vite';

/** Languages have the same keys in the same order (a test sees to it): English brings them, the others their texts. */
function texts(): Plugin {
  const virtual = '\0texts-';
  return {
    name: 'texts',
    enforce: 'pre',
    resolveId: (source) => {
      const code = /^\.\/(\w+)\.json$/.exec(source)?.[1];
      return code !== undefined && code !== 'en' ? `${virtual}${code}.js` : null;
    },
    load: (id) => {
      if (!id.startsWith(virtual)) return null;
      const file = new URL(`src/i18n/${id.slice(virtual.length, -3)}.json`, import.meta.url);
      const values = Object.values(JSON.parse(readFileSync(file, 'utf8')) as Record<string, string>);
      return `import en from '/src/i18n/en.json';\nconst texts = ${JSON.stringify(values)};\nexport default Object.fromEntries(Object.keys(en).map((key, i) => [key, texts[i]]));`;
    },
  };
}

// The result is committed and compared, so names carry no hashes and nothing depends on the machine.
// Nothing is inlined as `data:`: the page runs under `default-src 'self'`.
export default defineConfig({
  base: './',
  plugins: [texts(), svelte()],
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
        chunkFileNames: 'assets/[name].js',
        assetFileNames: 'assets/[name][extname]',
      },
    },
  },
  server: {
    port: 5173,
    proxy: { '/api': { target: process.env['DPAY_NODE'] ?? 'http://127.0.0.1:7481', changeOrigin: true } },
  },
});
