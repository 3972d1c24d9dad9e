// The one place that talks to the node. Every refusal becomes an `ApiError` that says what to do.

import type { Problem } from './types';

const base = 'api/v1';

export class ApiError extends Error {
  constructor(
    readonly status: number,
    readonly code: string,
    message: string,
    readonly hint: string | undefined,
    readonly problem?: Problem,
  ) {
    super(message);
  }
}

/** Which page the node had when it answered first. */
let page: string | null = null;

function note(has: string | null): void {
  // Something in between may have answered.
  if (has === null) return;
  page ??= has;
  if (has !== page) api.older();
}

/** Status 0: the node did not answer at all. */
async function ask(method: string, path: string, body?: unknown, signal?: AbortSignal): Promise<Response> {
  let response: Response;
  try {
    response = await fetch(`${base}${path}`, {
      method,
      credentials: 'same-origin',
      ...(body === undefined ? {} : { headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) }),
      ...(signal ? { signal } : {}),
    });
  } catch (error) {
    if (error instanceof DOMException && error.name === 'AbortError') throw error;
    throw new ApiError(0, 'unreachable', 'The node does not answer.', undefined);
  }
  note(response.headers.get('dpay-page'));
  if (response.ok) return response;
  if (response.status === 401) api.lost();
  throw await refusal(response);
}

async function refusal(response: Response): Promise<ApiError> {
  try {
    const problem = (await response.json()) as Problem;
    return new ApiError(response.status, problem.code, problem.error, problem.what_to_do || undefined, problem);
  } catch {
    return new ApiError(response.status, 'unknown', `${response.status} ${response.statusText}`, undefined);
  }
}

async function json<T>(response: Promise<Response>): Promise<T> {
  const text = await (await response).text();
  return (text === '' ? undefined : JSON.parse(text)) as T;
}

export const api = {
  get: <T>(path: string, signal?: AbortSignal) => json<T>(ask('GET', path, undefined, signal)),
  post: <T>(path: string, body: unknown = {}, signal?: AbortSignal) => json<T>(ask('POST', path, body, signal)),
  put: <T>(path: string, body: unknown) => json<T>(ask('PUT', path, body)),
  patch: <T>(path: string, body: unknown) => json<T>(ask('PATCH', path, body)),
  delete: <T>(path: string) => json<T>(ask('DELETE', path)),
  /** Called where the node no longer knows this browser. */
  lost: (): void => {},
  /** Called where the node has another page by now. */
  older: (): void => {},
  /** For links and the event stream. */
  url: (path: string) => `${base}${path}`,
};

/** `{a: 1, b: undefined}` → `?a=1`. */
export function query(values: Record<string, string | number | undefined | null>): string {
  const search = new URLSearchParams();
  for (const [key, value] of Object.entries(values)) {
    if (value !== undefined && value !== null && value !== '') search.set(key, String(value));
  }
  const text = search.toString();
  return text === '' ? '' : `?${text}`;
}
