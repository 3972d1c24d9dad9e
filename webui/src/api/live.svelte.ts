// What the node says every second: torrents, speeds, wallet, notices. One stream for the whole page.
import { api } from './client';
import { session } from './session.svelte';
import { tellDesktop } from '../lib/desktop.svelte';
import { foreign, said } from '../lib/saying';
import { t } from '../i18n/index.svelte';
import { toast } from '../lib/toast.svelte';
import { adding } from '../torrents/add.svelte';
import type { Currency } from '../lib/format';
import type { BrokerView, Event, ManyView, Notice, Pulse, SpeedHistory, TorrentList, TorrentRow, WalletView } from './types';

/** Points of the live graph: 15 minutes at one a second, as the node keeps them. */
const kept = 900;
/** Told in the list of notices only: they may come many at a time. */
const quiet = new Set(['goes_free', 'price_above_limit', 'garbage', 'watch_added', 'auto_bought', 'auto_redeemed']);
/** Between two looks at the account at the broker, in milliseconds. */
const [quickest, slowest] = [4000, 30_000];
const tones = { info: 'good', warning: 'warn', error: 'bad' } as const;

function seenBefore(): number {
  try {
    return Number(localStorage.getItem('dpay.seen') ?? 0);
  } catch {
    return 0;
  }
}

/** Of many torrents that were given one answer, those that were not come to yet. */
export const unanswered = (many: ManyView | null): number => (many ? many.total - many.done - many.refused : 0);

class Live {
  /** A new map object each time something changed, so that lists know when to look again. */
  torrents = $state.raw<ReadonlyMap<string, TorrentRow>>(new Map());
  loaded = $state(false);
  connected = $state(true);
  pulse = $state.raw<Pulse>({ at: 0, down_bytes_per_s: 0, up_bytes_per_s: 0, units_paid_per_s: 0, units_earned_per_s: 0, peers: 0 });
  pulses = $state.raw<Pulse[]>([]);
  wallet = $state.raw<WalletView | null>(null);
  broker = $state.raw<BrokerView | null>(null);
  /** One answer for many torrents, and how far the node is with it. */
  many = $state.raw<ManyView | null>(null);
  private told = $state.raw<Notice[]>([]);
  /** Without the questions that are answered, and those whose dialog may be the one that is open. */
  notices = $derived(this.told.filter((notice) => notice.code !== 'asks' || (!adding.open && this.torrents.get(notice.info_hash ?? '')?.state === 'asking')));
  /** Notices are numbered anew in each run, so the moment decides what is new. */
  seenUntil = $state(seenBefore());
  unread = $derived(this.notices.filter((notice) => notice.at > this.seenUntil).length);
  currency = $derived<Currency | null>(this.broker?.currency && this.broker.units_per_credit ? { name: this.broker.currency, units_per_credit: this.broker.units_per_credit } : null);

  /** Starts the stream; the result ends it. */
  connect(): () => void {
    this.clear();
    let source: EventSource | null = null;
    let retry: ReturnType<typeof setTimeout> | undefined;
    let ended = false;
    const open = (): void => {
      source = new EventSource(api.url('/events'));
      source.addEventListener('open', () => {
        this.connected = true;
        void session.refreshQuietly();
        void this.load();
      });
      for (const type of ['pulse', 'torrents', 'wallet', 'state', 'many', 'notice', 'reload']) {
        source.addEventListener(type, (event) => this.take(JSON.parse((event as MessageEvent<string>).data) as Event));
      }
      source.addEventListener('error', () => {
        this.connected = false;
        source?.close();
        void session.refreshQuietly();
        if (!ended) retry = setTimeout(open, 1500);
      });
    };
    open();
    return () => {
      ended = true;
      clearTimeout(retry);
      source?.close();
    };
  }

  private async load(): Promise<void> {
    const [list, notices, speeds, wallet, many] = await Promise.allSettled([
      api.get<TorrentList>('/torrents'),
      api.get<{ notices: Notice[] }>('/notices'),
      api.get<SpeedHistory>('/speeds'),
      api.get<WalletView>('/wallet'),
      api.get<ManyView>('/torrents/many'),
    ]);
    if (list.status === 'fulfilled') {
      this.torrents = new Map(list.value.torrents.map((row) => [row.info_hash, row]));
      this.loaded = true;
    }
    if (notices.status === 'fulfilled') this.told = notices.value.notices.toReversed();
    if (speeds.status === 'fulfilled' && speeds.value.pulses.length > 0) this.pulses = speeds.value.pulses.slice(-kept);
    if (wallet.status === 'fulfilled') this.wallet = wallet.value;
    this.many = many.status === 'fulfilled' ? many.value : null;
    await this.askBroker();
  }

  async askBroker(): Promise<void> {
    try {
      const broker = await api.get<BrokerView>('/broker');
      // One that does not answer now is the one that it was.
      this.broker = broker.reachable ? broker : { ...this.broker, ...Object.fromEntries(Object.entries(broker).filter(([, value]) => value !== null)), reachable: false };
    } catch {
      // Without a broker amounts are shown in units alone; the wallet's page says why.
    }
  }

  private watchers = 0;
  private nextLook: ReturnType<typeof setTimeout> | undefined;
  private pace = quickest;
  private lastLook = '';

  /** Looks at the account at the broker for all who want to see it, until the result is called. */
  watchAccount(): () => void {
    this.watchers += 1;
    if (this.watchers === 1) {
      document.addEventListener('visibilitychange', this.lookAnew);
      this.lookAnew();
    }
    return () => {
      this.watchers -= 1;
      if (this.watchers > 0) return;
      document.removeEventListener('visibilitychange', this.lookAnew);
      clearTimeout(this.nextLook);
    };
  }

  private lookAnew = (): void => {
    this.pace = quickest;
    clearTimeout(this.nextLook);
    // A page that nobody sees asks nothing, and at once when it is seen again.
    if (!document.hidden) this.nextLook = setTimeout(() => void this.lookOn());
  };

  /** The less changes, the more seldom. */
  private async lookOn(): Promise<void> {
    const own = this.nextLook;
    await this.askBroker();
    const seen = JSON.stringify([this.broker, this.wallet]);
    this.pace = seen === this.lastLook ? Math.min(this.pace * 1.5, slowest) : quickest;
    this.lastLook = seen;
    // Unless somebody began anew meanwhile, or nobody looks any more.
    if (this.watchers > 0 && own === this.nextLook && !document.hidden) this.nextLook = setTimeout(() => void this.lookOn(), this.pace);
  }

  private take(event: Event): void {
    switch (event.type) {
      case 'pulse':
        this.pulse = event;
        this.pulses = [...this.pulses.slice(-(kept - 1)), event];
        return;
      case 'torrents': {
        const next = new Map(this.torrents);
        for (const hash of event.removed) next.delete(hash);
        for (const row of event.changed) next.set(row.info_hash, row);
        this.torrents = next;
        return;
      }
      case 'wallet':
        this.wallet = event;
        return;
      case 'state':
        session.node = event;
        return;
      case 'many':
        if (event.done > 0 && unanswered(event) === 0 && unanswered(this.many) > 0) toast(t('add.started_all', { n: event.done }));
        this.many = event;
        return;
      case 'notice':
        this.told = [event, ...this.told.filter((other) => other.id !== event.id)].slice(0, 200);
        // A torrent whose dialog is open needs no further word.
        if (quiet.has(event.code) || (event.code === 'asks' && adding.open)) return;
        tellDesktop(event);
        toast(said(event), tones[event.level], { foreign: foreign(event), ...(event.info_hash ? { href: `#/torrents/${event.info_hash}` } : {}) });
        return;
      case 'reload':
        void this.load();
    }
  }

  /** Nothing of another wallet may stay in sight. */
  private clear(): void {
    this.torrents = new Map();
    this.loaded = false;
    this.wallet = null;
    this.broker = null;
    this.many = null;
    this.told = [];
    this.pulses = [];
  }

  readAll(): void {
    this.seenUntil = Math.max(this.seenUntil, ...this.notices.map((notice) => notice.at));
    try {
      localStorage.setItem('dpay.seen', String(this.seenUntil));
    } catch {
      // Without storage they are read until the page is closed.
    }
  }
}

export const live = new Live();
