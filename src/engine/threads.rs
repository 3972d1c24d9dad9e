//! The threads that librqbit works on.
//!
//! On a multi-threaded runtime librqbit does each read, write and check of a block in tokio's
//! `block_in_place`, which hands the worker over to another thread: two switches of threads a block
//! of 16 KiB, a good part of what a download costs. It leaves that out for a session made on a
//! single-threaded runtime. So the session is made on one, which then serves what belongs to the
//! session: its listener, and peers that dialled in. Torrents run on a multi-threaded one of their
//! own; of its workers there are enough that those busy with checking files for minutes
//! ([`CHECKS`] torrents at once) leave others to go on.

use std::future::Future;
use std::io;
use std::thread::available_parallelism;

use anyhow::Context;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::oneshot;

/// Torrents whose files are checked at a time.
pub(super) const CHECKS: usize = 3;

/// Both runtimes; they end when this is dropped.
pub(super) struct Threads {
    session: Handle,
    /// Taken when dropped.
    torrents: Option<Runtime>,
    _until_dropped: oneshot::Sender<()>,
}

impl Threads {
    /// Starts both.
    pub fn start() -> io::Result<Threads> {
        let cores = available_parallelism().map_or(1, |cores| cores.get());
        let torrents = Builder::new_multi_thread()
            .thread_name("torrents")
            .worker_threads(cores + CHECKS)
            .enable_all()
            .build()?;
        let session = Builder::new_current_thread().enable_all().build()?;
        let handle = session.handle().clone();
        let (until_dropped, dropped) = oneshot::channel::<()>();
        let thread = std::thread::Builder::new().name("session".to_owned());
        thread.spawn(move || {
            let _ = session.block_on(dropped);
            session.shutdown_background();
        })?;
        Ok(Threads {
            session: handle,
            torrents: Some(torrents),
            _until_dropped: until_dropped,
        })
    }

    /// Makes the session.
    pub async fn session<T: Send + 'static>(
        &self,
        work: impl Future<Output = anyhow::Result<T>> + Send + 'static,
    ) -> anyhow::Result<T> {
        self.session.spawn(work).await?
    }

    /// Does what starts a torrent's tasks.
    pub async fn torrents<T: Send + 'static>(
        &self,
        work: impl Future<Output = anyhow::Result<T>> + Send + 'static,
    ) -> anyhow::Result<T> {
        let runtime = self.torrents.as_ref().context("the engine has ended")?;
        runtime.spawn(work).await?
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        if let Some(runtime) = self.torrents.take() {
            runtime.shutdown_background();
        }
    }
}
