//! The wallet, what may be spent, and the broker.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Saying;
use crate::units::{Day, InfoHash, Units, UnixMs};

/// What the wallet holds, by what can be done with it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct WalletView {
    /// The account at the broker: deposits go there.
    pub account: String,
    /// Whether the wallet's file is under a passphrase.
    pub has_passphrase: bool,
    /// Coins that channels can be opened with.
    pub available: Units,
    /// Coins of an earlier run that wait to be read again: in the DHT, and in the broker's spent list.
    #[serde(default)]
    pub unread: Units,
    /// Whether less is left to pay with, here and at the broker, than the setting `rules.low_balance`.
    pub is_low: bool,
    /// Promised to channels that are being opened, ordered, or asked to be redeemed: on its way.
    pub in_flight: Units,
    /// In channels: each line says with whom, why and until when.
    pub locked: Units,
    /// Each of these channels.
    pub locked_in: Vec<Locked>,
    /// Earned and redeemable.
    pub earned: Units,
    /// Left over from our own coins, and redeemable.
    pub change: Units,
    /// Ticked to us in channels that are not closed yet.
    pub earning: Units,
    /// Coins and shares of an earlier run, where the broker has been out of reach for more than a minute: not
    /// paid with before it answers. The rest is.
    #[serde(default)]
    pub waits_for_broker: Units,
    /// Redeemed within the broker's hold.
    pub pending: Units,
    /// When the last of it turns into balance.
    pub pending_until: Option<UnixMs>,
    /// Refused by the broker, or frozen for another reason.
    pub frozen: Units,
    /// All that the wallet itself holds.
    pub held: Units,
    /// What of the coins at hand expires first; redeemed by itself before, while the node runs.
    pub next_expiry: Option<Expiry>,
    /// Coins at hand by value.
    pub coins: Vec<CoinCount>,
    /// Balance at the broker; none where it does not answer.
    pub broker_balance: Option<Units>,
    /// Pending credits at the broker.
    pub broker_pending: Option<Units>,
    /// The bond at the broker.
    pub broker_bond: Option<Units>,
    /// What the account could buy now: the balance beside a bond that is still to be taken, and no more than
    /// the bond leaves beside coins that are out.
    pub buyable: Option<Units>,
    /// What could be withdrawn now: the balance, and the bond if it is free.
    pub withdrawable: Option<Units>,
    /// Asked of the broker to be withdrawn, and not answered yet; asked for again by itself.
    pub withdrawing: Units,
    /// Each of these, and those that the broker took into its queue in the last 30 days; the newest first.
    pub withdrawals: Vec<Withdrawing>,
    /// Coins that were bought and that nobody has redeemed: while there are some the bond is bound.
    pub outstanding: Option<Units>,
    /// The day on which the last of them is settled; the bond is free then at the latest.
    pub bond_until: Option<Day>,
    /// Nothing is bought by itself, as the bond was asked for; buying ends that.
    pub buys_nothing: bool,
    /// Why the broker could not be asked.
    pub broker_error: Option<String>,
    /// Whether what came in and went out is what is held.
    pub books_agree: bool,
    /// Bought since the wallet began.
    pub total_bought: Units,
    /// Earned since the wallet began.
    pub total_earned: Units,
    /// Paid since the wallet began.
    pub total_paid: Units,
    /// Redeemed since the wallet began.
    pub total_redeemed: Units,
}

/// A withdrawal that may still have to be paid out, or was lately.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Withdrawing {
    /// The request. Once it is queued it has a receipt, and not before:
    /// `GET /api/v1/wallet/receipts/{reference}`.
    pub reference: String,
    /// How much.
    pub units: Units,
    /// Where to.
    pub destination: String,
    /// Since when.
    pub since: UnixMs,
    /// Whether the broker took it into its queue.
    pub is_queued: bool,
    /// When it was paid out, if the broker says so.
    #[serde(default)]
    pub paid: Option<UnixMs>,
}

/// Coins that expire on one day.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Expiry {
    /// The day.
    pub day: Day,
    /// What they are worth.
    pub units: Units,
}

/// Coins of one value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CoinCount {
    /// What each is worth.
    pub value: Units,
    /// How many.
    pub count: u32,
}

/// Units locked in a channel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Locked {
    /// The spend, and its receipt's name.
    pub spend: String,
    /// Not paid yet.
    pub units: Units,
    /// Paid in it.
    pub paid: Units,
    /// The payee's address.
    pub peer: String,
    /// The torrent.
    pub info_hash: InfoHash,
    /// Since when.
    pub since: UnixMs,
    /// Why: open, or waiting_for_close.
    pub why: String,
    /// When it resolves by itself at the latest.
    pub until: Day,
}

/// What to buy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BuyRequest {
    /// Units, 1 to 1 000 000; rounded up to a multiple of 16.
    #[schema(value_type = u64, minimum = 1, maximum = 1_000_000)]
    pub units: Units,
}

/// What was bought.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Bought {
    /// Worth of the coins.
    pub units: Units,
    /// Number of coins.
    pub coins: u32,
    /// Ordered and not answered: comes by itself, and is not to be bought again.
    pub ordered: Units,
    /// Why it did not come yet.
    pub error: Option<String>,
}

/// What to redeem.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RedeemRequest {
    /// Unspent coins too, not only what was earned and change.
    #[serde(default)]
    pub all: bool,
}

/// What a redemption came to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Redeemed {
    /// Units credited.
    pub units: Units,
    /// Of these, earned.
    pub earned: Units,
    /// Of these, change.
    pub change: Units,
    /// Of these, unspent coins.
    pub coins: Units,
    /// When the credit turns into balance.
    pub pending_until: Option<UnixMs>,
    /// Asked for and not answered; asked again by itself.
    pub unanswered: Units,
    /// Of earlier runs, and left out as it could not be read in the DHT: to be redeemed again later.
    pub unread: Units,
    /// Why something is not answered.
    pub error: Option<String>,
    /// What the broker refused, and why.
    pub refused: Vec<String>,
}

/// A line of the wallet's history.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct HistoryLine {
    /// When.
    pub at: UnixMs,
    /// What: bought, paid, earned, redeemed, change, locked, received, ...
    pub kind: String,
    /// How much.
    pub units: Units,
    /// The torrent.
    pub info_hash: Option<InfoHash>,
    /// The torrent's name, where it is in the list.
    pub name: Option<String>,
    /// With whom.
    pub peer: Option<String>,
    /// The receipt: `GET /api/v1/wallet/receipts/{reference}`.
    pub reference: String,
}

/// The wallet's history.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct History {
    /// The newest first.
    pub lines: Vec<HistoryLine>,
    /// Whether there are older ones.
    pub more: bool,
}

/// A receipt: everything that the wallet noted under one reference.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Receipt {
    /// The reference.
    pub reference: String,
    /// Lines of the history under it, oldest first.
    pub lines: Vec<HistoryLine>,
    /// What is known besides, as name and value.
    pub facts: Vec<Fact>,
    /// Everything that the wallet keeps behind these lines: a list of receipts as
    /// `dpay wallet history --show` prints them.
    #[schema(value_type = Vec<Object>)]
    pub kept: serde_json::Value,
}

/// A name and its value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Fact {
    /// What.
    pub name: String,
    /// Its value, as text.
    pub value: String,
}

/// A wallet to make or to restore.
#[derive(Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct WalletInit {
    /// The passphrase; none: whoever can read the file has the money.
    pub passphrase: Option<String>,
    /// 24 words to restore from; none: a new wallet.
    pub words: Option<String>,
}

impl std::fmt::Debug for WalletInit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("WalletInit(not shown)")
    }
}

/// A passphrase.
#[derive(Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PassphraseGiven {
    /// The text; none where the wallet has none.
    pub passphrase: Option<String>,
}

impl std::fmt::Debug for PassphraseGiven {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PassphraseGiven(not shown)")
    }
}

/// Another passphrase for the wallet.
#[derive(Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PassphraseChange {
    /// The one that opens it now; none where it has none.
    pub passphrase: Option<String>,
    /// The new one; none: whoever can read the file has the money.
    pub new: Option<String>,
}

impl std::fmt::Debug for PassphraseChange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PassphraseChange(not shown)")
    }
}

/// The wallet at one moment, sealed under its passphrase.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
pub struct WalletBackup {
    /// The file's bytes in base64.
    pub file: String,
}

impl std::fmt::Debug for WalletBackup {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("WalletBackup(not shown)")
    }
}

/// A backup to make the wallet from.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct WalletRestore {
    /// The file's bytes in base64.
    pub file: String,
    /// The passphrase that the wallet had when the backup was made; none where it had none.
    pub passphrase: Option<String>,
}

impl std::fmt::Debug for WalletRestore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("WalletRestore(not shown)")
    }
}

/// What a backup brought back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Restored {
    /// The newest line of its history: what happened since, the broker is asked for. None: it has no line.
    pub until: Option<UnixMs>,
}

/// A wallet's words, to be written down.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
pub struct Words {
    /// The 24 words; empty after a restore, whose words are known already.
    pub words: Vec<String>,
    /// The account that they make.
    pub account: String,
}

impl std::fmt::Debug for Words {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Words(not shown)")
    }
}

/// Words to try: whether they would restore this wallet.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct WordsTry {
    /// All 24 words, separated by space.
    pub words: String,
}

impl std::fmt::Debug for WordsTry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("WordsTry(not shown)")
    }
}

/// What came of trying words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct WordsTried {
    /// Whether they are this wallet's words.
    pub same: bool,
}

/// A budget and how far it is used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BudgetLine {
    /// The limit; none: there is none.
    pub limit: Option<Units>,
    /// Spent against it, open channels in full.
    pub spent: Units,
    /// What is left; none: no limit.
    pub left: Option<Units>,
}

/// What may be spent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SpendingView {
    /// Today, by UTC.
    pub day: BudgetLine,
    /// Since the budget for all was set.
    pub total: BudgetLine,
    /// Torrents that have paid or have a budget of their own.
    pub torrents: Vec<TorrentBudget>,
    /// Why nothing is paid at the moment, where a budget is used up.
    pub stopped: Option<Saying>,
}

/// A torrent's budget.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TorrentBudget {
    /// Which.
    pub info_hash: InfoHash,
    /// Its name.
    pub name: String,
    /// The budget.
    pub budget: BudgetLine,
}

/// The broker, as it presents itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BrokerView {
    /// Where it is; none: none named yet.
    pub url: Option<String>,
    /// Its key, once met.
    pub key: Option<String>,
    /// Whether it answered just now.
    pub reachable: bool,
    /// Why not.
    pub error: Option<String>,
    /// The name of its currency.
    pub currency: Option<String>,
    /// How many units make one of it.
    pub units_per_credit: Option<u64>,
    /// How long redeemed units stay pending.
    pub hold_ms: Option<u64>,
    /// The bond taken at the first purchase.
    pub bond: Option<Units>,
}

/// Where the broker is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BrokerChange {
    /// Its address, as http://HOST:PORT.
    pub url: String,
}
