// What this page never asks of its libraries is left out of what is built. Each line is a fact about the page, and
// the build fails when a library no longer has the place that it speaks of.
import type { Plugin } from 'vite';

type Facts = readonly (readonly [RegExp, string])[];

/** The page is made in the browser only; there is nothing from a server to take over. */
const svelte: Facts = [
  [/export let hydrating = false;/, 'export const hydrating = false;'],
  [/export let hydrate_node;/, 'export const hydrate_node = undefined;'],
  [/(function set_hydrating\(value\)) \{[^}]*\}/, '$1 {}'],
  [/(function set_hydrate_node\(node\)) \{[^]*?\n\}/, '$1 {}'],
  [/(function reset\(node\)) \{[^]*?\n\}/, '$1 {}'],
  [/(function next\(count = 1\)) \{[^]*?\n\}/, 'function next() {}'],
];

/** Nothing stands in for a part that failed: an error is the page's, which says so. Nor is anything rendered before. */
const boundary: Facts = [
  [/if \(!this\.#props\.onerror && !this\.#props\.failed\) \{\s*throw error;\s*\}/, 'throw error;'],
  [/\t#handle_error\(error\) \{[^]*?\n\t\}/, ''],
  [/\t#create_reset\(error\) \{[^]*?\n\t\}/, ''],
  [/\t#hydrate_failed_content\(error\) \{[^]*?\n\t\}/, ''],
  [/\t#hydrate_pending_content\(\) \{[^]*?\n\t\}/, ''],
  [/\t#hydrate_resolved_content\(\) \{[^]*?\n\t\}/, ''],
  [/if \(hydrating\) \{\s*const comment_data[^]*?\} else \{\s*(this\.#render\(\);)\s*\}/, '$1'],
  [/if \(current_batch\?\.is_fork\) \{[^]*?\} else \{\s*this\.#handle_error\(error\);\s*\}/, ''],
];

/** No markup waits for a promise. */
const async: Facts = [
  [/var pending = blockers\.filter[^;]*;/, ''],
  [/if \(async\.length === 0 && pending\.length === 0\) \{\s*fn\(deriveds\);\s*return;\s*\}/, 'fn(deriveds);\n\treturn;'],
];

/** A part that is loaded later is one file, which asks for no other. */
const preload: Facts = [[/^[^]*$/, 'export const __vitePreload = (load) => load();']];

/** Charts of lines and bars on linear axes, with a legend, names and times by the page, and nothing to drag or to zoom. */
const uplot: Facts = [
  [/const mode = self\.mode;/, 'const mode = 1;'],
  [/(?<=[( !|&]|^\t+if \()legend\.(?:show|live)\b/gm, 'false'],
  [/\bselect\.show\b/g, 'false'],
  [/const cursorFocus = [^;]*;/, 'const cursorFocus = false;'],
  [/const cursorOnePt = [^;]*;/, 'const cursorOnePt = false;'],
  [/\b(?:sc|wsc|scale|scaleX)\.distr\b/g, '1'],
  [/(?:let|const) (distr|xScaleDistr) = 1;/g, ''],
  [/\bdistr == (?:3|4|100)/g, 'false'],
  [/\bxScaleDistr\b/g, '1'],
  [/let isTime = [^;]*;/g, 'const isTime = false;'],
  [/const \[ timeIncrs(?:Ms|S), .*\] = genTimeStuffs\(.*\);/g, ''],
  [/const _time(?:AxisSplits|AxisVals|SeriesVal) .*;/g, ''],
  [/uPlot\.(?:join|fmtDate|tzDate|rangeLog|rangeAsinh|sync) *= \w+;/g, ''],
  [/\(paths\.(?:stepped|spline) *= \w+\);/g, ''],
];

const places: readonly (readonly [string, Facts])[] = [
  ['/svelte/src/internal/client/dom/hydration.js', svelte],
  ['/svelte/src/internal/client/dom/blocks/boundary.js', boundary],
  ['vite/preload-helper.js', preload],
  ['/svelte/src/internal/client/reactivity/async.js', async],
  ['/uplot/dist/uPlot.esm.js', uplot],
];

export function lean(): Plugin {
  return {
    name: 'lean',
    apply: 'build',
    enforce: 'pre',
    transform: (code, id) => {
      const facts = places.find(([path]) => id.endsWith(path))?.[1];
      return facts?.reduce((text, [place, said]) => {
        place.lastIndex = 0;
        if (!place.test(text)) throw new Error(`${id} has no ${place}`);
        place.lastIndex = 0;
        return text.replace(place, said);
      }, code) ?? null;
    },
  };
}
