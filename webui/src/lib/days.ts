// Days by UTC, as the node counts them in budgets and reports.
import { regional } from './format';

export function day(moment: Date): string {
  return moment.toISOString().slice(0, 10);
}

/** So many days before `from`. */
export function daysBefore(from: string, days: number): string {
  return day(new Date(Date.parse(`${from}T00:00:00Z`) - days * 86_400_000));
}

/** At most so many days, weeks or months up to `last`, none of them left out: a gap in time is a gap in a chart. */
export function upTo(last: string, first: string, by: 'day' | 'week' | 'month', most: number): string[] {
  const keys = [last];
  while (keys.length < most && (keys[0] ?? '') > first) {
    const before = new Date(`${keys[0]}T00:00:00Z`);
    if (by === 'month') before.setUTCMonth(before.getUTCMonth() - 1);
    else before.setUTCDate(before.getUTCDate() - (by === 'week' ? 7 : 1));
    keys.unshift(day(before).slice(0, last.length));
  }
  return keys;
}

/** "5 Dec" of "2026-12-05"; other keys as they are. */
export function short(key: string, locale: string, by: string): string {
  const date = Date.parse(`${key}T00:00:00Z`);
  if (Number.isNaN(date)) return key;
  const format: Intl.DateTimeFormatOptions = by === 'month' ? { year: 'numeric', month: 'short' } : { month: 'short', day: 'numeric' };
  return new Intl.DateTimeFormat(regional(locale), { ...format, timeZone: 'UTC' }).format(date);
}

/** The whole date of a row, for tables. */
export function long(key: string, locale: string, by: 'day' | 'week' | 'month' | 'torrent' | 'peer', label: string): string {
  const date = Date.parse(`${key}T00:00:00Z`);
  if (by === 'torrent' || by === 'peer' || Number.isNaN(date)) return label;
  const format: Intl.DateTimeFormatOptions = by === 'month' ? { year: 'numeric', month: 'long' } : { month: 'short', day: 'numeric', weekday: 'short', ...(key.slice(0, 4) === day(new Date()).slice(0, 4) ? {} : { year: 'numeric' }) };
  return new Intl.DateTimeFormat(regional(locale), { ...format, timeZone: 'UTC' }).format(date);
}
