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

/** A method of a class, left out. */
const without = (name: string): readonly [RegExp, string] => [new RegExp(`^\\t${name}\\([^\\n]*\\) \\{[^]*?\\n\\t\\}$`, 'm'), ''];
/** A field of a class, left out. */
const noField = (name: string): readonly [RegExp, string] => [new RegExp(`^\\t${name} = [^;]*;$`, 'm'), ''];

/** The page is the only boundary: nothing in it is waited for, and nothing stands in for a part that failed: an error is the page's, which says so. */
const boundary: Facts = [
  [/^export class Boundary \{[^]*?\n\}$/m, `export class Boundary {
	is_pending = true;
	#deferred = new Map();
	constructor(node, _, children) {
		block(() => {
			branch(() => {
				active_effect.b = this;
				active_effect.f |= BOUNDARY_EFFECT;
				children(node);
			});
			this.is_pending = false;
			current_batch.transfer_reactions(this.#deferred);
		}, flags);
	}
	defer_effect(effect) {
		defer_effect(effect, this.#deferred);
	}
	error(error) {
		throw error;
	}
}
`],
];

/** No markup waits for a promise, and no change is tried out before it is made: a batch of changes is done at once, and no two go on side by side. */
const batch: Facts = [
  ...['async_deriveds', '#commit_callbacks', '#discard_callbacks', '#pending', '#blocking_pending', '#deferred', '#new_effects', '#skipped_branches', '#unskipped_branches', 'is_fork', '#decrement_queued'].map(noField),
  ...['#is_deferred', '#is_skipped', 'skip_effect', 'unskip_effect', '#commit', 'increment', 'decrement', 'activate', 'deactivate', 'discard', 'register_created_effect', 'oncommit', 'ondiscard', 'settled', 'apply'].map(without),
  [/if \(!this\.#is_deferred\(\)\) this\.discard\(\);/, 'this.#unlink();'],
  [/^\t\tif \(this\.#is_deferred\(\)\) \{[^]*?\n\t\t\}$/m, ''],
  [/ \|\| this\.#skipped_branches\.has\(effect\)/, ''],
  [/^\t\tfor \(const fn of this\.#commit_callbacks\) fn\(this\);\s*this\.#commit_callbacks\.clear\(\);/m, ''],
  [/this\.#deferred\?\.resolve\(\);/, ''],
  [/this\.#pending === 0 && /, ''],
  [/^\t\t\tif \(async_mode_flag\) \{[^]*?\n\t\t\t\}$/m, ''],
  [/!batch\.is_fork && /, ''],
  [/^\t\tfor \(const \[effect, deferred\] of batch\.async_deriveds\) \{[^]*?\n\t\t\}$/m, ''],
  [/batch\.async_deriveds\.clear\(\);/, ''],
  [/ && !this\.async_deriveds\.has\(effect\)/, ''],
  [/this\.oncommit\(\(\) => batch\.discard\(\)\);/, ''],
  [/if \(!this\.is_fork\) \{\s*(source\.v = value;)\s*\}/, '$1'],
  [/this\.apply\(\);/, ''],
  [/^(export function (?:eager|fork)\(fn\)) \{[^]*?\n\}$/gm, '$1 {}'],
  [/export let batch_values = null;/, 'export const batch_values = null;'],
  [/^\t\t\tbatch_values = null;$/m, ''],
];
const deriveds: Facts = [
  [/if \(!current_batch\?\.is_fork \|\| derived\.deps === null\)/, 'if (true)'],
  [/ \|\| current_batch\?\.is_fork/, ''],
];
const runtime: Facts = [[/var is_fork = current_batch\?\.is_fork;/, 'const is_fork = false;']];
const effects: Facts = [
  [/current_batch\?\.register_created_effect\(effect\);/, ''],
  // Nothing comes or goes by a transition.
  [/(export function pause_effect\(effect, callback, destroy = true\)) \{[^]*?\n\}/, '$1 {\n\teffect.f |= PAUSED;\n\tpause_children(effect, [], true);\n\tif (destroy) destroy_effect(effect);\n\tcallback?.();\n}'],
  [/^\tvar t = effect\.nodes && effect\.nodes\.t;\s*if \(t !== null\) \{\s*for \(const transition of t\) \{\s*if \([^]*?\n\t\}$/gm, ''],
];
/** Nothing has to run before the batch it belongs to. */
const sources: Facts = [
  [/if \(!batch\.is_fork && eager_effects\.size > 0 && !eager_effects_deferred\) \{[^}]*\}/, ''],
  [/if \(\(flags & EAGER_EFFECT\) !== 0\) \{[^]*?\n\t\t\} else /, ''],
];

/** What is shown is put in its place at once, and what is not is gone at once. */
const branches: Facts = [
  [/#batches = new Map\(\);/, ''],
  [/#offscreen = new Map\(\);/, ''],
  [/#outroing = new Set\(\);/, ''],
  [/\t#commit = \(batch\) => \{[^]*?\n\t\};\n/, ''],
  [/\t#discard = \(batch\) => \{[^]*?\n\t\};\n/, ''],
  [/\tensure\(key, fn\) \{[^]*?\n\t\}\n/, `	ensure(key, fn) {
		if (fn && !this.#onscreen.has(key)) this.#onscreen.set(key, branch(() => fn(this.anchor)));
		for (const [k, effect] of this.#onscreen) if (k !== key) {
			pause_effect(effect);
			this.#onscreen.delete(k);
		}
	}
`],
];
const each: Facts = [
  [/var defer = should_defer_append\(\);/, 'const defer = false;'],
  [/var is_animated = [^;]*;/, 'const is_animated = false;'],
  [/pending\.set\(batch, keys\);/, ''],
  [/^\t\tstate\.pending\.delete\(batch\);$/m, ''],
  [/ && state\.pending\.size === 0/, ''],
  [/^\tif \(state\.pending\.size > 0\) \{[^]*?\n\t\}$/m, ''],
  [/if \(preserved_effects\?\.has\(e\)\) \{[^]*?\} else \{\s*(destroy_effect\([^;]*;)\s*\}/, '$1'],
  [/if \(group\) \{[^]*?\} else \{\s*(remaining -= 1;)\s*\}/, '$1'],
  [/^\tif \(remaining === 0\) \{/m, '{'],
  [/^\t\} else \{\s*group = \{[^]*?\n\t\}$/m, '}'],
  [/^(\t+)if \(state\.outrogroups !== null\) \{[^]*?\n\1\}$/gm, ''],
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
  ['/svelte/src/internal/client/dom/blocks/branches.js', branches],
  ['/svelte/src/internal/client/dom/blocks/each.js', each],
  ['/svelte/src/internal/client/reactivity/batch.js', batch],
  ['/svelte/src/internal/client/reactivity/deriveds.js', deriveds],
  ['/svelte/src/internal/client/reactivity/effects.js', effects],
  ['/svelte/src/internal/client/reactivity/sources.js', sources],
  ['/svelte/src/internal/client/runtime.js', runtime],
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
