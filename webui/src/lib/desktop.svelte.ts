// Notices on the desktop, for whoever asked for them, while the page is out of sight.
import type { Notice } from '../api/types';
import { word } from '../i18n/index.svelte';
import { said } from './saying';

const possible = 'Notification' in window;
const state = $state({ permission: possible ? Notification.permission : 'denied' });

/** Whether it is worth asking: the browser has not been told yes or no. */
export function mayAsk(): boolean {
  return state.permission === 'default';
}

export async function askDesktop(): Promise<void> {
  if (possible) state.permission = await Notification.requestPermission();
}

export function tellDesktop(notice: Notice): void {
  if (state.permission === 'granted' && document.hidden) new Notification(word('notice_title', notice.code), { body: said(notice), tag: `dpay-${notice.id}`, icon: './icon.svg' });
}
