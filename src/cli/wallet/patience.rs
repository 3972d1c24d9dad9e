//! What a command says while the broker lets it wait.

use std::future::Future;
use std::time::Duration;

use crate::http::client::ANSWER_LIMIT;

/// Waited for without a word.
const QUIET: Duration = Duration::from_secs(2);

/// Does `work`, and says on the standard error what it waits for where that takes longer.
pub(super) async fn patiently<T>(what: &str, work: impl Future<Output = T>) -> T {
    tokio::pin!(work);
    tokio::select! {
        done = &mut work => return done,
        () = tokio::time::sleep(QUIET) => {}
    }
    eprintln!(
        "waiting for the broker to answer about {what}: at most {} s for each request to it",
        ANSWER_LIMIT.as_secs()
    );
    work.await
}
