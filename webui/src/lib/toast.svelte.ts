// Short messages at the edge of the page: read out politely, gone by themselves unless they are errors.

import type { ApiError } from '../api/client';
import { refusal, type Refusal } from './saying';

export interface Toast extends Refusal {
  id: number;
  tone: 'good' | 'warn' | 'bad';
  href?: string;
}

const state = $state<{ toasts: Toast[] }>({ toasts: [] });
let next = 1;

export function toasts(): Toast[] {
  return state.toasts;
}

export function dismiss(id: number): void {
  state.toasts = state.toasts.filter((toast) => toast.id !== id);
}

export function toast(text: string, tone: Toast['tone'] = 'good', more: Partial<Toast> = {}): void {
  const id = next++;
  // What is said of the same place takes the place of what was said before; an error stays until it is put away.
  const stays = state.toasts.filter((other) => other.text !== text && (other.tone === 'bad' || !more.href || other.href !== more.href));
  state.toasts = [...stays.filter((other, at) => other.tone === 'bad' || at >= stays.length - 2), { id, text, tone, ...more }];
  if (tone !== 'bad') setTimeout(() => dismiss(id), tone === 'good' ? 4000 : 7000);
}

/** Tells what the node refused. */
export function toastProblem(error: ApiError): void {
  const said = refusal(error);
  toast(said.text, 'bad', said);
}
