// Whether this browser is signed in, and how far the node is.
import { api, ApiError } from './client';
import type { NodeView } from './types';

/** The code of a link that `dpay open` made. */
const linked = (): string | undefined => /^#login=([\w-]+)$/.exec(location.hash)?.[1];

class Session {
  state = $state<'starting' | 'out' | 'in' | 'unreachable'>('starting');
  node = $state.raw<NodeView | null>(null);
  /** Whether the node was upgraded since this page was loaded. */
  isOlder = $state(false);
  /** What was wrong with the link that opened the page. */
  problem = $state.raw<ApiError | null>(null);

  /** Exchanges the fragment's code, if `dpay open` put one there, and asks how the node is. */
  async start(): Promise<void> {
    const code = linked();
    if (code) {
      this.problem = null;
      history.replaceState(null, '', `${location.pathname}#/`);
      window.dispatchEvent(new HashChangeEvent('hashchange'));
      try {
        await api.post('/login', { code });
      } catch (error) {
        // A used code is no reason to forget a cookie that is still good: the next question decides.
        this.problem = error as ApiError;
      }
    }
    await this.refresh();
  }

  async signIn(password: string): Promise<void> {
    await api.post('/login', { password });
    this.problem = null;
    await this.refresh();
  }

  async signOut(): Promise<void> {
    await api.delete('/login');
    this.problem = null;
    this.state = 'out';
  }

  async refresh(): Promise<void> {
    try {
      this.node = await api.get<NodeView>('/node');
      this.state = 'in';
    } catch (error) {
      this.state = error instanceof ApiError && error.status === 401 ? 'out' : 'unreachable';
    }
  }

  /** After the stream broke: only being logged out changes the page; the rest waits for the next try. */
  async refreshQuietly(): Promise<void> {
    try {
      this.node = await api.get<NodeView>('/node');
    } catch (error) {
      if (error instanceof ApiError && error.status === 401) this.state = 'out';
    }
  }
}

export const session = new Session();
api.lost = () => (session.state = 'out');
api.older = () => (session.isOlder = true);
// A link that is pasted where the page is open already changes only the fragment.
window.addEventListener('hashchange', () => linked() && void session.start());
