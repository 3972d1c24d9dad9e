// Names for what the API says.
export type State = 'asking' | 'fetching_metadata' | 'checking' | 'downloading' | 'seeding' | 'paused' | 'failed';
export type FreeService = 'off' | 'leftover' | 'on';
export interface TorrentRow {
  info_hash: string; name: string; state: State; error?: string | null; size_bytes: number; wanted_bytes: number; have_bytes: number; progress: number;
  down_bytes_per_s: number; up_bytes_per_s: number; eta_s?: number | null; sellers: number; peers: number; peers_seen: number; paying_price?: number | null; price: number;
  units_paid: number; units_earned: number; budget?: number | null; pays: boolean; waits?: string | null; downloaded_bytes: number; uploaded_bytes: number; added: number; completed?: number | null; private: boolean;
}
export interface TorrentList { torrents: TorrentRow[] }
export interface Terms { pays: boolean; max_price: number; budget?: number | null; earns: boolean; price: number; free: FreeService }
export type TermsChange = Partial<{ pays: boolean; max_price: number; budget: number; earns: boolean; price: number; free: FreeService }>;
export interface TorrentDetail { row: TorrentRow; terms: Terms; folder: string; content?: string | null; files: number; pieces: number; piece_bytes: number; pieces_failed: number; comment?: string | null; created_by?: string | null; magnet: string; automatic: boolean }
export interface Source { magnet?: string | null; url?: string | null; file?: string | null }
export interface Added { info_hash: string; name: string; already: boolean }
export interface SeenPrice { peer: string; price: number; client?: string | null }
export interface Estimate {
  info_hash: string; name: string; has_metadata: boolean; missing_bytes: number; prices: SeenPrice[]; free_peers: number; cheapest_units?: number | null; expected_units?: number | null; most_units: number; max_price: number;
  available_units: number; buyable_units?: number | null; torrent_budget_left?: number | null; day_budget_left?: number | null; total_budget_left?: number | null; affordable: boolean;
}
export type Action = 'pause' | 'resume' | 'remove' | 'remove_with_data' | 'confirm' | 'free_only';
export interface Problem { code: string; error: string; what_to_do: string }
export interface ActionResult { done: string[]; failed: { info_hash: string; problem: Problem }[] }
export interface FileRow { index: number; path: string; size_bytes: number; have_bytes: number; wanted: boolean; media_type?: string | null }
export interface PieceMap { pieces: number; have: number; bitmap: string }
export interface PeerRow {
  connection: number; address: string; client?: string | null; transport: string; inbound: boolean; dp_pay: boolean; down_bytes_per_s: number; up_bytes_per_s: number; down_bytes: number; verified_bytes: number; up_bytes: number; free_up_bytes: number;
  price?: number | null; units_paid: number; units_earned: number; units_owed: number; window_bytes: number; held_requests: number; waits?: string | null; paying_channels: number; units_left: number; earning_channels: number;
}
export interface ChannelRow { spend: string; side: 'payer' | 'payee'; info_hash: string; peer: string; units_ticked: number; units_value: number; accepted?: boolean | null; closing: boolean; opened?: number | null; until?: number | null }
export interface TrackerRow { url?: string | null; tier: number; dht: boolean }
export type Stage = 'setup' | 'locked' | 'starting' | 'running' | 'stopping' | 'failed';
export interface PlaySample { name: string; size_bytes: number; magnet: string }
export interface PlayView { stage: 'unavailable' | 'off' | 'starting' | 'on' | 'stopping' | 'failed'; note?: string | null; samples: PlaySample[] }
export interface NodeView {
  version: string; stage: Stage; error?: string | null; money: 'real' | 'play'; play: PlayView; home: string; folder: string; folder_free_bytes?: number | null; listen?: string | null; dht?: string | null; has_broker: boolean; has_wallet: boolean; guide_done: boolean; has_password: boolean;
}
export interface Locked { spend: string; units: number; paid: number; peer: string; info_hash: string; since: number; why: string; until: number }
export interface WalletView {
  account: string; has_passphrase: boolean; available: number; in_flight: number; locked: number; locked_in: Locked[]; earned: number; change: number; earning: number; pending: number; pending_until?: number | null; frozen: number; held: number; coins: { value: number; count: number }[];
  broker_balance?: number | null; broker_pending?: number | null; broker_bond?: number | null; broker_error?: string | null; books_agree: boolean; total_bought: number; total_earned: number; total_paid: number; total_redeemed: number;
}
export interface Bought { units: number; coins: number }
export interface Redeemed { units: number; earned: number; change: number; coins: number; pending_until?: number | null; unanswered: number; error?: string | null; refused: string[] }
export interface HistoryLine { at: number; kind: string; units: number; info_hash?: string | null; name?: string | null; peer?: string | null; reference: string }
export interface History { lines: HistoryLine[]; more: boolean }
export interface Receipt { reference: string; lines: HistoryLine[]; facts: { name: string; value: string }[] }
export interface Words { words: string[]; account: string }
export interface BudgetLine { limit?: number | null; spent: number; left?: number | null }
export interface SpendingView { day: BudgetLine; total: BudgetLine; torrents: { info_hash: string; name: string; budget: BudgetLine }[]; stopped?: string | null }
export interface BrokerView { url?: string | null; key?: string | null; reachable: boolean; error?: string | null; currency?: string | null; units_per_credit?: number | null; hold_ms?: number | null; bond?: number | null; buyable?: number | null }
export type By = 'day' | 'week' | 'month' | 'torrent' | 'peer';
export type Kind = 'earnings' | 'spending';
export interface ReportRow { key: string; label: string; units: number; redeemed: number; channels: number; bytes?: number | null }
export interface Report { kind: Kind; by: By; since?: string | null; until?: string | null; rows: ReportRow[]; total: ReportRow; currency?: string | null; units_per_credit?: number | null; still_held: number }
export interface ReportReceipts { lines: HistoryLine[]; units: number }
export type SettingKind = 'bool' | 'units' | 'price' | 'speed' | 'number' | 'folder' | 'address' | 'url' | 'choice' | 'list';
export interface Setting { key: string; kind: SettingKind; value: unknown; default: unknown; help: string; choices: string[]; restart: boolean }
export interface SettingList { settings: Setting[]; path: string }
export interface Pulse { at: number; down_bytes_per_s: number; up_bytes_per_s: number; units_paid_per_s: number; units_earned_per_s: number; peers: number; dht_nodes?: number | null }
export interface SpeedHistory { pulses: Pulse[] }
export interface Notice { id: number; at: number; level: 'info' | 'warning' | 'error'; code: string; values: Record<string, string>; text: string; info_hash?: string | null }
export interface LogLine { id: number; at: number; level: string; part: string; text: string; info_hash?: string | null }
export interface Log { lines: LogLine[] }
