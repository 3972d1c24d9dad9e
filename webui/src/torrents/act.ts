// What is done to torrents that are in the list: one call for any number of them, which each may be refused.
import { api, ApiError } from '../api/client';
import type { Action, ActionResult } from '../api/types';

/** How many it was done with, and why the first of the others was refused. */
interface Outcome { done: number; refused: ApiError | undefined }

export async function actOn(action: Action, info_hashes: string[]): Promise<Outcome> {
  return outcome(await api.post<ActionResult>('/torrents/actions', { action, info_hashes }));
}

/** The same of a label, or of none. */
export async function labelAll(label: string | null, info_hashes: string[]): Promise<Outcome> {
  return outcome(await api.put<ActionResult>('/torrents/label', { label, info_hashes }));
}

function outcome({ done, failed }: ActionResult): Outcome {
  const first = failed[0]?.problem;
  return { done: done.length, refused: first && new ApiError(409, first.code, first.error, first.what_to_do, first) };
}
