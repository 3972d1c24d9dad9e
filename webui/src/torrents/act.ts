// What is done to torrents that are in the list: one call for any number of them, which each may be refused.
import { api, ApiError } from '../api/client';
import type { Action, ActionResult, Terms, TermsChange, TermsOf, TorrentDetail } from '../api/types';

/** How many it was done with, with how many not, and why the first of these was refused. */
interface Outcome { done: number; failed: number; refused: ApiError | undefined }

export async function actOn(action: Action, info_hashes: string[]): Promise<Outcome> {
  return outcome(await api.post<ActionResult>('/torrents/actions', { action, info_hashes }));
}

/** The same of a label, or of none. */
export async function labelAll(label: string | null, info_hashes: string[]): Promise<Outcome> {
  return outcome(await api.put<ActionResult>('/torrents/label', { label, info_hashes }));
}

/** What each of them pays and asks, without those that went meanwhile. */
export async function termsOf(info_hashes: string[]): Promise<Terms[]> {
  const all = info_hashes.length === 1 ? [] : await api.get<TermsOf[]>('/torrents/terms');
  const known = new Map(all.map((one) => [one.info_hash, one.terms]));
  const terms = info_hashes.flatMap((hash) => known.get(hash) ?? []);
  return terms.length > 0 ? terms : [(await api.get<TorrentDetail>(`/torrents/${info_hashes[0]}`)).terms];
}

export async function changeTerms(change: TermsChange, info_hashes: string[]): Promise<Outcome> {
  if (info_hashes.length === 1) {
    await api.patch(`/torrents/${info_hashes[0]}/terms`, change);
    return { done: 1, failed: 0, refused: undefined };
  }
  return outcome(await api.patch<ActionResult>('/torrents/terms', { change, info_hashes }));
}

function outcome({ done, failed }: ActionResult): Outcome {
  const first = failed[0]?.problem;
  return { done: done.length, failed: failed.length, refused: first && new ApiError(409, first.code, first.error, first.what_to_do, first) };
}
