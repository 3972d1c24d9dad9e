// Which torrents the list shows, in which order. Pure, since it runs every second over thousands of rows.
import type { TorrentRow } from '../api/types';

export const filters = ['all', 'asking', 'downloading', 'queued', 'seeding', 'active', 'paused', 'money', 'error'] as const;
export type Filter = (typeof filters)[number];
/** Those that are shown only while something passes them. */
export const rare: readonly Filter[] = ['asking', 'queued', 'error'];
export const columns = ['name', 'size', 'progress', 'down', 'up', 'eta', 'peers', 'paid', 'earned', 'ratio', 'added'] as const;
export type Column = (typeof columns)[number];
/** Columns beside the name that one may have, each with its width in pixels; on a narrow page, what a row says of them. */
const widths = { down: 84, up: 84, eta: 84, peers: 96, paid: 92, earned: 88, ratio: 56, size: 78, added: 100 };
export type Shown = keyof typeof widths;
export const choosable = Object.keys(widths) as Shown[];
const kept = 'dpay.columns';

/** Those that were chosen in this browser. */
export function readColumns(): Shown[] {
  try {
    const chosen: unknown = JSON.parse(localStorage.getItem(kept) ?? '');
    return choosable.filter((column) => (chosen as Shown[]).includes(column));
  } catch {
    return choosable.slice(0, 7);
  }
}

export function keepColumns(chosen: Shown[]): void {
  try {
    localStorage.setItem(kept, JSON.stringify(chosen));
  } catch {
    // Without storage the choice lasts as long as the page.
  }
}

/** Those of them that there is room for, in their order, and what the grid makes of them. */
export function fitting(chosen: readonly Shown[], width: number): { columns: Shown[]; template: string } {
  let room = width - 290;
  const columns = choosable.filter((column) => chosen.includes(column) && (room -= widths[column] + 12) >= 0);
  return { columns, template: `22px minmax(220px, 1fr) ${columns.map((column) => `${widths[column]}px`).join(' ')}` };
}
export interface Sort {
  by: Column;
  descending: boolean;
}

export function passes(row: TorrentRow, filter: Filter): boolean {
  switch (filter) {
    case 'all':
      return true;
    case 'downloading':
      return row.state === 'downloading' || row.state === 'fetching_metadata' || row.state === 'checking';
    case 'asking':
      return row.state === 'asking';
    case 'queued':
      return row.state === 'queued';
    case 'seeding':
      return row.state === 'seeding';
    case 'active':
      return row.down_bytes_per_s > 0 || row.up_bytes_per_s > 0;
    case 'paused':
      return row.state === 'paused';
    case 'money':
      return row.units_paid > 0 || row.units_earned > 0;
    case 'error':
      return row.state === 'failed';
  }
}

export function counts(rows: Iterable<TorrentRow>): Record<Filter, number> {
  const result = Object.fromEntries(filters.map((filter) => [filter, 0])) as Record<Filter, number>;
  for (const row of rows) for (const filter of filters) if (passes(row, filter)) result[filter] += 1;
  return result;
}

const keys: Record<Exclude<Column, 'name'>, (row: TorrentRow) => number> = {
  size: (row) => row.wanted_bytes,
  progress: (row) => (row.progress),
  down: (row) => row.down_bytes_per_s,
  up: (row) => row.up_bytes_per_s,
  eta: (row) => row.eta_s ?? Number.MAX_SAFE_INTEGER,
  peers: (row) => row.peers,
  paid: (row) => row.units_paid,
  earned: (row) => row.units_earned,
  ratio,
  added: (row) => row.added,
};
/** Sent for each byte that came; for each that is there where none did. */
export function ratio(row: TorrentRow): number {
  return row.uploaded_bytes / (row.downloaded_bytes || row.have_bytes || Infinity);
}
const collator = new Intl.Collator(undefined, { numeric: true, sensitivity: 'base' });

/** How many torrents have each label, by name. */
export function labelCounts(rows: Iterable<TorrentRow>): Map<string, number> {
  const found = new Map<string, number>();
  for (const { label } of rows) if (label) found.set(label, (found.get(label) ?? 0) + 1);
  return new Map([...found].sort(([a], [b]) => collator.compare(a, b)));
}

/** From so many digits on a word is the beginning of a hash, too: shorter ones would find what nobody meant. */
const HASH_DIGITS = 8;

/** Rows that pass, in order; equal rows by name, then hash, so that nothing jumps. Of a label, or of none where it is null. */
export function choose(rows: Iterable<TorrentRow>, text: string, filter: Filter, sort: Sort, label?: string | null): TorrentRow[] {
  const words = text.toLocaleLowerCase().split(/\s+/).filter(Boolean);
  const found: TorrentRow[] = [];
  for (const row of rows) {
    if (!passes(row, filter) || (label !== undefined && (row.label ?? null) !== label)) continue;
    if (words.length > 0) {
      const name = row.name.toLocaleLowerCase();
      if (!words.every((word) => name.includes(word) || (word.length >= HASH_DIGITS && row.info_hash.startsWith(word)))) continue;
    }
    found.push(row);
  }
  const sign = sort.descending ? -1 : 1;
  const byName = (a: TorrentRow, b: TorrentRow): number => collator.compare(a.name, b.name) || (a.info_hash < b.info_hash ? -1 : 1);
  if (sort.by === 'name') return found.sort((a, b) => sign * byName(a, b));
  const key = keys[sort.by];
  return found.sort((a, b) => sign * (key(a) - key(b)) || byName(a, b));
}

/** The price that is being paid; else what a GiB that came cost on the average. */
export function pricePaid(row: TorrentRow): number | null {
  if (row.paying_price) return row.paying_price;
  return row.units_paid > 0 && row.downloaded_bytes > 0 ? Math.round((row.units_paid / row.downloaded_bytes) * 1024 ** 3) : null;
}
