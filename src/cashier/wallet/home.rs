//! A wallet's home: a directory that only its owner may read, and in it the seed, encrypted under a
//! passphrase (`docs/protocol.md` section 11).
//!
//! The seed file, integers big-endian: `"DPaySeed"`, version u8 = 1, flags u8 (bit 0: the passphrase
//! is empty), Argon2id memory in KiB u32, passes u32, lanes u32, salt 16, nonce 24, then 32 bytes of
//! seed under XChaCha20-Poly1305 with all before the ciphertext as associated data: 110 bytes.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use argon2::{Algorithm, Argon2, Params, Version};
use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use thiserror::Error;
use zeroize::Zeroizing;

use crate::coin::Seed;

/// Name of the seed file.
pub const SEED_FILE: &str = "wallet.seed";

const MAGIC: &[u8; 8] = b"DPaySeed";
const VERSION: u8 = 1;
const FLAG_EMPTY: u8 = 1;
const HEAD: usize = 8 + 1 + 1 + 12 + 16 + 24;
const SIZE: usize = HEAD + 32 + 16;
/// Cost for a passphrase: 64 MiB, three passes.
const COST: (u32, u32, u32) = (64 * 1024, 3, 1);
/// Cost where the passphrase is empty and cost would protect nothing.
const NO_COST: (u32, u32, u32) = (8, 1, 1);
/// A file that asks for more memory than this is not ours: 1 GiB.
const MAX_MEMORY_KIB: u32 = 1 << 20;
const MAX_PASSES: u32 = 64;
const MAX_LANES: u32 = 16;

/// Why a wallet's home or seed cannot be used.
#[derive(Debug, Error)]
pub enum HomeError {
    /// Others may look into the directory.
    #[error(
        "{} can be entered by other users (mode {mode:03o}): run `chmod 700` on it, or name an \
         empty or new directory", path.display()
    )]
    Open {
        /// The directory.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// There is a wallet already.
    #[error("there is a wallet in {} already: it stays untouched", .0.display())]
    Exists(PathBuf),
    /// There is no wallet.
    #[error("there is no wallet in {}: run `dpay wallet init` first", .0.display())]
    Missing(PathBuf),
    /// The passphrase does not open the seed, or the file was changed.
    #[error("the passphrase is wrong (or {} is damaged)", .0.display())]
    Passphrase(PathBuf),
    /// An empty passphrase that nobody asked for.
    #[error("an empty passphrase protects nothing: choose one, or say --no-passphrase")]
    EmptyPassphrase,
    /// Bytes that are no seed file of this version.
    #[error("{} is no seed file that this version of dpay reads", .0.display())]
    NoSeedFile(PathBuf),
    /// A file could not be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

/// What opens a wallet's seed. Wiped when dropped, never shown.
#[derive(Clone)]
pub struct Passphrase(Option<Zeroizing<String>>);

impl Passphrase {
    /// A passphrase. Space and line ends around it do not count, so that a file may end in one.
    ///
    /// # Errors
    /// [`HomeError::EmptyPassphrase`]: that must be said by [`Passphrase::none`].
    pub fn new(text: &str) -> Result<Passphrase, HomeError> {
        let text = text.trim();
        if text.is_empty() {
            return Err(HomeError::EmptyPassphrase);
        }
        Ok(Passphrase(Some(Zeroizing::new(text.to_owned()))))
    }

    /// Explicitly none: whoever reads the file has the money.
    #[must_use]
    pub fn none() -> Passphrase {
        Passphrase(None)
    }

    fn bytes(&self) -> &[u8] {
        self.0.as_ref().map_or(&[], |text| text.as_bytes())
    }
}

impl std::fmt::Debug for Passphrase {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Passphrase(not shown)")
    }
}

fn io_error(path: &Path) -> impl FnOnce(io::Error) -> HomeError {
    let path = path.to_path_buf();
    move |source| HomeError::Io { path, source }
}

/// Makes `home`, or takes it if it is there, and sees to it that only its owner may enter. An empty
/// directory is closed to others; one with something in it is refused instead, because that may be
/// there for others.
///
/// # Errors
/// [`HomeError::Open`], or what hinders making it.
pub fn prepare(home: &Path) -> Result<(), HomeError> {
    if !home.exists() {
        let mut builder = fs::DirBuilder::new();
        builder.recursive(true);
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.create(home).map_err(io_error(home))?;
    }
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let is_empty = || {
            let mut entries = fs::read_dir(home).map_err(io_error(home))?;
            Ok::<bool, HomeError>(entries.next().is_none())
        };
        if check_private(home).is_err() && is_empty()? {
            let private = fs::Permissions::from_mode(0o700);
            fs::set_permissions(home, private).map_err(io_error(home))?;
        }
    }
    check_private(home)
}

/// Refuses a home that others may enter.
///
/// # Errors
/// [`HomeError::Open`], or [`HomeError::Missing`] where there is none.
pub fn check_private(home: &Path) -> Result<(), HomeError> {
    let meta = match fs::metadata(home) {
        Ok(meta) => meta,
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            return Err(HomeError::Missing(home.to_path_buf()));
        }
        Err(e) => return Err(io_error(home)(e)),
    };
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = meta.permissions().mode() & 0o777;
        if mode & 0o077 != 0 {
            return Err(HomeError::Open {
                path: home.to_path_buf(),
                mode,
            });
        }
    }
    #[cfg(not(unix))]
    let _ = meta;
    Ok(())
}

/// Whether there is a wallet in `home`.
#[must_use]
pub fn has_wallet(home: &Path) -> bool {
    home.join(SEED_FILE).exists()
}

/// Whether the wallet in `home` opens without a passphrase, as its file says.
///
/// # Errors
/// What hinders reading the file.
pub fn needs_passphrase(home: &Path) -> Result<bool, HomeError> {
    let bytes = read_file(home)?;
    Ok(bytes[9] & FLAG_EMPTY == 0)
}

/// Writes the seed, encrypted. `salt` and `nonce` are random and never used again. What is there
/// already is never overwritten.
///
/// # Errors
/// [`HomeError::Exists`], or what hinders writing.
pub fn write_seed(
    home: &Path,
    seed: &Seed,
    passphrase: &Passphrase,
    salt: [u8; 16],
    nonce: [u8; 24],
) -> Result<(), HomeError> {
    let path = home.join(SEED_FILE);
    let (flags, cost) = match passphrase.0 {
        None => (FLAG_EMPTY, NO_COST),
        Some(_) => (0, COST),
    };
    let mut out = Vec::with_capacity(SIZE);
    out.extend_from_slice(MAGIC);
    out.extend_from_slice(&[VERSION, flags]);
    for number in [cost.0, cost.1, cost.2] {
        out.extend_from_slice(&number.to_be_bytes());
    }
    out.extend_from_slice(&salt);
    out.extend_from_slice(&nonce);
    let no_file = || HomeError::NoSeedFile(path.clone());
    let cipher = cipher(passphrase, &salt, cost).ok_or_else(no_file)?;
    let payload = Payload {
        msg: seed.as_entropy(),
        aad: &out,
    };
    let sealed = cipher
        .encrypt(&XNonce::from(nonce), payload)
        .map_err(|_| no_file())?;
    out.extend_from_slice(&sealed);
    write_new(&path, &out)
}

/// Writes a file that is not there yet, for its owner only, and waits until it is on the disk.
fn write_new(path: &Path, bytes: &[u8]) -> Result<(), HomeError> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = match options.open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
            return Err(HomeError::Exists(path.to_path_buf()));
        }
        Err(e) => return Err(io_error(path)(e)),
    };
    file.write_all(bytes).map_err(io_error(path))?;
    file.sync_all().map_err(io_error(path))?;
    if let Some(parent) = path.parent()
        && let Ok(directory) = fs::File::open(parent)
    {
        // Some file systems cannot sync a directory; the file itself is safe then.
        let _ = directory.sync_all();
    }
    Ok(())
}

/// Reads and decrypts the seed.
///
/// # Errors
/// [`HomeError::Missing`], [`HomeError::Passphrase`], or what hinders reading.
pub fn read_seed(home: &Path, passphrase: &Passphrase) -> Result<Seed, HomeError> {
    let path = home.join(SEED_FILE);
    let bytes = read_file(home)?;
    let no_file = || HomeError::NoSeedFile(path.clone());
    let number = |at: usize| -> Option<u32> {
        let four = bytes.get(at..at.checked_add(4)?)?;
        Some(u32::from_be_bytes(four.try_into().ok()?))
    };
    let cost = match (number(10), number(14), number(18)) {
        (Some(memory), Some(passes), Some(lanes))
            if memory <= MAX_MEMORY_KIB && passes <= MAX_PASSES && lanes <= MAX_LANES =>
        {
            (memory, passes, lanes)
        }
        _ => return Err(no_file()),
    };
    let salt: [u8; 16] = bytes[22..38].try_into().map_err(|_| no_file())?;
    let nonce: [u8; 24] = bytes[38..HEAD].try_into().map_err(|_| no_file())?;
    let cipher = cipher(passphrase, &salt, cost).ok_or_else(no_file)?;
    let payload = Payload {
        msg: &bytes[HEAD..],
        aad: &bytes[..HEAD],
    };
    let wrong = || HomeError::Passphrase(path.clone());
    let opened = cipher.decrypt(&XNonce::from(nonce), payload);
    let entropy = Zeroizing::new(opened.map_err(|_| wrong())?);
    let entropy: [u8; 32] = entropy.as_slice().try_into().map_err(|_| no_file())?;
    Ok(Seed::from_entropy(entropy))
}

fn read_file(home: &Path) -> Result<[u8; SIZE], HomeError> {
    let path = home.join(SEED_FILE);
    let bytes = match fs::read(&path) {
        Ok(bytes) => bytes,
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            return Err(HomeError::Missing(home.to_path_buf()));
        }
        Err(e) => return Err(io_error(&path)(e)),
    };
    match <[u8; SIZE]>::try_from(bytes.as_slice()) {
        Ok(bytes) if bytes.starts_with(MAGIC) && bytes[8] == VERSION => Ok(bytes),
        _ => Err(HomeError::NoSeedFile(path)),
    }
}

fn cipher(
    passphrase: &Passphrase,
    salt: &[u8; 16],
    (memory, passes, lanes): (u32, u32, u32),
) -> Option<XChaCha20Poly1305> {
    let params = Params::new(memory, passes, lanes, Some(32)).ok()?;
    let argon = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    let mut key = Zeroizing::new([0u8; 32]);
    argon
        .hash_password_into(passphrase.bytes(), salt, key.as_mut())
        .ok()?;
    XChaCha20Poly1305::new_from_slice(key.as_ref()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seed() -> Seed {
        Seed::from_entropy([9; 32])
    }

    fn private() -> tempfile::TempDir {
        let dir = tempfile::tempdir().expect("a directory");
        prepare(dir.path()).expect("private");
        dir
    }

    #[test]
    fn the_seed_comes_back_with_its_passphrase_only() {
        let dir = private();
        let good = Passphrase::new("correct horse\n").expect("not empty");
        write_seed(dir.path(), &seed(), &good, [1; 16], [2; 24]).expect("written");
        assert!(needs_passphrase(dir.path()).expect("read"));
        let again = read_seed(dir.path(), &good).expect("opens");
        assert_eq!(again.as_entropy(), seed().as_entropy());
        for bad in [Passphrase::new("wrong").expect("text"), Passphrase::none()] {
            let refused = read_seed(dir.path(), &bad);
            assert!(matches!(refused, Err(HomeError::Passphrase(_))));
        }
    }

    #[test]
    fn an_empty_passphrase_has_the_same_format_and_must_be_asked_for() {
        let dir = private();
        assert!(matches!(
            Passphrase::new(" \n"),
            Err(HomeError::EmptyPassphrase)
        ));
        write_seed(dir.path(), &seed(), &Passphrase::none(), [1; 16], [2; 24]).expect("written");
        assert!(!needs_passphrase(dir.path()).expect("read"));
        let file = fs::read(dir.path().join(SEED_FILE)).expect("read");
        assert_eq!(file.len(), SIZE);
        assert!(!file.windows(32).any(|w| w == seed().as_entropy()));
        read_seed(dir.path(), &Passphrase::none()).expect("opens");
    }

    #[test]
    fn any_changed_byte_of_the_file_is_noticed() {
        let dir = private();
        let path = dir.path().join(SEED_FILE);
        write_seed(dir.path(), &seed(), &Passphrase::none(), [1; 16], [2; 24]).expect("written");
        let good = fs::read(&path).expect("read");
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 1;
            fs::write(&path, &bad).expect("write");
            assert!(
                read_seed(dir.path(), &Passphrase::none()).is_err(),
                "byte {at}"
            );
        }
    }

    #[test]
    fn a_wallet_is_never_overwritten() {
        let dir = private();
        write_seed(dir.path(), &seed(), &Passphrase::none(), [1; 16], [2; 24]).expect("written");
        let other = Seed::from_entropy([7; 32]);
        let again = write_seed(dir.path(), &other, &Passphrase::none(), [1; 16], [2; 24]);
        assert!(matches!(again, Err(HomeError::Exists(_))));
        let kept = read_seed(dir.path(), &Passphrase::none()).expect("opens");
        assert_eq!(kept.as_entropy(), seed().as_entropy());
    }

    #[cfg(unix)]
    #[test]
    fn only_the_owner_may_enter_and_read() {
        use std::os::unix::fs::PermissionsExt;
        let outer = private();
        let home = outer.path().join("new").join("home");
        prepare(&home).expect("made");
        let mode = |path: &Path| fs::metadata(path).expect("there").permissions().mode() & 0o777;
        assert_eq!(mode(&home), 0o700);
        write_seed(&home, &seed(), &Passphrase::none(), [1; 16], [2; 24]).expect("written");
        assert_eq!(mode(&home.join(SEED_FILE)), 0o600);
        fs::set_permissions(&home, fs::Permissions::from_mode(0o755)).expect("set");
        assert!(matches!(
            prepare(&home),
            Err(HomeError::Open { mode: 0o755, .. })
        ));
        let empty = outer.path().join("empty");
        fs::create_dir(&empty).expect("made");
        fs::set_permissions(&empty, fs::Permissions::from_mode(0o755)).expect("set");
        prepare(&empty).expect("an empty directory is closed to others");
        assert_eq!(mode(&empty), 0o700);
    }
}
