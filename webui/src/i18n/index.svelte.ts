// One JSON file a language; English names the keys. `{name}` is filled in, `{n|one|many}` chooses by number.
import en from './en.json';
import ko from './ko.json';
import type { TimeWords } from '../lib/format';

export type Key = keyof typeof en;
export type Language = 'en' | 'ko';
type Values = Record<string, string | number>;

const tables: Record<Language, Record<Key, string>> = { en, ko };
export const languages: readonly { code: Language; name: string }[] = [
  { code: 'en', name: 'English' },
  { code: 'ko', name: '한국어' },
];

const chosen = document.documentElement.lang === 'ko' ? 'ko' : 'en';
const state = $state<{ language: Language }>({ language: chosen });

export function language(): Language {
  return state.language;
}

export function setLanguage(code: Language): void {
  state.language = code;
  document.documentElement.lang = code;
  try {
    localStorage.setItem('dpay.language', code);
  } catch {
    // Without storage the choice lasts as long as the page.
  }
}

/** The text of `key` in the chosen language. */
export function t(key: Key, values: Values = {}): string {
  return tables[state.language][key].replace(/\{(\w+)(?:\|([^|}]*)\|([^}]*))?\}/g, (whole, name: string, one?: string, many?: string) => {
    const value = values[name];
    if (value === undefined) return whole;
    if (many === undefined) return String(value);
    return (Number(value) === 1 ? one : many) ?? '';
  });
}

export function has(key: string): key is Key {
  return key in en;
}

/** The text of `prefix` + `.` + `code` where there is one, else `code` itself: for words that the node chooses. */
export function word(prefix: string, code: string): string {
  const key = `${prefix}.${code}`;
  return has(key) ? t(key) : code.replaceAll('_', ' ');
}

/** A span of time in the chosen language. */
export function timeWords(): TimeWords {
  return [t('time.d'), t('time.h'), t('time.min'), t('time.s')];
}
