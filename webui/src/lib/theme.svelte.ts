// Light, dark, or as the system has it.

export type Theme = 'system' | 'light' | 'dark';

function stored(): Theme {
  const value = document.documentElement.dataset.theme;
  return value === 'light' || value === 'dark' ? value : 'system';
}

const dark = matchMedia('(prefers-color-scheme: dark)');
const paper = matchMedia('print');
const state = $state({ theme: stored(), systemDark: dark.matches, printed: paper.matches });
dark.addEventListener('change', () => (state.systemDark = dark.matches));
// Before a page is printed there is still time to draw; when the medium has changed there may be none.
paper.addEventListener('change', () => (state.printed = paper.matches));
window.addEventListener('beforeprint', () => (state.printed = true));
window.addEventListener('afterprint', () => (state.printed = false));

export function theme(): Theme {
  return state.theme;
}

/** Whether the page is dark now, which it never is on paper; charts read their colours again when this changes. */
export function isDark(): boolean {
  if (state.printed) return false;
  return state.theme === 'dark' || (state.theme === 'system' && state.systemDark);
}

export function setTheme(value: Theme): void {
  state.theme = value;
  if (value === 'system') delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = value;
  try {
    if (value === 'system') localStorage.removeItem('dpay.theme');
    else localStorage.setItem('dpay.theme', value);
  } catch {
    // Without storage the choice lasts as long as the page.
  }
}

/** A colour token as it is now, light or dark. */
export function colour(token: string): string {
  const probe = document.createElement('span');
  probe.hidden = true;
  probe.style.colorScheme = isDark() ? 'dark' : 'light';
  probe.style.color = `var(${token})`;
  document.body.append(probe);
  const value = getComputedStyle(probe).color;
  probe.remove();
  return value;
}
