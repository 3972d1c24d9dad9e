//! Choosing files, streaming one, limits on speed.

use std::collections::HashSet;
use std::io::{self, ErrorKind};
use std::num::NonZeroU32;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures::FutureExt;
use futures::future::BoxFuture;
use librqbit::ManagedTorrentState;
use tokio::io::{AsyncRead, AsyncSeek, ReadBuf};

use super::handle::{Handle, Stage};
use super::{EngineError, TorrentState};
use crate::engine::Engine;

/// A file's bytes, fetched where they are not there yet.
pub trait FileBytes: AsyncRead + AsyncSeek + Send + Unpin {}

impl<T: AsyncRead + AsyncSeek + Send + Unpin> FileBytes for T {}

/// How a torrent does, without its pieces: cheap enough for thousands once a second.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Brief {
    /// What it is doing.
    pub state: TorrentState,
    /// Bytes of verified pieces; while checking, bytes looked at.
    pub bytes_have: u64,
    /// Bytes of all pieces that are wanted, had or not.
    pub bytes_wanted: u64,
    /// Payload coming in.
    pub download_bytes_per_s: u64,
    /// Payload going out.
    pub upload_bytes_per_s: u64,
    /// Connections in use.
    pub peers_live: u32,
    /// Peers ever heard of since the torrent was last started.
    pub peers_seen: u32,
    /// What the system refused, where that is why it failed.
    pub refused: Option<ErrorKind>,
}

impl Handle {
    /// How it does.
    #[must_use]
    pub fn brief(&self) -> Brief {
        let mut brief = Brief {
            state: TorrentState::FetchingMetadata,
            bytes_have: 0,
            bytes_wanted: 0,
            download_bytes_per_s: 0,
            upload_bytes_per_s: 0,
            peers_live: 0,
            peers_seen: 0,
            refused: None,
        };
        let ready = match self.ready() {
            Ok(ready) => ready,
            Err(EngineError::NotYet(_)) => return brief,
            Err(error) => {
                brief.state = TorrentState::Failed(error.to_string());
                return brief;
            }
        };
        let stats = ready.managed.stats();
        brief.state = self.state_of(&ready, &stats);
        brief.refused = ready.managed.with_state(|state| match state {
            ManagedTorrentState::Error(error) => error
                .chain()
                .find_map(|cause| cause.downcast_ref::<std::io::Error>())
                .map(std::io::Error::kind),
            _ => None,
        });
        brief.bytes_have = stats.progress_bytes;
        brief.bytes_wanted = stats.total_bytes;
        if let Some(live) = stats.live {
            brief.download_bytes_per_s = live.download_speed.as_bytes();
            brief.upload_bytes_per_s = live.upload_speed.as_bytes();
            brief.peers_live = live.snapshot.peer_stats.live;
            brief.peers_seen = live.snapshot.peer_stats.seen;
        }
        brief
    }

    /// Whether all that is wanted is there; false while that is being checked.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        (self.ready()).is_ok_and(|ready| ready.managed.stats().finished)
    }

    /// Indexes of the files that are wanted; `None`: all.
    #[must_use]
    pub fn wanted_files(&self) -> Option<Vec<usize>> {
        self.ready().ok()?.managed.only_files()
    }

    /// Bytes of each file in verified pieces; empty while they are being checked.
    #[must_use]
    pub fn file_bytes_have(&self) -> Vec<u64> {
        let ready = self.ready().ok();
        ready.map_or_else(Vec::new, |ready| ready.managed.stats().file_progress)
    }

    /// Fetches these files from now on, and no others. What is there stays.
    ///
    /// # Errors
    /// [`EngineError::NotYet`] for a magnet without metadata or while files are being checked;
    /// [`EngineError::Stopped`] with what librqbit says.
    pub async fn choose_files(&self, files: &HashSet<usize>) -> Result<(), EngineError> {
        let (session, ready) = self.parts()?;
        if self.pieces_have().is_none() {
            return Err(EngineError::NotYet(self.info_hash()));
        }
        self.wake().await;
        let chosen = session.update_only_files(&ready.managed, files).await;
        chosen.map_err(|error| self.stopped(&error))
    }

    /// A file's bytes; reading waits for pieces that are not there, which are fetched first.
    ///
    /// # Errors
    /// As [`Handle::choose_files`].
    pub async fn stream(&self, file: usize) -> Result<Box<dyn FileBytes>, EngineError> {
        let (_, ready) = self.parts()?;
        self.wake().await;
        let stream = ready.managed.clone().stream(file).await;
        let mut stages = self.stage.subscribe();
        let gone = async move {
            let is_gone = |stage: &Stage| !matches!(stage, Stage::Ready(_));
            drop(stages.wait_for(is_gone).await);
        };
        Ok(Box::new(WhileThere {
            stream: stream.map_err(|error| self.stopped(&error))?,
            gone: Some(gone.boxed()),
        }))
    }
}

/// A stream that breaks off when its torrent is taken out of the engine: librqbit's waits for pieces then that
/// never come.
struct WhileThere<S> {
    stream: S,
    gone: Option<BoxFuture<'static, ()>>,
}

impl<S: AsyncRead + Unpin> AsyncRead for WhileThere<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let gone = self.gone.as_mut();
        if gone.is_none_or(|gone| gone.poll_unpin(cx).is_ready()) {
            self.gone = None;
            return Poll::Ready(Err(ErrorKind::NotConnected.into()));
        }
        Pin::new(&mut self.stream).poll_read(cx, into)
    }
}

impl<S: AsyncSeek + Unpin> AsyncSeek for WhileThere<S> {
    fn start_seek(mut self: Pin<&mut Self>, to: io::SeekFrom) -> io::Result<()> {
        Pin::new(&mut self.stream).start_seek(to)
    }

    fn poll_complete(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<u64>> {
        Pin::new(&mut self.stream).poll_complete(cx)
    }
}

impl Engine {
    /// The most payload a second, all torrents together; none lifts the limit. Values below a block
    /// (16 KiB) count as one block.
    pub fn set_limits(&self, download_bytes_per_s: Option<u32>, upload_bytes_per_s: Option<u32>) {
        let at_least_a_block = |speed: Option<u32>| NonZeroU32::new(speed?.max(16_384));
        let limits = &self.session().ratelimits;
        limits.set_download_bps(at_least_a_block(download_bytes_per_s));
        limits.set_upload_bps(at_least_a_block(upload_bytes_per_s));
    }
}
