//! Threads that check and make signatures, off the event loop: one for each core.
//!
//! They stand behind every other thread that wants a core. What decides, writes and answers takes little
//! time itself, and many wait for it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, mpsc};

use parking_lot::Mutex;
use tokio::sync::oneshot;

/// How far behind: the system's steps of niceness.
const NICE: i32 = 2;

type Work = Box<dyn FnOnce() + Send>;

/// The threads; they end with this handle.
pub(super) struct Checkers(mpsc::Sender<Work>);

impl Checkers {
    pub(super) fn start() -> Checkers {
        let (sender, queue) = mpsc::channel::<Work>();
        let queue = Arc::new(Mutex::new(queue));
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            let queue = queue.clone();
            std::thread::spawn(move || {
                // Linux sets it for this thread alone. Where it cannot be set the threads are equals.
                let _ = rustix::process::setpriority_process(None, NICE);
                loop {
                    let work = queue.lock().recv();
                    let Ok(work) = work else { return };
                    let _ = catch_unwind(AssertUnwindSafe(work));
                }
            });
        }
        Checkers(sender)
    }

    /// What `work` gives, in the order of the calls; nothing if it panicked.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        let (sender, done) = oneshot::channel();
        let work = Box::new(move || {
            if !sender.is_closed() {
                let _ = sender.send(work());
            }
        });
        self.0.send(work).ok()?;
        done.await.ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn work_is_done_and_a_panic_takes_no_thread_away() {
        let checkers = Checkers::start();
        for _ in 0..100 {
            let none = checkers.run(|| panic!("as a check must not")).await;
            assert_eq!(none, None::<()>);
        }
        assert_eq!(checkers.run(|| 7).await, Some(7));
    }
}
