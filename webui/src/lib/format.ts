// Numbers, sizes, times and money as people read them. Nothing here knows the page.

export interface Currency {
  name: string;
  units_per_credit: number;
}

const kib = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'] as const;

/** 1 536 → "1.5 KiB": three digits that matter. */
export function bytes(value: number): string {
  let step = 0;
  let rest = Math.max(0, value);
  while (rest >= 1000 && step < kib.length - 1) {
    rest /= 1024;
    step += 1;
  }
  const digits = step === 0 || rest >= 100 ? 0 : rest >= 10 ? 1 : 2;
  return `${rest.toFixed(digits)} ${kib[step]}`;
}

/** Bytes a second; a dash where nothing moves, so that what moves is seen. */
export function speed(bytesPerSecond: number): string {
  return bytesPerSecond < 1 ? '–' : `${bytes(bytesPerSecond)}/s`;
}

/** The language as the person's region writes it: "en" is "en-GB" where the browser says so. */
export function regional(language: string): string {
  const wanted = typeof navigator === 'undefined' ? [] : navigator.languages;
  return wanted.find((one) => one === language || one.startsWith(`${language}-`)) ?? language;
}
const made = new Map<string, Intl.NumberFormat>();
/** Making one takes longer than using it a thousand times. */
function number(locale: string, options?: Intl.NumberFormatOptions): Intl.NumberFormat {
  const key = `${locale} ${JSON.stringify(options)}`;
  const found = made.get(key) ?? new Intl.NumberFormat(regional(locale), options);
  made.set(key, found);
  return found;
}

export function count(value: number, locale: string): string {
  return number(locale).format(value);
}

/** For the narrow header: whole up to six digits, "1.2M" beyond. */
export function brief(value: number, locale: string): string {
  return value < 1e6 ? count(value, locale) : number(locale, { notation: 'compact', maximumFractionDigits: 2 }).format(value);
}

/** Units in a broker's currency: as many decimals as one unit needs, at most six, and no more zeros than two. */
export function credits(units: number, currency: Currency, locale: string): string {
  const decimals = Math.min(6, Math.max(2, Math.ceil(Math.log10(Math.max(1, currency.units_per_credit)))));
  const format = number(locale, { minimumFractionDigits: 2, maximumFractionDigits: decimals });
  return `${format.format(units / currency.units_per_credit)} ${currency.name}`;
}

/** Whole percents, but never 100 % before the end nor 0 % after the start. */
export function percent(part: number, whole: number): string {
  if (whole <= 0) return '0 %';
  const value = (part / whole) * 100;
  if (part >= whole) return '100 %';
  const shown = value < 10 ? Math.floor(value * 10) / 10 : Math.floor(value);
  return `${shown} %`;
}

/** Days, hours, minutes, seconds. */
export type TimeWords = readonly [string, string, string, string];

/** "2 h 5 min"; the two largest parts. `-` where nobody knows. */
export function duration(seconds: number | null | undefined, words: TimeWords = ['{n} d', '{n} h', '{n} min', '{n} s']): string {
  if (seconds === null || seconds === undefined || !Number.isFinite(seconds)) return '–';
  const s = Math.max(0, Math.round(seconds));
  const days = Math.floor(s / 86_400);
  if (days > 999) return '–';
  const parts = [days, Math.floor((s % 86_400) / 3600), Math.floor((s % 3600) / 60), s % 60];
  const first = parts.findIndex((part) => part > 0);
  if (first < 0) return (words[3]).replace('{n}', '0');
  return parts.slice(first, first + 2).map((part, i) => (words[first + i] ?? '').replace('{n}', String(part))).join(' ');
}

export function dateTime(unixMs: number, locale: string): string {
  return new Intl.DateTimeFormat(regional(locale), { dateStyle: 'medium', timeStyle: 'short' }).format(unixMs);
}

export function time(unixMs: number, locale: string): string {
  return new Intl.DateTimeFormat(regional(locale), { timeStyle: 'medium' }).format(unixMs);
}

/** A day counted from 1970-01-01, as the protocol counts. */
export function day(days: number, locale: string): string {
  return new Intl.DateTimeFormat(regional(locale), { dateStyle: 'medium', timeZone: 'UTC' }).format(days * 86_400_000);
}

/** Long hex, shortened in the middle. */
export function short(hex: string, keep = 8): string {
  return hex.length <= keep * 2 + 1 ? hex : `${hex.slice(0, keep)}…${hex.slice(-4)}`;
}
