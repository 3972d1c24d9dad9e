//! Which requests are done together: those that are there, and a few that are about to be.
//!
//! A commit costs much the same for one request as for several. A request that somebody works on at this
//! moment, and that will be here in less time than a commit takes, is therefore waited for, until there
//! are a few. Who asks alone waits for nobody, and nobody waits for long.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{Notify, mpsc};

/// Most requests in one transaction.
const MOST: usize = 64;
/// So many do not wait for more.
const FEW: usize = 8;
/// The longest wait, about as long as a commit: strangers who announce and never send hold up nobody.
pub(super) const PATIENCE: Duration = Duration::from_millis(5);

/// Counts the requests that are about to come.
#[derive(Clone, Debug, Default)]
pub struct Coming(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    requests: AtomicUsize,
    none: Notify,
}

/// A request that is about to come. Dropped when it is sent, or when it will never be.
#[derive(Debug)]
pub struct Announced(Coming);

impl Coming {
    /// One more.
    #[must_use]
    pub fn announce(&self) -> Announced {
        self.0.requests.fetch_add(1, Ordering::Relaxed);
        Announced(self.clone())
    }

    fn any(&self) -> bool {
        self.0.requests.load(Ordering::Relaxed) > 0
    }
}

impl Drop for Announced {
    fn drop(&mut self) {
        let Coming(shared) = &self.0;
        if shared.requests.fetch_sub(1, Ordering::Relaxed) == 1 {
            shared.none.notify_one();
        }
    }
}

/// The first job and those to be done with it.
pub(super) async fn gather<J>(
    first: J,
    jobs: &mut mpsc::Receiver<J>,
    coming: &Coming,
    patience: Duration,
) -> Vec<J> {
    let mut batch = vec![first];
    let mut late = std::pin::pin!(tokio::time::sleep(patience));
    while batch.len() < MOST {
        if let Ok(job) = jobs.try_recv() {
            batch.push(job);
            continue;
        }
        if batch.len() >= FEW || !coming.any() {
            break;
        }
        tokio::select! {
            job = jobs.recv() => match job {
                Some(job) => batch.push(job),
                None => break,
            },
            () = coming.0.none.notified() => {}
            () = &mut late => break,
        }
    }
    batch
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Longer than any test.
    const HOUR: Duration = Duration::from_secs(3600);

    #[tokio::test]
    async fn what_is_about_to_come_is_waited_for_and_what_never_will_is_not() {
        let (sender, mut jobs) = mpsc::channel(100);
        let coming = Coming::default();
        assert_eq!(gather(0, &mut jobs, &coming, HOUR).await, [0]);
        let (second, never) = (coming.announce(), coming.announce());
        let mut waits = Box::pin(gather(1, &mut jobs, &coming, HOUR));
        assert!(futures::poll!(&mut waits).is_pending());
        sender.send(2).await.unwrap();
        drop(second);
        assert!(futures::poll!(&mut waits).is_pending());
        drop(never);
        assert_eq!(waits.await, [1, 2]);
    }

    #[tokio::test]
    async fn a_few_wait_for_nobody_and_take_along_what_is_there() {
        let (sender, mut jobs) = mpsc::channel(100);
        let coming = Coming::default();
        let _never = coming.announce();
        let mut waits = Box::pin(gather(0, &mut jobs, &coming, HOUR));
        for job in 1..FEW {
            assert!(futures::poll!(&mut waits).is_pending());
            sender.send(job).await.unwrap();
        }
        let few: Vec<usize> = (0..FEW).collect();
        assert_eq!(waits.await, few);
        for job in 1..=MOST {
            sender.send(job).await.unwrap();
        }
        let most: Vec<usize> = (0..MOST).collect();
        assert_eq!(gather(0, &mut jobs, &coming, HOUR).await, most);
    }

    #[tokio::test]
    async fn who_announces_and_never_sends_holds_up_nobody() {
        let (_sender, mut jobs) = mpsc::channel::<usize>(1);
        let coming = Coming::default();
        let _never = coming.announce();
        assert_eq!(gather(0, &mut jobs, &coming, PATIENCE).await, [0]);
    }
}
