// Pages live in the fragment: `#/torrents/HASH?tab=files`. The server never sees which page is open.

interface Route {
  /** Path in parts: `#/torrents/abc` is `['torrents', 'abc']`. */
  parts: string[];
  query: URLSearchParams;
}

function read(): Route {
  const [path = '', query = ''] = location.hash.replace(/^#\/?/, '').split('?');
  return { parts: path.split('/').filter(Boolean).map(decoded), query: new URLSearchParams(query) };
}

/** As it stands where somebody typed an escape that is none. */
function decoded(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

const state = $state<{ route: Route }>({ route: read() });
/** Whether there is a place of this page to go back to. */
let moved = false;
window.addEventListener('hashchange', (event) => {
  moved ||= event.isTrusted;
  state.route = read();
});

export function route(): Route {
  return state.route;
}

export function go(path: string, replace = false): void {
  const hash = `#/${path.replace(/^\//, '')}`;
  if (hash === location.hash) return;
  if (replace) {
    history.replaceState(null, '', hash);
    state.route = read();
  } else location.hash = hash;
}

/** To where one came from, else to `path`. */
export function back(path: string): void {
  if (moved) history.back();
  else go(path, true);
}
