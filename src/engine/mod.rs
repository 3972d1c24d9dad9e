//! The only room that says librqbit: session, storage wrapper, piece events.
//!
//! An [`Engine`] is one librqbit session. Behind a gateway it listens on loopback, announces the
//! gateway's port, and goes out through the gateway's SOCKS5 server; its storage tells which pieces
//! are verified, which is what is paid for. In plain mode it is librqbit as it comes, to compare
//! with. Trackers of ours are given to each torrent that is not private, never to the session:
//! librqbit would ask the session's trackers about private torrents too.

pub mod control;
mod durable;
mod fetch;
mod handle;
mod held;
mod ledger;
mod looked;
mod map;
mod memory;
mod notes;
mod out;
mod ranges;
mod rest;
mod session;
mod storage;
mod threads;
pub mod trackers;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use thiserror::Error;

pub use control::{Brief, FileBytes};
pub use handle::{Handle, Progress, TorrentState, delete_content};
pub use memory::MemoryUse;
pub use rest::{RestTimes, Waker, Waking};
pub use session::Engine;
pub use trackers::{TrackerBook, TrackerWord};

use crate::torrent::{MagnetError, Metainfo, MetainfoError};
use crate::units::{InfoHash, PieceIndex};

/// What became of a piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PieceEvent {
    /// It passed its hash check; once a piece. Not sent for pieces found good when a torrent is
    /// added.
    Verified {
        /// The torrent.
        info_hash: InfoHash,
        /// The piece.
        piece: PieceIndex,
    },
    /// It failed its hash check and is being fetched again. Known only when the first block of the
    /// new attempt comes; the peer that completed it was disconnected at once.
    Failed {
        /// The torrent.
        info_hash: InfoHash,
        /// The piece.
        piece: PieceIndex,
    },
}

/// Takes piece events. Called on the engine's threads, sometimes under a lock of the storage: it
/// must not block, nor call the engine.
pub type PieceSink = Arc<dyn Fn(PieceEvent) + Send + Sync>;

/// How to run an engine.
#[derive(Clone)]
pub struct EngineConfig {
    /// Where to listen for peers; port 0 takes a free one ([`Engine::listen_addr`]). Behind a
    /// gateway an address on loopback.
    pub listen: SocketAddr,
    /// The port told to trackers: the gateway's. `None` tells the engine's own, or none at all
    /// that works if that is on loopback.
    pub announce_port: Option<u16>,
    /// `socks5://user:password@127.0.0.1:port`: all outgoing TCP goes through it. `None` connects
    /// directly.
    pub socks_url: Option<String>,
    /// Trackers (http, https or udp) added to every torrent that is not private.
    pub trackers: Vec<String>,
    /// Most memory for unfinished pieces, over all torrents.
    pub piece_memory_bytes: u64,
    /// Told of every piece.
    pub on_piece: PieceSink,
    /// librqbit's own storage and no piece events.
    pub plain: bool,
    /// Where notes of verified pieces are kept, so that files are not hashed anew at the next start;
    /// none keeps no notes.
    pub resume_dir: Option<PathBuf>,
    /// Seeds without connections rest until somebody comes; whoever takes connections for the engine
    /// must wake them ([`Engine::waker`]). None: they run all the time.
    pub rest: Option<RestTimes>,
}

impl EngineConfig {
    /// Memory for unfinished pieces unless told otherwise: 64 MiB.
    pub const PIECE_MEMORY_BYTES: u64 = 64 << 20;

    /// Behind a gateway that listens on `announce_port` and whose SOCKS5 server is `socks_url`.
    #[must_use]
    pub fn behind_gateway(announce_port: u16, socks_url: String, on_piece: PieceSink) -> Self {
        EngineConfig {
            announce_port: Some(announce_port),
            socks_url: Some(socks_url),
            on_piece,
            plain: false,
            ..EngineConfig::plain(SocketAddr::from(([127, 0, 0, 1], 0)))
        }
    }

    /// librqbit as it comes, listening on `listen`; without DHT and local discovery.
    #[must_use]
    pub fn plain(listen: SocketAddr) -> Self {
        EngineConfig {
            listen,
            announce_port: None,
            socks_url: None,
            trackers: Vec::new(),
            piece_memory_bytes: Self::PIECE_MEMORY_BYTES,
            on_piece: Arc::new(|_| {}),
            plain: true,
            resume_dir: None,
            rest: None,
        }
    }
}

/// Where a torrent's description comes from.
#[derive(Clone, Debug)]
pub enum TorrentSource {
    /// A `.torrent` file's bytes.
    Bytes(Vec<u8>),
    /// A `.torrent` file already read.
    Metainfo(Arc<Metainfo>),
    /// A magnet link, or an info hash alone.
    Magnet(String),
}

/// A torrent to add.
#[derive(Clone, Debug)]
pub struct AddTorrent {
    /// Its description.
    pub source: TorrentSource,
    /// The folder that its file, or the folder of its files, goes into.
    pub output_dir: PathBuf,
    /// Peers to begin with.
    pub initial_peers: Vec<SocketAddr>,
    /// Whether content may already be there: to seed, to resume. Otherwise adding fails with
    /// [`EngineError::Exists`].
    pub overwrite: bool,
    /// Indexes of the files to fetch; none: all.
    pub only_files: Option<Vec<usize>>,
    /// Whether it is paused as soon as its files are checked, until [`Handle::resume`].
    pub paused: bool,
    /// Whether it only looks at what is on the disk and writes nothing there: no file is made, and what
    /// comes from peers is refused.
    pub looks_only: bool,
}

/// What went wrong in the engine.
#[derive(Clone, Debug, Error)]
pub enum EngineError {
    /// The session did not start: mostly the address is taken, or a URL in the settings is wrong.
    #[error("the torrent engine did not start on {listen}: {reason}")]
    Start {
        /// Where it was to listen.
        listen: SocketAddr,
        /// What librqbit says.
        reason: String,
    },
    /// A tracker of the settings is no URL.
    #[error("{0:?} is not the URL of a tracker (http, https or udp)")]
    Tracker(String),
    /// The torrent file is unusable: whoever made it is at fault.
    #[error(transparent)]
    Metainfo(#[from] MetainfoError),
    /// The magnet link is unusable.
    #[error(transparent)]
    Magnet(#[from] MagnetError),
    /// Content is there already.
    #[error("{} exists already; to resume or seed it allow overwriting, or choose another folder", .0.display())]
    Exists(PathBuf),
    /// The path of the folder is not UTF-8, which librqbit needs.
    #[error("the folder {} cannot be used: its name is not UTF-8", .0.display())]
    Folder(PathBuf),
    /// librqbit did not take the torrent: mostly files cannot be created.
    #[error("the torrent {info_hash} could not be added: {reason}")]
    Add {
        /// The torrent.
        info_hash: InfoHash,
        /// What librqbit says.
        reason: String,
    },
    /// No peer gave a magnet's metadata.
    #[error("the metadata of {info_hash} could not be fetched: {reason}")]
    Metadata {
        /// The torrent.
        info_hash: InfoHash,
        /// What librqbit says.
        reason: String,
    },
    /// The torrent stopped: mostly the disk is full or a file is gone.
    #[error("the torrent {info_hash} stopped: {reason}; mend it and resume the torrent")]
    Stopped {
        /// The torrent.
        info_hash: InfoHash,
        /// What librqbit says.
        reason: String,
    },
    /// Files could not be deleted.
    #[error("could not delete {}: {reason}", path.display())]
    Delete {
        /// The file.
        path: PathBuf,
        /// What the system says.
        reason: String,
    },
    /// The torrent was removed, or the engine stopped.
    #[error("the torrent {0} is no longer there")]
    Gone(InfoHash),
    /// The torrent's metadata is not known yet.
    #[error("the metadata of {0} is not known yet")]
    NotYet(InfoHash),
}
