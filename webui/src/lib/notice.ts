// The words for a notice in the chosen language; the node's own English where there are none.
import type { Notice } from '../api/types';
import { has, language, t } from '../i18n/index.svelte';
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
  if (values['which'] !== undefined && has(`budget.${values['which']}`)) values['which'] = t(`budget.${values['which']}` as Parameters<typeof t>[0]);
  return t(key, values);
}
