//! Metainfo: our maker, reading, magnet links, the private flag (BEP 3, BEP 9, BEP 27, BEP 47).
//!
//! Nothing here does IO: files are read by `cli/create.rs`, which feeds [`MetainfoBuilder`].
//! Everything read here was written by strangers, so every size, depth and count is bounded.

mod bencode;
mod files;
mod label;
mod magnet;
mod maker;
mod metainfo;
mod names;
mod pieces;

pub use bencode::BencodeError;
pub use files::TorrentFile;
pub use label::{LabelFault, check_label};
pub use magnet::{Magnet, MagnetError};
pub use maker::{Layout, MakeError, MetainfoBuilder, PieceLength};
pub use metainfo::{MAX_TRACKERS, Metainfo, MetainfoError, is_tracker};
pub use names::{NameFault, printable};
pub use pieces::PieceSet;
