//! The wallet and the broker, as the page sees them.

use std::time::Duration;

use super::view::{
    Advice, Bought, BrokerChange, BrokerView, BuyRequest, CoinCount, Expiry, Locked,
    PassphraseGiven, Problem, ProblemCode, RedeemRequest, Redeemed, SettingsChange, WalletView,
    Withdrawing, Words, WordsTried, WordsTry,
};
use super::{Session, lock};
use crate::cashier::wallet::door::DoorError;
use crate::cashier::wallet::{CashierError, HomeError, Passphrase, home};
use crate::coin::Seed;
use crate::http::client::BrokerClient;
use crate::units::Units;
use crate::wallet::{Balance, WalletError, WithdrawingLine};

/// How long the broker may take to say who it is.
const ASK_BROKER: Duration = Duration::from_secs(5);

/// What a failure of the wallet means to whoever asked.
pub(super) fn problem(error: &CashierError) -> Problem {
    let (code, advice) = match error {
        CashierError::Home(error) => return home_problem(error),
        CashierError::Words(_) => (ProblemCode::BadWords, Advice::CheckWords),
        CashierError::NoBroker => {
            let error = "this wallet has no broker yet";
            return Problem::new(ProblemCode::Broker, error, Advice::NameBroker);
        }
        CashierError::Broker(DoorError::Refused(_)) | CashierError::Short { .. } => {
            (ProblemCode::Money, Advice::SeeAccount)
        }
        CashierError::Broker(_) | CashierError::Wallet(WalletError::BrokerChanged { .. }) => {
            (ProblemCode::Broker, Advice::SeeBroker)
        }
        CashierError::Wallet(_) | CashierError::NoKey => (ProblemCode::Money, Advice::SeeWallet),
        CashierError::Store(_) => (ProblemCode::Disk, Advice::MakeRoomTryAgain),
        _ => (ProblemCode::Conflict, Advice::AskAgain),
    };
    let problem = Problem::new(code, error.to_string(), advice);
    match code {
        ProblemCode::Money | ProblemCode::Broker => problem.about(error),
        _ => problem,
    }
}

pub(super) fn home_problem(error: &HomeError) -> Problem {
    let (code, advice) = match error {
        HomeError::Passphrase(_) => (ProblemCode::WrongPassphrase, Advice::TryAgain),
        HomeError::EmptyPassphrase => (ProblemCode::BadRequest, Advice::ChooseOneOrNone),
        HomeError::NoBackup(_) => (ProblemCode::BadRequest, Advice::GiveBackup),
        HomeError::Exists(_) | HomeError::NotEmpty(_) => {
            (ProblemCode::WalletExists, Advice::UseItOrOtherHome)
        }
        HomeError::Missing(_) => (ProblemCode::NoWallet, Advice::MakeOneFirst),
        _ => (ProblemCode::Disk, Advice::LetReadWrite),
    };
    // What a command line says more is what the advice says.
    let text = match error {
        HomeError::Missing(folder) => format!("there is no wallet in {}", folder.display()),
        _ => error.to_string(),
    };
    Problem::new(code, text, advice)
}

/// The account that a wallet's words make.
pub(super) fn account_of(words: &str) -> Result<String, Problem> {
    let seed = Seed::from_words(words).map_err(|error| problem(&CashierError::Words(error)))?;
    Ok(seed.account_key().public().to_string())
}

fn withdrawing(line: &WithdrawingLine) -> Withdrawing {
    Withdrawing {
        reference: line.request.clone(),
        units: line.units,
        destination: line.destination.clone(),
        since: line.since,
        is_queued: line.is_queued,
        paid: line.paid,
    }
}

fn view(balance: &Balance, has_passphrase: bool) -> WalletView {
    let sum =
        |amounts: &[Units]| Units::checked_sum(amounts.iter().copied()).unwrap_or(Units(u64::MAX));
    WalletView {
        account: balance
            .account
            .map_or_else(String::new, |account| account.to_string()),
        has_passphrase,
        available: balance.available,
        unread: balance.coins_in_all().saturating_sub(balance.available),
        is_low: false,
        in_flight: sum(&[balance.reserved, balance.ordered, balance.redeeming]),
        locked: balance.locked,
        locked_in: balance.locked_in.iter().map(locked).collect(),
        earned: balance.earned_in_all(),
        change: sum(&[balance.change, balance.unread_change]),
        earning: balance.earning,
        waits_for_broker: balance.waits_for_broker,
        pending: balance.pending,
        pending_until: balance.pending_until,
        frozen: sum(&[balance.refused, balance.frozen]),
        held: balance.held,
        next_expiry: balance
            .next_expiry
            .map(|(day, units)| Expiry { day, units }),
        coins: balance
            .coins
            .iter()
            .map(|(value, count)| CoinCount {
                value: *value,
                count: *count,
            })
            .collect(),
        broker_balance: balance.broker_balance,
        broker_pending: balance.broker_pending,
        broker_bond: balance.broker_bond,
        buyable: balance.broker_buyable,
        withdrawable: balance.broker_withdrawable,
        withdrawing: balance.withdrawing,
        withdrawals: balance.withdrawing_in.iter().map(withdrawing).collect(),
        outstanding: balance.broker_outstanding,
        bond_until: balance.bond_until,
        buys_nothing: balance.buys_nothing,
        broker_error: balance.broker_error.clone(),
        books_agree: balance.books_agree,
        total_bought: balance.books.bought,
        total_earned: balance.books.earned,
        total_paid: balance.books.paid,
        total_redeemed: balance.books.redeemed,
    }
}

fn locked(line: &crate::wallet::LockedLine) -> Locked {
    Locked {
        spend: line.spend.to_string(),
        units: line.units,
        paid: line.paid,
        peer: line.peer.clone(),
        info_hash: line.info_hash,
        since: line.since,
        why: line.why.name().to_owned(),
        until: line.until,
    }
}

impl Session {
    pub(super) fn wallet_view(&self, home: &std::path::Path, balance: &Balance) -> WalletView {
        WalletView {
            is_low: self.is_low(balance),
            ..view(balance, home::needs_passphrase(home).unwrap_or(false))
        }
    }

    /// What the wallet holds.
    ///
    /// # Errors
    /// No running node.
    pub async fn wallet(&self) -> Result<WalletView, Problem> {
        let run = self.running()?;
        let balance = run
            .node
            .wallet
            .balance()
            .await
            .map_err(|error| problem(&error))?;
        Ok(self.wallet_view(&run.home, &balance))
    }

    /// Buys coins: as many as are asked for, or none where the account has not as much.
    ///
    /// # Errors
    /// Amounts out of range; more than can be bought, or was after all; the broker's refusal, or that it cannot be reached before anything is ordered.
    pub async fn buy(&self, request: BuyRequest) -> Result<Bought, Problem> {
        if !(1..=1_000_000).contains(&request.units.0) {
            return Err(Problem::new(
                ProblemCode::BadRequest,
                format!("{:#} cannot be bought at once", request.units),
                Advice::GiveAmount,
            ));
        }
        let run = self.running()?;
        let bought = run
            .node
            .wallet
            .buy(request.units)
            .await
            .map_err(|error| problem(&error))?;
        self.look(&run).await;
        let units = bought.units();
        if let Some(error) = &bought.error
            && bought.ordered.is_zero()
            && units < request.units
        {
            let text = format!("only {units} of {:#} were bought: {error}", request.units);
            let problem = Problem::new(ProblemCode::Money, text.clone(), Advice::SeeAccount);
            return Err(problem.about(text));
        }
        Ok(Bought {
            units,
            coins: u32::try_from(bought.coins.len()).unwrap_or(u32::MAX),
            ordered: bought.ordered,
            error: bought.error,
        })
    }

    /// Redeems.
    ///
    /// # Errors
    /// The broker's refusal, or that it cannot be reached.
    pub async fn redeem(&self, request: RedeemRequest) -> Result<Redeemed, Problem> {
        let run = self.running()?;
        let report = match request.all {
            true => run.node.wallet.redeem_all().await,
            false => run.node.wallet.redeem_earned().await,
        };
        let report = report.map_err(|error| problem(&error))?;
        self.look(&run).await;
        let refused = report.refused.iter();
        Ok(Redeemed {
            units: report.credited,
            earned: report.earned,
            change: report.change,
            coins: report.coins,
            pending_until: report.pending_until,
            unanswered: report.unanswered,
            unread: report.unread,
            error: report.error.clone(),
            refused: refused
                .map(|(id, why)| format!("holding {id}: {why}"))
                .collect(),
        })
    }

    /// The wallet's words, for whoever knows the passphrase.
    ///
    /// # Errors
    /// A wrong passphrase.
    pub async fn words(&self, given: PassphraseGiven) -> Result<Words, Problem> {
        let passphrase = super::life::passphrase(given.passphrase.as_deref())?;
        let seed = self.check_passphrase(&passphrase).await?;
        Ok(Words {
            words: seed.words().split_whitespace().map(str::to_owned).collect(),
            account: seed.account_key().public().to_string(),
        })
    }

    /// Whether words would restore the wallet of this home: also in a play world, whose own wallet has no words
    /// that anybody is shown.
    ///
    /// # Errors
    /// No wallet's words; no wallet in the home, or one that is locked.
    pub async fn try_words(&self, tried: &WordsTry) -> Result<WordsTried, Problem> {
        let account = account_of(&tried.words)?;
        let same = account == self.own_account().await?;
        if same {
            self.note_words_due(false).await;
        }
        Ok(WordsTried { same })
    }

    /// The account of the home's own wallet.
    async fn own_account(&self) -> Result<String, Problem> {
        let home = &self.inner.options.home;
        let run = self.running().ok().filter(|run| run.home == *home);
        if let Some(run) = run {
            return Ok(run.node.wallet.account().to_string());
        }
        if !home::has_wallet(home) {
            let error = "there is no wallet yet whose words these could be";
            return Err(Problem::new(
                ProblemCode::NoWallet,
                error,
                Advice::MakeWalletFirst,
            ));
        }
        let known = lock(&self.inner.passphrase).clone();
        let known = known.unwrap_or_else(Passphrase::none);
        match self.open_seed(&known).await {
            Ok(seed) => Ok(seed.account_key().public().to_string()),
            Err(problem) if problem.code == ProblemCode::WrongPassphrase => {
                let error = "the wallet is locked";
                Err(Problem::new(
                    ProblemCode::NoWallet,
                    error,
                    Advice::GivePassphrase,
                ))
            }
            Err(problem) => Err(problem),
        }
    }

    /// Notes whether the real wallet's words have yet to be tried. That this cannot be written, as beside an edit of
    /// the file, is no reason to fail what it is about.
    pub(super) async fn note_words_due(&self, due: bool) {
        if self.settings().ui.words_due == due {
            return;
        }
        let change = ("ui.words_due".to_owned(), due.into());
        let change = SettingsChange(std::iter::once(change).collect());
        if let Err(problem) = self.change_settings(change).await {
            tracing::warn!(
                due,
                "whether the wallet's words are to be tried is not noted: {problem}"
            );
        }
    }

    /// The broker, as it answers now. What is in the account there is looked at as well, and told as soon as
    /// it is known: a deposit comes without a word.
    pub async fn broker(&self) -> BrokerView {
        let run = self.running().ok();
        if let Some(run) = &run {
            // A wallet that was closed has nothing to show.
            let _ = run.node.wallet.look_at_account().await;
        }
        let balance = run.as_ref().map(|run| lock(&run.balance).clone());
        let pinned = balance
            .as_ref()
            .and_then(|balance| balance.broker_url.clone());
        let in_play = lock(&self.inner.play)
            .world
            .as_ref()
            .map(|world| world.broker_url());
        let given = self.inner.options.broker_url.clone();
        let set = self.settings().broker.url;
        let url = in_play.or(given).or(set).or(pinned);
        let mut view = BrokerView {
            key: balance
                .as_ref()
                .and_then(|b| b.broker)
                .map(|key| key.to_string()),
            ..BrokerView::default()
        };
        if let Some(url) = &url {
            match ask(url).await {
                Ok(info) => {
                    view.reachable = true;
                    view.key = Some(info.broker.to_string());
                    view.currency = Some(info.terms.currency);
                    view.units_per_credit = Some(info.terms.units_per_credit);
                    view.hold_ms = Some(info.terms.hold_ms);
                    view.bond = Some(info.terms.bond);
                }
                Err(error) => view.error = Some(error),
            }
        }
        view.url = url;
        view
    }

    /// Names the broker, once it answers and is not another than the wallet knows; the node starts
    /// anew with it.
    ///
    /// # Errors
    /// An address that is none, nobody there, another broker than the pinned one.
    pub async fn change_broker(&self, change: BrokerChange) -> Result<BrokerView, Problem> {
        let url = change.url.trim().trim_end_matches('/').to_owned();
        let info = ask(&url).await.map_err(|error| {
            Problem::new(ProblemCode::Broker, error, Advice::CheckBrokerAddress).about(&url)
        })?;
        let pinned = self
            .running()
            .ok()
            .and_then(|run| lock(&run.balance).broker);
        if let Some(pinned) = pinned
            && pinned != info.broker
        {
            return Err(Problem::new(
                ProblemCode::Broker,
                format!(
                    "at {url} is the broker {}, and this wallet belongs to {pinned}",
                    info.broker
                ),
                Advice::OtherHome,
            )
            .about(info.broker));
        }
        let value = serde_json::Value::String(url);
        let change = std::iter::once(("broker.url".to_owned(), value)).collect();
        self.change_settings(SettingsChange(change)).await?;
        Ok(self.broker().await)
    }
}

/// Who a broker is, as it says itself within a short while.
pub(super) async fn ask(url: &str) -> Result<crate::broker::terms::Info, String> {
    // Who a broker is, it says to anybody.
    let nobody = Seed::from_entropy(crate::random::bytes()).account_key();
    let client = BrokerClient::new(url, None, nobody).map_err(|error| error.to_string())?;
    match tokio::time::timeout(ASK_BROKER, client.info()).await {
        Ok(answer) => answer.map_err(|error| error.to_string()),
        Err(_) => Err(format!(
            "the broker at {url} does not answer within {} seconds",
            ASK_BROKER.as_secs()
        )),
    }
}
