// Short messages at the edge of the page: read out politely, gone by themselves unless they are errors.

import type { ApiError } from '../api/client';
import { refusal } from './saying';

export interface Toast {
  id: number;
  text: string;
  hint?: string;
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

export function toast(text: string, tone: Toast['tone'] = 'good', more: { hint?: string; href?: string } = {}): void {
  const id = next++;
  state.toasts = [...state.toasts.slice(-3), { id, text, tone, ...more }];
  if (tone !== 'bad') setTimeout(() => dismiss(id), 7000);
}

/** Tells what the node refused. */
export function toastProblem(error: ApiError): void {
  const { text, hint } = refusal(error);
  toast(text, 'bad', hint ? { hint } : {});
}
