//! Tests of the storage wrapper over files in memory: what is written when, and what is told.

use std::sync::atomic::AtomicBool;

use librqbit_core::lengths::Lengths;
use proptest::prelude::*;

use super::*;
use crate::engine::PieceEvent;
use crate::units::PieceIndex;

const PIECE: u32 = 100;

/// Files in memory that note each write.
#[derive(Clone, Default)]
struct FakeFiles {
    files: Arc<Mutex<Vec<Vec<u8>>>>,
    writes: Arc<Mutex<Vec<(usize, u64, usize)>>>,
    full: Arc<AtomicBool>,
    taken: Arc<AtomicBool>,
}

impl TorrentStorage for FakeFiles {
    fn init(&mut self, _: &ManagedTorrentShared, _: &TorrentMetadata) -> anyhow::Result<()> {
        Ok(())
    }

    fn pread_exact(&self, file: usize, offset: u64, buf: &mut [u8]) -> anyhow::Result<()> {
        anyhow::ensure!(!self.taken.load(Ordering::Relaxed), "taken");
        let from = offset as usize;
        buf.copy_from_slice(&self.files.lock()[file][from..from + buf.len()]);
        Ok(())
    }

    fn pwrite_all(&self, file: usize, offset: u64, buf: &[u8]) -> anyhow::Result<()> {
        anyhow::ensure!(!self.taken.load(Ordering::Relaxed), "taken");
        anyhow::ensure!(!self.full.load(Ordering::Relaxed), "disk full");
        self.writes.lock().push((file, offset, buf.len()));
        let from = offset as usize;
        self.files.lock()[file][from..from + buf.len()].copy_from_slice(buf);
        Ok(())
    }

    fn remove_file(&self, _: usize, _: &Path) -> anyhow::Result<()> {
        Ok(())
    }

    fn remove_directory_if_empty(&self, _: &Path) -> anyhow::Result<()> {
        Ok(())
    }

    fn ensure_file_length(&self, _: usize, _: u64) -> anyhow::Result<()> {
        Ok(())
    }

    fn take(&self) -> anyhow::Result<Box<dyn TorrentStorage>> {
        self.taken.store(true, Ordering::Relaxed);
        Ok(Box::new(FakeFiles {
            taken: Arc::default(),
            ..self.clone()
        }))
    }
}

struct World {
    storage: PieceStorage,
    fake: FakeFiles,
    events: Arc<Mutex<Vec<PieceEvent>>>,
    lengths: Lengths,
    starts: Vec<u64>,
}

const HASH: InfoHash = InfoHash([7; 20]);

fn world(files: &[(u64, bool)], bound_bytes: u64) -> World {
    let total = files.iter().map(|(length, _)| length).sum();
    let lengths = Lengths::new(total, PIECE).expect("lengths");
    let fake = FakeFiles::default();
    *fake.files.lock() = files.iter().map(|(l, _)| vec![0; *l as usize]).collect();
    let events = Arc::<Mutex<Vec<PieceEvent>>>::default();
    let sink = Arc::clone(&events);
    let sink: PieceSink = Arc::new(move |event| sink.lock().push(event));
    let mut starts = vec![0];
    starts.extend(files.iter().scan(0, |at, (length, _)| {
        *at += length;
        Some(*at)
    }));
    World {
        storage: PieceStorage {
            files: Box::new(fake.clone()),
            map: Arc::new(FileMap::new(files.iter().copied(), PIECE)),
            open: Mutex::default(),
            budget: Budget::new(bound_bytes),
            ledger: Ledger::new(HASH, lengths.total_pieces(), sink),
            clock: AtomicU64::new(0),
        },
        fake,
        events,
        lengths,
        starts,
    }
}

/// What byte `at` of the torrent is.
fn byte(at: u64) -> u8 {
    (at * 31 % 251) as u8 + 1
}

impl World {
    /// Writes a block as librqbit does: file by file, padding left out, in two slices.
    fn write(&self, from: u64, to: u64) -> anyhow::Result<()> {
        let bytes: Vec<u8> = (from..to).map(byte).collect();
        self.write_bytes(from, &bytes)
    }

    fn write_bytes(&self, from: u64, bytes: &[u8]) -> anyhow::Result<()> {
        let piece = (from / u64::from(PIECE)) as u32;
        let begins = u64::from(piece * PIECE);
        let range = (from - begins) as u32..(from - begins) as u32 + bytes.len() as u32;
        let mut rest = bytes;
        for part in self.storage.map.parts(piece, range) {
            let (now, later) = rest.split_at(part.range.len());
            rest = later;
            if part.padding {
                continue;
            }
            let (a, b) = now.split_at(now.len() / 3);
            let bufs = [IoSlice::new(a), IoSlice::new(b)];
            let wrote = self
                .storage
                .pwrite_all_vectored(part.file, part.file_offset, bufs)?;
            assert_eq!(wrote, now.len());
        }
        Ok(())
    }

    /// Reads a piece as librqbit's hash check does.
    fn check(&self, piece: u32) -> Vec<u8> {
        let length = self.storage.map.piece_bytes(piece);
        let mut out = vec![0; length as usize];
        for part in self.storage.map.parts(piece, 0..length) {
            let place = &mut out[part.range.start as usize..part.range.end as usize];
            if !part.padding {
                let read = self.storage.pread_exact(part.file, part.file_offset, place);
                read.expect("reads");
            }
        }
        out
    }

    fn complete(&self, piece: u32) {
        let piece = self.lengths.validate_piece_index(piece).expect("a piece");
        self.storage.on_piece_completed(piece).expect("completes");
    }

    fn on_disk(&self, from: u64, to: u64) -> Vec<u8> {
        let files = self.fake.files.lock();
        let of = |at: u64| {
            let file = self.starts.partition_point(|start| *start <= at) - 1;
            files[file][(at - self.starts[file]) as usize]
        };
        (from..to).map(of).collect()
    }
}

fn verified(piece: u32) -> PieceEvent {
    PieceEvent::Verified {
        info_hash: HASH,
        piece: PieceIndex(piece),
    }
}

fn failed(piece: u32) -> PieceEvent {
    PieceEvent::Failed {
        info_hash: HASH,
        piece: PieceIndex(piece),
    }
}

fn wanted(from: u64, to: u64) -> Vec<u8> {
    (from..to).map(byte).collect()
}

#[test]
fn a_piece_is_written_once_when_complete_and_read_from_memory() {
    let world = world(&[(250, false)], 1000);
    for from in [30, 0, 60, 90] {
        assert!(world.fake.writes.lock().is_empty());
        world.write(from, (from + 30).min(100)).expect("writes");
    }
    assert_eq!(*world.fake.writes.lock(), [(0, 0, 100)]);
    // The file is not asked: what it holds is overwritten here and does not show.
    world.fake.files.lock()[0].fill(0);
    assert_eq!(world.check(0), wanted(0, 100));
    assert!(world.events.lock().is_empty());
    assert_eq!(world.storage.budget.usage().held_bytes, 100);
    assert_eq!(world.storage.ledger.open_count(), 1);
    world.complete(0);
    assert_eq!(*world.events.lock(), [verified(0)]);
    assert_eq!(world.storage.budget.usage().held_bytes, 0);
    assert_eq!(world.storage.ledger.open_count(), 0);
    assert_eq!(
        world.check(0),
        vec![0; 100],
        "a verified piece is read from the files"
    );
}

#[test]
fn a_piece_over_several_files_is_one_write_each_and_padding_none() {
    let world = world(&[(40, false), (0, false), (35, true), (125, false)], 1000);
    world.write(0, 50).expect("writes");
    world.write(50, 100).expect("writes");
    assert_eq!(*world.fake.writes.lock(), [(0, 0, 40), (3, 0, 25)]);
    let mut content = wanted(0, 100);
    content[40..75].fill(0);
    assert_eq!(world.check(0), content);
    world.complete(0);
    assert_eq!(*world.events.lock(), [verified(0)]);
    world
        .storage
        .pwrite_all(1, 0, &[])
        .expect("nothing into an empty file");
    world
        .storage
        .pread_exact(1, 0, &mut [])
        .expect("nothing from an empty file");
}

#[test]
fn a_piece_fetched_again_after_its_check_has_failed() {
    let world = world(&[(200, false)], 1000);
    world.write_bytes(0, &[9; 50]).expect("writes");
    world.write_bytes(50, &[9; 50]).expect("writes");
    assert_eq!(world.check(0), [9; 100]);
    assert!(world.events.lock().is_empty());
    world.write(0, 50).expect("writes");
    assert_eq!(*world.events.lock(), [failed(0)]);
    world.write(50, 100).expect("writes");
    assert_eq!(world.check(0), wanted(0, 100));
    world.complete(0);
    assert_eq!(*world.events.lock(), [failed(0), verified(0)]);
    assert_eq!(world.on_disk(0, 100), wanted(0, 100));
    assert_eq!(world.storage.ledger.failed_count(), 1);
}

#[test]
fn blocks_of_a_peer_that_left_are_replaced_without_a_failure() {
    let world = world(&[(200, false)], 1000);
    // The first peer gave bad bytes for most of the piece and left; the second begins anew, with
    // the block that was missing.
    world.write_bytes(0, &[9; 70]).expect("writes");
    world.write(70, 100).expect("writes");
    world.write(0, 40).expect("writes");
    world.write(40, 70).expect("writes");
    assert_eq!(world.check(0), wanted(0, 100));
    assert_eq!(world.on_disk(0, 100), wanted(0, 100));
    world.complete(0);
    assert_eq!(*world.events.lock(), [verified(0)]);
}

#[test]
fn without_memory_each_block_goes_to_the_files() {
    let world = world(&[(200, false)], 99);
    world.write(0, 60).expect("writes");
    world.write(60, 100).expect("writes");
    assert_eq!(world.on_disk(0, 100), wanted(0, 100));
    assert_eq!(world.check(0), wanted(0, 100));
    world.write(0, 60).expect("writes");
    assert_eq!(
        *world.events.lock(),
        [failed(0)],
        "a failure shows all the same"
    );
    world.write(60, 100).expect("writes");
    world.complete(0);
    assert_eq!(*world.events.lock(), [failed(0), verified(0)]);
    let usage = world.storage.budget.usage();
    assert_eq!((usage.peak_bytes, usage.spilled_pieces), (0, 1));
}

#[test]
fn the_piece_that_waits_longest_makes_room() {
    let world = world(&[(400, false)], 250);
    world.write(0, 30).expect("writes");
    world.write(100, 150).expect("writes");
    world.write(30, 60).expect("writes");
    assert!(world.fake.writes.lock().is_empty());
    world.write(200, 210).expect("writes");
    assert_eq!(*world.fake.writes.lock(), [(0, 100, 50)]);
    world.write(150, 200).expect("writes");
    world.write(60, 100).expect("writes");
    world.write(210, 300).expect("writes");
    for piece in 0..3 {
        let from = u64::from(piece) * 100;
        assert_eq!(world.check(piece), wanted(from, from + 100));
        world.complete(piece);
    }
    assert_eq!(world.on_disk(0, 300), wanted(0, 300));
    let usage = world.storage.budget.usage();
    assert_eq!(
        (usage.peak_bytes, usage.held_bytes, usage.spilled_pieces),
        (200, 0, 1)
    );
}

#[test]
fn a_full_disk_fails_the_block_that_completes_the_piece() {
    let world = world(&[(200, false)], 1000);
    world.write(0, 60).expect("kept in memory");
    world.fake.full.store(true, Ordering::Relaxed);
    let error = world.write(60, 100).expect_err("cannot be written");
    assert_eq!(error.to_string(), "disk full");
    assert!(world.events.lock().is_empty());
}

#[test]
fn a_torrent_that_is_paused_lets_go_of_unfinished_pieces() {
    let world = world(&[(200, false)], 1000);
    world.write(0, 60).expect("writes");
    world.write(100, 200).expect("writes");
    world.check(1);
    let fresh = world.storage.take().expect("is taken");
    assert_eq!(world.storage.budget.usage().held_bytes, 0);
    assert_eq!(world.storage.ledger.open_count(), 0);
    // The check of piece 1 was passed just before, and is told of late.
    world.complete(1);
    assert_eq!(*world.events.lock(), [verified(1)]);
    assert_eq!(world.on_disk(100, 200), wanted(100, 200));
    // A late block into the old storage goes nowhere.
    world.write(0, 60).expect("kept in memory");
    assert!(world.write(60, 100).is_err());
    fresh.pwrite_all(0, 0, &wanted(0, 100)).expect("writes");
    let mut out = [0; 100];
    fresh.pread_exact(0, 0, &mut out).expect("reads");
    assert_eq!(out[..], wanted(0, 100));
}

#[test]
fn access_beyond_a_file_is_refused() {
    let world = world(&[(50, false), (50, false)], 1000);
    assert!(world.storage.pwrite_all(0, 40, &[0; 11]).is_err());
    assert!(world.storage.pwrite_all(2, 0, &[0]).is_err());
    assert!(world.storage.pwrite_all(0, u64::MAX, &[0]).is_err());
    world.write(0, 10).expect("writes");
    assert!(world.storage.pread_exact(0, 40, &mut [0; 11]).is_err());
}

proptest! {
    #[test]
    fn whatever_the_order_and_the_memory_the_files_hold_what_came(
        files in proptest::collection::vec((0u64..150, prop::bool::weighted(0.2)), 1..6),
        order in proptest::collection::vec(any::<prop::sample::Index>(), 200),
        bound_bytes in 0u64..400,
    ) {
        let total: u64 = files.iter().map(|(length, _)| length).sum();
        prop_assume!(total > 0);
        let world = world(&files, bound_bytes);
        let mut blocks: Vec<(u64, u64)> = Vec::new();
        for piece in 0..world.lengths.total_pieces() {
            let (mut at, end) = (u64::from(piece * PIECE), total.min(u64::from((piece + 1) * PIECE)));
            while at < end {
                blocks.push((at, end.min(at + 30)));
                at = end.min(at + 30);
            }
        }
        let mut missing: Vec<(u64, u64)> = blocks.clone();
        for index in order {
            if missing.is_empty() {
                break;
            }
            let (from, to) = missing.swap_remove(index.index(missing.len()));
            world.write(from, to).expect("writes");
            prop_assert!(world.storage.budget.usage().held_bytes <= bound_bytes);
            let piece = (from / u64::from(PIECE)) as u32;
            if missing.iter().all(|(other, _)| (other / u64::from(PIECE)) as u32 != piece) {
                let begins = u64::from(piece * PIECE);
                let mut content = wanted(begins, total.min(begins + u64::from(PIECE)));
                for part in world.storage.map.parts(piece, 0..content.len() as u32) {
                    if part.padding {
                        content[part.range.start as usize..part.range.end as usize].fill(0);
                    }
                }
                prop_assert_eq!(world.check(piece), content.clone());
                prop_assert_eq!(world.on_disk(begins, begins + content.len() as u64), content);
                world.complete(piece);
            }
        }
        prop_assert!(missing.is_empty());
        prop_assert_eq!(world.events.lock().len(), world.lengths.total_pieces() as usize);
        prop_assert_eq!(world.storage.budget.usage().held_bytes, 0);
        prop_assert_eq!(world.storage.ledger.open_count(), 0);
    }
}
