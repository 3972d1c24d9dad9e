import { vitePreprocess } from '@sveltejs/vite-plugin-svelte';

const owners = new Map();

/** A short class for each component's styles; its path decides it, so that it is the same on every machine. */
function cssHash({ hash, filename }) {
  const path = filename.replaceAll('\\', '/').replace(/^.*src\//, '');
  const name = `_${hash(path).slice(-3)}`;
  if ((owners.get(name) ?? path) !== path) throw new Error(`${path} and ${owners.get(name)} would share the class ${name}: rename one`);
  owners.set(name, path);
  return name;
}

export default { preprocess: vitePreprocess(), compilerOptions: { runes: true, cssHash } };
