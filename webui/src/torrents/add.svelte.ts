// What waits to be added: files, magnets and URLs, from the button, a drop or a paste.
import { toast } from '../lib/toast.svelte';
import { t } from '../i18n/index.svelte';

/** `asking`: a torrent in the list that waits for its yes. */
export type Source = { asking: string; label: string } | { torrent_base64: string; label: string } | { magnet: string; label: string } | { url: string; label: string };

/** Largest `.torrent` that is read; the node refuses larger ones too. */
const mostBytes = 10 * 1024 * 1024;

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

  async files(files: Iterable<File>): Promise<void> {
    const sources: Source[] = [];
    for (const file of files) {
      if (file.size > mostBytes) toast(t('add.too_large', { name: file.name }), 'bad', { hint: t('add.too_large_hint') });
      else sources.push({ torrent_base64: await base64(file), label: file.name });
    }
    if (sources.length > 0) this.start(sources);
  }

  /** Whether there was anything to add in `text`. */
  text(text: string): boolean {
    const sources = parse(text);
    if (sources.length > 0) this.start(sources);
    return sources.length > 0;
  }
}

/** Magnets, http(s) addresses and bare info hashes, one a line. */
export function parse(text: string): Source[] {
  const sources: Source[] = [];
  for (const raw of text.split(/[\r\n]+/)) {
    const line = raw.trim();
    if (/^magnet:\?/i.test(line)) sources.push({ magnet: line, label: new URLSearchParams(line.slice(8)).get('dn') ?? line.slice(0, 60) });
    else if (/^https?:\/\/\S+$/i.test(line)) sources.push({ url: line, label: line });
    else if (/^[0-9a-f]{40}$/i.test(line)) sources.push({ magnet: `magnet:?xt=urn:btih:${line.toLowerCase()}`, label: line });
  }
  return sources;
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

async function base64(file: File): Promise<string> {
  const bytes = new Uint8Array(await file.arrayBuffer());
  let text = '';
  for (let at = 0; at < bytes.length; at += 0x8000) text += String.fromCharCode(...bytes.subarray(at, at + 0x8000));
  return btoa(text);
}

export const adding = new Adding();
