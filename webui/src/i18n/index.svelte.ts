// One JSON file a language; English names the keys. `{name}` is filled in, `{n|one|many}` chooses by number.
// A browser loads the one that it shows.
import type en from './en.json';
import { count, type TimeWords } from '../lib/format';

export type Key = keyof typeof en;
export type Language = 'en' | 'ko';
type Values = Record<string, string | number>;

type Table = Record<Key, string>;

/** Of the page. Each file that it loads later says its own, which is another one after an upgrade. */
declare const VERSION: string;

const tables: Record<Language, () => Promise<{ default: Table; version?: string }>> = { en: () => import('./en.json'), ko: () => import('./ko.json') };
export const languages: readonly { code: Language; name: string }[] = [
  { code: 'en', name: 'English' },
  { code: 'ko', name: '한국어' },
];

let state = $state.raw<{ language: Language; table: Table }>({ language: 'en', table: {} as Table });

export function language(): Language {
  return state.language;
}

/** Before anything is shown: the language that the page was opened in. */
export async function ready(): Promise<void> {
  const code = document.documentElement.lang === 'ko' ? 'ko' : 'en';
  const { default: table, version } = await tables[code]();
  if (version !== VERSION) throw new Error(`${code} is of ${version}, the page of ${VERSION}`);
  state = { language: code, table };
}

/** How often a language was chosen: what comes late for an earlier choice is for nothing. */
let choices = 0;

/**
 * Where the language that was chosen last is of a later version, the page is too from now on.
 *
 * @throws if the node does not give that language; the page stays as it is.
 */
export async function setLanguage(code: Language): Promise<void> {
  const mine = ++choices;
  const file = await tables[code]().catch((error: unknown) => {
    if (mine === choices) throw error;
  });
  if (!file || mine !== choices) return;
  const { default: table, version } = file;
  try {
    localStorage.setItem('dpay.language', code);
  } catch {
    // Without storage the choice lasts as long as the page.
  }
  if (version !== VERSION) return location.reload();
  state = { language: code, table };
  document.documentElement.lang = code;
}

/** The text of `key` in the chosen language. */
export function t(key: Key, values: Values = {}): string {
  return state.table[key].replace(/\{(\w+)(?:\|([^|}]*)\|([^}]*))?\}/g, (whole, name: string, one?: string, many?: string) => {
    const value = values[name];
    if (value === undefined) return whole;
    if (many === undefined) return String(value);
    return (Number(value) === 1 ? one : many) ?? '';
  });
}

export function has(key: string): key is Key {
  return key in state.table;
}

/** The text of `prefix` + `.` + `code` where there is one, else `code` itself: for words that the node chooses. */
export function word(prefix: string, code: string): string {
  const key = `${prefix}.${code}`;
  return has(key) ? t(key) : code.replaceAll('_', ' ');
}

/** An amount with its word. */
export function units(n: number): string {
  return `${count(n, language())} ${t('money.units', { n })}`;
}

/** A span of time in the chosen language. */
export function timeWords(): TimeWords {
  return [t('time.d'), t('time.h'), t('time.min'), t('time.s')];
}
