//! When to stop in order: Ctrl-C, a termination signal, or the end of standard input where the command
//! was told to live with its parent.

use tokio::sync::watch;

/// Tells when to stop. A second Ctrl-C ends the program at once.
#[derive(Clone, Debug)]
pub struct Stop {
    asked: watch::Receiver<bool>,
}

impl Stop {
    /// Starts to listen for signals, and to standard input if `with_parent`.
    #[must_use]
    pub fn new(with_parent: bool) -> Stop {
        let (tell, asked) = watch::channel(false);
        let by_signal = tell.clone();
        tokio::spawn(async move {
            signal().await;
            let _ = by_signal.send(true);
            signal().await;
            std::process::exit(i32::from(super::EXIT_INTERRUPTED));
        });
        if with_parent {
            // A blocking read of standard input cannot be cancelled: a thread of its own, not the
            // runtime's, so that the program can end while it waits.
            let (told, ended) = tokio::sync::oneshot::channel();
            std::thread::spawn(move || {
                let mut sink = [0u8; 64];
                while matches!(std::io::Read::read(&mut std::io::stdin(), &mut sink), Ok(n) if n > 0)
                {
                }
                let _ = told.send(());
            });
            tokio::spawn(async move {
                let _ = ended.await;
                let _ = tell.send(true);
            });
        }
        Stop { asked }
    }

    /// Returns when asked to stop.
    pub async fn wait(&self) {
        let mut asked = self.asked.clone();
        if asked.wait_for(|&asked| asked).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Whether it was asked for already.
    #[must_use]
    pub fn is_asked(&self) -> bool {
        *self.asked.borrow()
    }
}

#[cfg(unix)]
async fn signal() {
    use tokio::signal::unix::{SignalKind, signal};
    let Ok(mut terminate) = signal(SignalKind::terminate()) else {
        let _ = tokio::signal::ctrl_c().await;
        return;
    };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
    }
}

#[cfg(not(unix))]
async fn signal() {
    let _ = tokio::signal::ctrl_c().await;
}
