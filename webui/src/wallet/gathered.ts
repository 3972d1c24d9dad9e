// The lines of one request, each a coin of it, as one line with their sum. It opens to the receipt, which has each of them.
import type { HistoryLine } from '../api/types';

export interface Gathered extends HistoryLine {
  /** How many lines of the journal it is. */
  count: number;
}

const parts = ['reference', 'kind', 'info_hash', 'peer'] as const;

/** Of neighbours that are of one kind and about one thing, torrent and peer, one. The last is left out while some of it may still be `more` that is not loaded. */
export function gathered(lines: readonly HistoryLine[], more: boolean): Gathered[] {
  const acts: Gathered[] = [];
  for (const line of lines) {
    const last = acts.at(-1);
    if (last && parts.every((part) => (last[part] ?? null) === (line[part] ?? null))) acts[acts.length - 1] = { ...last, units: last.units + line.units, count: last.count + 1 };
    else acts.push({ ...line, count: 1 });
  }
  return more && acts.length > 1 ? acts.slice(0, -1) : acts;
}
