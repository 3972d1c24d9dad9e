// What the node says, in the chosen language; its own English where there are no words for it.
import type { ApiError } from '../api/client';
import type { Notice, Saying, TorrentRow } from '../api/types';
import { has, language, t, word } from '../i18n/index.svelte';
import { bytes, count, dateTime, day } from './format';

const amounts = ['units', 'limit', 'asked', 'bond'];

function filled(key: string, given: Record<string, string>, english: string): string {
  if (!has(key)) return english;
  const values: Record<string, string> = { ...given };
  for (const name of amounts) {
    const value = Number(values[name]);
    if (values[name] !== undefined && Number.isFinite(value)) values[name] = count(value, language());
  }
  if (values['free_bytes'] !== undefined) values['free_bytes'] = bytes(Number(values['free_bytes']));
  const budget = `budget_of.${values['which']}`;
  if (has(budget)) values['which'] = t(budget, values);
  if (values['reason'] !== undefined) values['reason'] = word('refuse', values['reason']);
  if (values['at'] !== undefined) values['at'] = dateTime(Number(values['at']), language());
  if (values['day'] !== undefined) values['date'] = day(Number(values['day']), language());
  const text = t(key, values);
  // A value that the sentence needs and the node did not send: the node's own sentence then.
  return text === '' || /\{\w+\}/.test(text) ? english : text;
}

export function say(saying: Saying): string {
  const text = filled(`saying.${saying.code}`, saying.values, saying.text);
  return text.charAt(0).toUpperCase() + text.slice(1);
}

/** What a torrent does, or why it does nothing. */
export function doing({ waits, state, error, peers }: TorrentRow): string {
  if (waits) return say(waits);
  return state === 'failed' && error && language() === 'en' ? sentence(error) : t(state === 'fetching_metadata' && peers === 0 ? 'state.alone' : `state.${state}`);
}

/** What a notice has in the node's language or the system's, where the page is in another one: it stands below. */
export function foreign({ values }: Notice): string | undefined {
  return language() === 'en' ? undefined : values['error'];
}

export function said(notice: Notice): string {
  const { why, code } = notice.values;
  if (foreign(notice)) {
    const here = inWords(code, notice.values['about'], notice.values['advice']);
    return filled(`notice.${notice.code}`, { ...notice.values, error: here ? [here.text, here.hint].filter(Boolean).join(' — ') : '' }, notice.text).replace(/: *$/, '.');
  }
  const reason = why !== undefined && code !== undefined ? filled(`saying.${code}`, notice.values, why) : undefined;
  const values = reason === undefined ? notice.values : { error: `${reason}.`, ...notice.values, why: reason };
  return filled(`notice.${notice.code}`, values, notice.text);
}

/** With a capital, unless it begins with a name, and a full stop; settings by the names they have on the page. */
function sentence(text: string): string {
  const named = text.replace(/`([^`]+)`/g, '“$1”').replace(/\b[a-z]+\.[a-z_]+/g, (key) => (has(`setting.${key}`) ? `“${word('setting', key)}”` : key));
  return named.replace(/^[a-z](?=[a-z]*[ ,])/, (letter) => letter.toUpperCase()) + (/[^.!?]$/.test(named) ? '.' : '');
}

/** What the node warns of where it did what it was asked. */
export function warning(text: string): Refusal {
  return language() === 'en' ? { text: sentence(text) } : { text: t('settings.warning'), foreign: sentence(text) };
}

export interface Refusal {
  text: string;
  hint?: string;
  /** What the other side said, or the node's own words, where the page is in another language. */
  foreign?: string;
}

/** A problem by its codes: what happened, and to what, and what to do; none where the page has no words for it. */
function inWords(code = '', about?: string | null, advice?: string): Refusal | undefined {
  const [what, todo] = [`problem.${code}`, `advice.${advice}`];
  if (!has(what)) return undefined;
  const text = about ? `${t(what)}: ${about}` : sentence(t(what));
  return has(todo) ? { text, hint: sentence(t(todo)) } : { text };
}

/** A refusal: what happened, and what to do. */
export function refusal(error: ApiError): Refusal {
  if (error.status === 0) return { text: t('error.unreachable'), hint: t('error.unreachable_hint') };
  const part = error.problem?.in_part;
  const names = (keys: string[]): string => keys.map((key) => `“${word('setting', key)}”`).join(', ');
  if (part) return { text: t('error.in_part', { holding: names(part.holding), refused: names(part.refused), home: error.problem?.about ?? '' }), hint: t('error.in_part_hint') };
  const [text, hint] = [sentence(error.message), sentence(error.hint ?? '')];
  const here = language() === 'en' ? undefined : inWords(error.code, error.problem?.about, error.problem?.advice);
  return here ? { ...here, foreign: here.hint ? text : `${text} ${hint}` } : { text, hint };
}
