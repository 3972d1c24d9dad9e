// The words for a notice in the chosen language; the node's own English where there are none.
import type { Notice } from '../api/types';
import { has, language, t, word } from '../i18n/index.svelte';
import { bytes, count } from './format';

export function said(notice: Notice): string {
  const key = `notice.${notice.code}`;
  if (!has(key)) return notice.text;
  const values: Record<string, string> = { ...notice.values };
  for (const name of ['units', 'limit', 'asked']) {
    const value = Number(values[name]);
    if (values[name] !== undefined && Number.isFinite(value)) values[name] = count(value, language());
  }
  if (values['free_bytes'] !== undefined) values['free_bytes'] = bytes(Number(values['free_bytes']));
  if (values['which'] !== undefined) values['which'] = word('budget_of', values['which']);
  const text = t(key, values);
  // A value that the sentence needs and the notice lacks: the node's own sentence then.
  return /\{\w+\}/.test(text) ? notice.text : text;
}
