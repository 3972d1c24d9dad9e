//! A wallet that a command makes in the home of a node that has none.

use std::time::Duration;

use super::Session;
use super::life::Life;
use crate::cashier::wallet::home;

/// Between looks whether there is one.
const LOOK_EVERY: Duration = Duration::from_secs(1);

impl Session {
    /// Takes up a wallet that a command makes in the home, as soon as that is done with it.
    pub(super) fn look_for_wallet(&self) {
        let session = self.clone();
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(LOOK_EVERY).await;
                let _turn = session.inner.turning.lock().await;
                if !matches!(session.life(), Life::Setup) {
                    return;
                }
                let home = &session.inner.options.home;
                // Whoever makes it has the lock from before its file is there until that is whole.
                if home::has_wallet(home) && !home::is_in_use(home) {
                    return session.wake_up();
                }
            }
        });
    }
}
