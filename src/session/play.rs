//! The play world: a broker, a DHT and seeders on loopback with play money, so that everything can be
//! tried before anything is real. Who makes one is not this room's business.

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;

use super::view::{PlaySample, PlayStage, PlayView, Saying};

/// A play world that stands.
#[async_trait]
pub trait PlayWorld: Send + Sync {
    /// A home with a wallet that has play money.
    fn home(&self) -> PathBuf;
    /// Where its broker answers.
    fn broker_url(&self) -> String;
    /// Its DHT.
    fn bootstrap(&self) -> Vec<String>;
    /// What can be downloaded in it.
    fn samples(&self) -> Vec<PlaySample>;
    /// Takes it down.
    async fn stop(&self);
}

/// Makes play worlds.
#[async_trait]
pub trait Player: Send + Sync {
    /// Makes one, and says meanwhile what is being done.
    ///
    /// # Errors
    /// What did not start, in words.
    async fn make(
        &self,
        say: &(dyn Fn(Saying) + Send + Sync),
    ) -> Result<Arc<dyn PlayWorld>, String>;
}

/// How far the play world is.
pub(super) struct State {
    pub stage: PlayStage,
    pub note: Option<Saying>,
    pub world: Option<Arc<dyn PlayWorld>>,
}

impl State {
    pub fn new(available: bool) -> State {
        State {
            stage: if available {
                PlayStage::Off
            } else {
                PlayStage::Unavailable
            },
            note: None,
            world: None,
        }
    }

    pub fn view(&self) -> PlayView {
        let samples = self.world.as_ref().filter(|_| self.stage == PlayStage::On);
        PlayView {
            stage: self.stage,
            note: self.note.clone(),
            samples: samples.map_or_else(Vec::new, |world| world.samples()),
        }
    }
}
