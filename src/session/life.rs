//! From no wallet to a running node, and back. One change of stage at a time.
//!
//! ```text
//! Setup --wallet made, here or by a command--> Starting --> Running --stop--> Stopping
//! Locked --passphrase--> Starting --> Failed --settings changed--> Starting
//! Setup, Locked, Running, Failed --play--> Starting --> Running with play money --> back
//! ```

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use super::play::PlayWorld;
use super::problems::not_started;
use super::run::Running;
use super::view::{
    Advice, Event, ForwardingView, Money, NodeView, PlayStage, PlayView, Problem, ProblemCode,
    Saying, Stage, WalletInit, Words,
};
use super::{Session, lock};
use crate::cashier::wallet::{CashierError, HomeError, Passphrase, Wallet, home};
use crate::dht::ACCEPT_DEADLINE_MS;
use crate::engine::EngineConfig;
use crate::node::{Node, NodeConfig, NodeError, StaysOpen};

/// Certified payee keys at hand.
const PAYEE_KEYS: u32 = 16;
/// What is said of a wallet that the passphrase in hand does not open.
const WRONG_AT_START: &str =
    "the wallet is locked: the passphrase that the node was started with is wrong";
/// Between looks at a node that starts.
const LOOK: Duration = Duration::from_millis(20);
/// How long the last requests to a node that stops may take.
const LAST_REQUESTS: Duration = Duration::from_secs(10);

/// How far the node is.
#[derive(Clone)]
pub(super) enum Life {
    Setup,
    Locked,
    Starting,
    Running(Arc<Running>),
    Stopping,
    Failed(String),
}

impl Life {
    fn stage(&self) -> Stage {
        match self {
            Life::Setup => Stage::Setup,
            Life::Locked => Stage::Locked,
            Life::Starting => Stage::Starting,
            Life::Running(_) => Stage::Running,
            Life::Stopping => Stage::Stopping,
            Life::Failed(_) => Stage::Failed,
        }
    }
}

impl Session {
    pub(super) fn life(&self) -> Life {
        let life = self.inner.life.read();
        life.unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn set_life(&self, life: Life) {
        let mut now = self
            .inner
            .life
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        *now = life;
        drop(now);
        self.tell_state();
    }

    pub(super) fn tell_state(&self) {
        self.tell(Event::State(Box::new(self.node_view())));
        let session = self.clone();
        tokio::spawn(async move {
            if session.look_at_folder().await {
                session.tell(Event::State(Box::new(session.node_view())));
            }
        });
    }

    pub(super) fn has_failed(&self) -> bool {
        matches!(self.life(), Life::Failed(_))
    }

    /// The running node.
    pub(super) fn running(&self) -> Result<Arc<Running>, Problem> {
        let (error, advice) = match self.life() {
            Life::Running(run) => return Ok(run),
            Life::Setup => ("there is no wallet yet", Advice::MakeWalletFirst),
            Life::Locked if self.was_refused() => (WRONG_AT_START, Advice::GivePassphrase),
            Life::Locked => ("the wallet is locked", Advice::GivePassphrase),
            Life::Starting => ("the node is starting", Advice::AskAgain),
            Life::Stopping => ("the node is stopping", Advice::StartAgain),
            Life::Failed(error) => {
                let mend = Advice::MendOrStartAgain;
                return Err(Problem::new(ProblemCode::Conflict, &error, mend).about(error));
            }
        };
        Err(Problem::new(ProblemCode::NoWallet, error, advice))
    }

    /// How the node stands, with the folder for downloads as it is now.
    pub async fn node_view_now(&self) -> NodeView {
        self.look_at_folder().await;
        self.node_view()
    }

    /// How the node stands.
    #[must_use]
    pub fn node_view(&self) -> NodeView {
        let (life, settings) = (self.life(), self.settings());
        let run = match &life {
            Life::Running(run) => Some(run),
            _ => None,
        };
        let (play, world) = {
            let play = lock(&self.inner.play);
            (play.view(), play.world.clone())
        };
        let is_play = matches!(play.stage, PlayStage::On);
        let home = &self.inner.options.home;
        let wallet_home = world
            .filter(|_| is_play)
            .map_or_else(|| home.clone(), |w| w.home());
        let folder = self.downloads_folder();
        let seen = self.seen_folder(&folder);
        let broker = self
            .inner
            .options
            .broker_url
            .as_ref()
            .or(settings.broker.url.as_ref());
        NodeView {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            started: self.inner.started,
            stage: life.stage(),
            passphrase_refused: self.was_refused() && matches!(life, Life::Locked),
            error: match &life {
                Life::Failed(error) => Some(error.clone()),
                _ => None,
            },
            money: if is_play { Money::Play } else { Money::Real },
            play,
            home: home.display().to_string(),
            home_problem: run.and_then(|run| run.home_problem()),
            wallet_home: wallet_home.display().to_string(),
            folder_free_bytes: seen.as_ref().and_then(|seen| seen.free_bytes),
            folder_problem: seen.and_then(|seen| seen.problem),
            folder: folder.display().to_string(),
            listen: run.map(|run| run.node.gateway.listen_addr().to_string()),
            forwarding: run.map_or_else(ForwardingView::default, |run| {
                run.node.router.forwarding().into()
            }),
            dht: run.map(|run| run.node.dht.addr().to_string()),
            dht_silent_since: run.and_then(|run| *run.node.dht.silent_since().borrow()),
            has_broker: is_play || broker.is_some() || run.is_some_and(|run| run.knows_broker()),
            has_wallet: home::has_wallet(home),
            guide_done: settings.ui.guide_done,
            words_due: settings.ui.words_due,
            has_password: home.join("api.password").exists(),
        }
    }

    /// At the start: the node starts where the wallet can be opened.
    pub(super) fn wake_up(&self) {
        let home = &self.inner.options.home;
        if !home::has_wallet(home) {
            self.set_life(Life::Setup);
            return self.look_for_wallet();
        }
        let given = lock(&self.inner.passphrase).clone();
        let passphrase = match home::needs_passphrase(home) {
            Ok(false) => Some(Passphrase::none()),
            Ok(true) => given,
            Err(error) => return self.set_life(Life::Failed(error.to_string())),
        };
        match passphrase {
            Some(passphrase) => self.launch(passphrase),
            None => self.set_life(Life::Locked),
        }
    }

    fn was_refused(&self) -> bool {
        self.inner.refused.load(Ordering::Relaxed)
    }

    /// Starts the node with the real wallet, in the background.
    pub(super) fn launch(&self, passphrase: Passphrase) {
        *lock(&self.inner.passphrase) = Some(passphrase.clone());
        self.set_life(Life::Starting);
        let session = self.clone();
        tokio::spawn(async move {
            let _turn = session.inner.turning.lock().await;
            let config = session.real_config(passphrase);
            session.bring_up(config).await;
        });
    }

    fn real_config(&self, passphrase: Passphrase) -> NodeConfig {
        let (options, settings) = (&self.inner.options, self.settings());
        NodeConfig {
            home: options.home.clone(),
            passphrase,
            broker_url: options
                .broker_url
                .clone()
                .or_else(|| settings.broker.url.clone()),
            listen: options.listen.unwrap_or(settings.node.listen),
            forward_port: settings.node.forward_port,
            bootstrap: match options.bootstrap.is_empty() {
                true => settings.node.dht_bootstrap.clone(),
                false => options.bootstrap.clone(),
            },
            min_answers: options.min_answers,
            accept_deadline_ms: ACCEPT_DEADLINE_MS,
            payee_keys: PAYEE_KEYS,
            at_hand: settings.rules.at_hand,
            keep: super::rules::redeem_rules(&settings),
            piece_memory_bytes: u64::from(settings.node.piece_memory_mib) << 20,
            resume_dir: Some(options.home.join("resume")),
            cheat: None,
        }
    }

    async fn bring_up(&self, config: NodeConfig) {
        let home = config.home.clone();
        match Node::start(config).await {
            Ok(node) => match Running::new(node, home).await {
                Ok(run) => {
                    let run = Arc::new(run);
                    let _alone = self.inner.setting.lock().await;
                    run.apply_limits(&self.settings());
                    run.hold_budgets(&self.settings()).await;
                    self.set_life(Life::Running(Arc::clone(&run)));
                    self.tell(Event::Reload);
                    run.begin(self);
                }
                Err(error) => self.set_life(Life::Failed(error)),
            },
            Err(NodeError::Wallet(CashierError::Home(HomeError::Passphrase(_)))) => {
                tracing::error!("{WRONG_AT_START}");
                *lock(&self.inner.passphrase) = None;
                self.inner.refused.store(true, Ordering::Relaxed);
                self.set_life(Life::Locked);
            }
            Err(error) => {
                let error = not_started(&error, self.inner.options.listen.is_some());
                tracing::error!("the node did not start: {error}");
                self.set_life(Life::Failed(error));
            }
        }
    }

    /// Waits until the node runs, or waits for a wallet; or why it does not run.
    pub async fn started(&self) -> Option<String> {
        loop {
            match self.life() {
                Life::Starting => tokio::time::sleep(LOOK).await,
                Life::Failed(error) => return Some(error),
                _ => return None,
            }
        }
    }

    /// Stops the running node, if there is one, closing its channels; those that stay open.
    async fn take_down(&self) -> Vec<StaysOpen> {
        let Life::Running(run) = self.life() else {
            return Vec::new();
        };
        self.set_life(Life::Stopping);
        let open = run.end(self).await;
        // Ports are free once nobody holds the node any more.
        let deadline = tokio::time::Instant::now() + LAST_REQUESTS;
        let mut run = run;
        while tokio::time::Instant::now() < deadline {
            match Arc::try_unwrap(run) {
                Ok(_) => return open,
                Err(held) => run = held,
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        open
    }

    /// Stops and starts the node with the settings as they are now, in the background. Nothing where
    /// it plays, or has no wallet to open.
    pub(super) fn restart(&self) {
        let is_known = lock(&self.inner.passphrase).is_some();
        if !is_known || !matches!(self.life().stage(), Stage::Running | Stage::Failed) {
            return;
        }
        if lock(&self.inner.play).stage == PlayStage::On {
            return;
        }
        let session = self.clone();
        tokio::spawn(async move {
            let _turn = session.inner.turning.lock().await;
            // Only now: whoever had the turn may have changed it.
            let Some(passphrase) = lock(&session.inner.passphrase).clone() else {
                return;
            };
            session.take_down().await;
            session.set_life(Life::Starting);
            let config = session.real_config(passphrase);
            session.bring_up(config).await;
        });
    }

    /// Makes a wallet, or restores one from its words, and starts the node.
    ///
    /// # Errors
    /// There is a wallet already; words that are none; an empty passphrase.
    pub async fn make_wallet(&self, init: WalletInit) -> Result<Words, Problem> {
        let _turn = self.inner.turning.lock().await;
        if !matches!(self.life(), Life::Setup) {
            return Err(there_is_one());
        }
        let passphrase = passphrase(init.passphrase.as_deref())?;
        let words = init
            .words
            .as_deref()
            .map(str::trim)
            .filter(|words| !words.is_empty());
        let made = Wallet::init(&self.inner.options.home, words, &passphrase).await;
        let made = made.map_err(|error| super::money::problem(&error))?;
        let account = super::money::account_of(&made)?;
        self.note_words_due(words.is_none()).await;
        self.launch(passphrase);
        Ok(Words {
            words: match words {
                None => made.split_whitespace().map(str::to_owned).collect(),
                Some(_) => Vec::new(),
            },
            account,
        })
    }

    /// Stops the node in order: channels are closed, everything is written. Returns those that stay open.
    pub async fn stop(&self) -> Vec<StaysOpen> {
        let _turn = self.inner.turning.lock().await;
        let open = self.take_down().await;
        let world = lock(&self.inner.play).world.take();
        if let Some(world) = world {
            world.stop().await;
        }
        self.set_life(Life::Stopping);
        open
    }

    /// How far the play world is.
    #[must_use]
    pub fn play_view(&self) -> PlayView {
        lock(&self.inner.play).view()
    }

    fn set_play(&self, stage: PlayStage, note: Option<Saying>) {
        let mut play = lock(&self.inner.play);
        play.stage = stage;
        play.note = note;
        drop(play);
        self.tell_state();
    }

    /// Starts the play world in the background, and moves the node into it.
    ///
    /// # Errors
    /// This program cannot; it is there or on its way already.
    pub fn play(&self) -> Result<PlayView, Problem> {
        let stage = lock(&self.inner.play).stage;
        if !matches!(stage, PlayStage::Off | PlayStage::Failed) {
            return Err(Problem::new(
                ProblemCode::Conflict,
                format!("the play world is {stage:?}").to_lowercase(),
                Advice::LeavePlayFirst,
            ));
        }
        self.set_play(
            PlayStage::Starting,
            Some(Saying::new("play_starting", "starting", &[])),
        );
        let session = self.clone();
        tokio::spawn(async move {
            let _turn = session.inner.turning.lock().await;
            if let Err(error) = session.enter_play().await {
                let values = [("error", error.clone())];
                session.set_play(
                    PlayStage::Failed,
                    Some(Saying::new("play_failed", error, &values)),
                );
            }
        });
        Ok(self.play_view())
    }

    async fn enter_play(&self) -> Result<(), String> {
        let player = self
            .inner
            .options
            .player
            .clone()
            .ok_or("nothing makes play worlds here")?;
        let teller = self.clone();
        let say = move |doing: Saying| teller.set_play(PlayStage::Starting, Some(doing));
        let world: Arc<dyn PlayWorld> = player.make(&say).await?;
        self.take_down().await;
        self.set_life(Life::Starting);
        let config = NodeConfig {
            home: world.home(),
            passphrase: Passphrase::none(),
            broker_url: Some(world.broker_url()),
            listen: std::net::SocketAddr::from(([127, 0, 0, 1], 0)),
            forward_port: false,
            bootstrap: world.bootstrap(),
            min_answers: self.inner.options.min_answers,
            accept_deadline_ms: ACCEPT_DEADLINE_MS,
            payee_keys: PAYEE_KEYS,
            at_hand: self.settings().rules.at_hand,
            keep: crate::wallet::keeping::Rules::default(),
            piece_memory_bytes: EngineConfig::PIECE_MEMORY_BYTES,
            resume_dir: Some(world.home().join("resume")),
            cheat: None,
        };
        lock(&self.inner.play).world = Some(world);
        self.set_play(PlayStage::On, None);
        self.bring_up(config).await;
        Ok(())
    }

    /// Leaves the play world, in the background, and goes back to the real wallet, if there is one.
    ///
    /// # Errors
    /// There is none to leave.
    pub fn stop_playing(&self) -> Result<PlayView, Problem> {
        let stage = lock(&self.inner.play).stage;
        if !matches!(stage, PlayStage::On | PlayStage::Failed) {
            return Err(Problem::new(
                ProblemCode::Conflict,
                "the node is not in a play world",
                Advice::NothingToLeave,
            ));
        }
        self.set_play(
            PlayStage::Stopping,
            Some(Saying::new("play_stopping", "stopping", &[])),
        );
        let session = self.clone();
        tokio::spawn(async move {
            let turn = session.inner.turning.lock().await;
            session.take_down().await;
            let world = lock(&session.inner.play).world.take();
            if let Some(world) = world {
                world.stop().await;
            }
            session.set_play(PlayStage::Off, None);
            drop(turn);
            session.wake_up();
            session.tell(Event::Reload);
        });
        Ok(self.play_view())
    }
}

/// Why none is made: one is never written over.
pub(super) fn there_is_one() -> Problem {
    let error = "there is a wallet already";
    Problem::new(ProblemCode::WalletExists, error, Advice::UseItOrOtherHome)
}

/// A passphrase as given: none, or text that is not empty.
pub(super) fn passphrase(given: Option<&str>) -> Result<Passphrase, Problem> {
    match given {
        None => Ok(Passphrase::none()),
        Some(text) => Passphrase::new(text).map_err(|error| super::money::home_problem(&error)),
    }
}
