//! Taking torrents out. What is begun is done, whoever waits for it: half taken out, a torrent would run on and
//! nobody would see it.

use std::sync::Arc;

use librqbit::TorrentStatsState;
use librqbit::api::TorrentIdOrHash;
use librqbit_core::hash_id::Id20;

use super::EngineError;
#[cfg(test)]
use super::handle::Handle;
use super::handle::{self, Ready, Stage};
use super::session::{Engine, Inner};
use crate::torrent::PieceSet;
use crate::units::InfoHash;

/// What a torrent was, and the pieces it had.
type TakenOut = (Arc<Ready>, Option<PieceSet>);

impl Engine {
    /// Takes a torrent out with the notes of its verified pieces, which go also where only they are there, and
    /// deletes its files if asked to.
    ///
    /// # Errors
    /// [`EngineError::Gone`] if it is not there, [`EngineError::Delete`] if a file resists.
    pub async fn remove(&self, info_hash: InfoHash, delete: bool) -> Result<(), EngineError> {
        let inner = Arc::clone(&self.inner);
        to_its_end(
            info_hash,
            async move { inner.remove(info_hash, delete).await },
        )
        .await
    }

    /// Takes a torrent out, and keeps the notes of its verified pieces: added again it is not hashed anew. One
    /// whose check is cut off by this is.
    ///
    /// # Errors
    /// [`EngineError::Gone`] if it is not there.
    pub async fn set_aside(&self, info_hash: InfoHash) -> Result<(), EngineError> {
        let inner = Arc::clone(&self.inner);
        to_its_end(info_hash, async move { inner.set_aside(info_hash).await }).await
    }
}

/// Does what is to be done as a whole, also where nobody waits for it any more.
async fn to_its_end(
    info_hash: InfoHash,
    work: impl Future<Output = Result<(), EngineError>> + Send + 'static,
) -> Result<(), EngineError> {
    let done = tokio::spawn(work).await;
    done.unwrap_or_else(|error| {
        Err(EngineError::Stopped {
            info_hash,
            reason: error.to_string(),
        })
    })
}

impl Ready {
    /// Whether its files are being checked, and some of them were already.
    pub fn is_half_checked(&self) -> bool {
        let stats = self.managed.stats();
        let is_checked = matches!(stats.state, TorrentStatsState::Initializing { .. });
        is_checked && stats.progress_bytes > 0
    }
}

#[cfg(test)]
impl Handle {
    /// As long as the guard lives nobody pauses, starts or removes the torrent.
    pub(crate) async fn held(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.rest.end().await
    }
}

impl Inner {
    async fn remove(&self, info_hash: InfoHash, delete: bool) -> Result<(), EngineError> {
        let taken = self.take_out(info_hash).await;
        if let Some(notes) = &self.notes {
            notes.forget(info_hash);
        }
        let Some((ready, _)) = taken? else {
            return Ok(());
        };
        if delete {
            let folder = ready.content_path.parent().unwrap_or(&ready.content_path);
            handle::delete_content(&ready.metainfo, folder)?;
        }
        Ok(())
    }

    async fn set_aside(&self, info_hash: InfoHash) -> Result<(), EngineError> {
        let taken = self.take_out(info_hash).await?;
        if let (Some((ready, Some(have))), Some(notes)) = (taken, &self.notes) {
            notes.set_aside(info_hash, ready, &have).await;
        }
        Ok(())
    }

    /// Takes a torrent out: what it was, where it was known, and the pieces it had.
    async fn take_out(&self, info_hash: InfoHash) -> Result<Option<TakenOut>, EngineError> {
        let removed = self.torrents.lock().remove(&info_hash);
        let handle = removed.ok_or(EngineError::Gone(info_hash))?;
        let _turn = handle.rest.end().await;
        let Stage::Ready(ready) = handle.stage.send_replace(Stage::Gone) else {
            return Ok(None);
        };
        let session = &self.session;
        // One whose check has not begun has what was noted of it before. librqbit begins with a sample of what is
        // noted, and does not stop that: what it would have found, only a whole check finds for sure.
        let is_checked = ready.runs().is_none() && handle.check_running(&ready).is_ok();
        let waits = is_checked && !ready.is_half_checked();
        let notes = self.notes.as_ref().filter(|_| waits);
        let noted = notes.and_then(|notes| notes.noted(&ready.metainfo));
        // From then on it verifies nothing more. One that does not run cannot be paused.
        let _ = session.pause(&ready.managed).await;
        let have = handle::have(Arc::clone(session), info_hash, &ready.metainfo).or(noted);
        let id = TorrentIdOrHash::Hash(Id20::new(info_hash.0));
        let deleted = session.delete(id, false).await;
        self.ledgers.lock().remove(&info_hash);
        deleted.map_err(|_| EngineError::Gone(info_hash))?;
        Ok(Some((ready, have)))
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::engine::{AddTorrent, EngineConfig, TorrentSource};
    use crate::torrent::Metainfo;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn what_is_begun_to_be_taken_out_is_taken_out_though_nobody_waits_for_it() {
        let address = ([127, 0, 0, 1], 0).into();
        let engine = Engine::start(EngineConfig::plain(address)).await;
        let engine = engine.expect("starts");
        let torrent = include_bytes!("../../torrents/exact-multiple.bin.torrent");
        let metainfo = Metainfo::decode(torrent).expect("a sample");
        let add = AddTorrent {
            source: TorrentSource::Metainfo(Arc::new(metainfo)),
            output_dir: Path::new(env!("CARGO_MANIFEST_DIR")).join("torrents"),
            initial_peers: Vec::new(),
            overwrite: true,
            only_files: None,
            paused: false,
            looks_only: false,
        };
        let handle = engine.add(add).await.expect("adds");
        handle.wait_checked().await.expect("checks");
        let hash = handle.info_hash();
        let id = || TorrentIdOrHash::Hash(Id20::new(hash.0));
        let held = handle.rest.end().await;
        let mut removing = Box::pin(engine.remove(hash, false));
        assert!(futures::poll!(&mut removing).is_pending());
        while engine.get(hash).is_some() {
            tokio::task::yield_now().await;
        }
        drop(removing);
        assert!(engine.inner.session.get(id()).is_some());
        drop(held);
        let gone = async {
            while engine.inner.session.get(id()).is_some() {
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            }
        };
        let gone = tokio::time::timeout(std::time::Duration::from_secs(20), gone).await;
        gone.expect("it runs on, and nobody sees it");
        engine.stop().await;
    }
}
