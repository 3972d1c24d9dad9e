// What waits to be added: files, magnets and URLs, from the button, a drop or a paste.
import { api, type ApiError } from '../api/client';
import { base64 } from '../lib/base64';
import type { ManyAnswer, TermsChange } from '../api/types';
import { toast, toastProblem } from '../lib/toast.svelte';
import { t } from '../i18n/index.svelte';

/** `asking`: a torrent in the list that waits for its yes. */
export type Source = { asking: string; label: string } | { torrent_base64: string; label: string } | { magnet: string; label: string } | { url: string; label: string };

/** Largest `.torrent` that the node takes, in MiB. */
const mostMib = 32;

/** What was said of one torrent, for others too. */
type Answer = Omit<ManyAnswer, 'folder' | 'terms'> & { folder: string | undefined; terms: TermsChange };

/** How many of them go into one request. */
function fitting(sources: Source[]): number {
  let room = 30_000_000;
  const at = sources.findIndex((source) => (room -= 'torrent_base64' in source ? source.torrent_base64.length : 1000) < 0);
  return Math.min(500, at < 0 ? sources.length : Math.max(1, at));
}

class Adding {
  open = $state(false);
  queue = $state.raw<Source[]>([]);

  start(sources: Source[] = []): void {
    this.queue = [...this.queue, ...sources];
    this.open = true;
  }

  done(): void {
    this.queue = this.queue.slice(1);
    if (this.queue.length === 0) this.open = false;
  }

  cancel(): void {
    this.queue = [];
    this.open = false;
  }

  /** One answer for all of them: the node keeps it before it answers, and works it off whatever becomes of this page. */
  async alike(sources: Source[], answer: Answer): Promise<void> {
    let left = sources;
    try {
      while (left.length > 0) {
        const part = left.slice(0, fitting(left));
        const sources = part.flatMap((one) => ('asking' in one ? [] : [from(one)]));
        await api.post('/torrents/many', { sources, info_hashes: part.flatMap((one) => ('asking' in one ? one.asking : [])), answer });
        left = left.slice(part.length);
      }
    } catch (error) {
      toastProblem(error as ApiError);
      this.start(left);
    }
  }

  async files(files: Iterable<File>): Promise<void> {
    const sources: Source[] = [];
    for (const file of files) {
      if (file.size > mostMib * 1024 * 1024) toast(t('add.too_large', { name: file.name }), 'bad', { hint: t('add.too_large_hint', { most: mostMib }) });
      else sources.push({ torrent_base64: await base64(file), label: file.name });
    }
    if (sources.length > 0) this.start(sources);
  }

  /** Whether there was anything to add in `text`. */
  text(text: string): boolean {
    const { sources, unread } = parse(text);
    if (sources.length > 0) this.start(sources);
    if (sources.length > 0 && unread.length > 0) toast(leftOut(unread), 'warn');
    return sources.length > 0;
  }
}

/** The line that a source came from, if it is one of a text. */
export const lineOf = (source: Source): string | undefined => ('magnet' in source ? source.magnet : 'url' in source ? source.url : undefined);

/** As the node takes it. */
export function from(source: Exclude<Source, { asking: string }>): Record<string, string> {
  return 'torrent_base64' in source ? { file: source.torrent_base64, file_name: source.label } : 'magnet' in source ? { magnet: source.magnet } : { url: source.url };
}

export const leftOut = (unread: string[]): string => t('add.left_out', { n: unread.length, lines: unread.slice(0, 3).map((line) => line.slice(0, 60)).join(', ') });

/** Magnets, http(s) addresses and bare info hashes, one a line, and the lines that are none of these. */
export function parse(text: string): { sources: Source[]; unread: string[] } {
  const sources: Source[] = [];
  const unread: string[] = [];
  for (const raw of text.split(/[\r\n]+/)) {
    const line = raw.trim();
    if (/^magnet:\?/i.test(line)) sources.push({ magnet: line, label: new URLSearchParams(line.slice(8)).get('dn') ?? line.slice(0, 60) });
    else if (/^https?:\/\/\S+$/i.test(line)) sources.push({ url: line, label: line });
    else if (/^[0-9a-f]{40}$/i.test(line)) sources.push({ magnet: `magnet:?xt=urn:btih:${line.toLowerCase()}`, label: line });
    else if (line !== '') unread.push(line);
  }
  return { sources, unread };
}

const remembered = 'dpay.folders';

/** Folders that torrents were put into lately: the usual one first. */
export function usedFolders(usual = ''): string[] {
  try {
    return [...new Set([usual, ...(JSON.parse(localStorage.getItem(remembered) ?? '[]') as string[])])].filter(Boolean);
  } catch {
    return [usual];
  }
}

export function useFolder(folder: string): void {
  try {
    localStorage.setItem(remembered, JSON.stringify([folder, ...usedFolders().filter((other) => other !== folder)].slice(0, 6)));
  } catch {
    // Without storage nothing is remembered.
  }
}

export const adding = new Adding();
