//! A wallet's home: a directory that only its owner may read, and in it the seed, encrypted under a
//! passphrase (`docs/protocol.md` section 11).
//!
//! The seed file is the 32 bytes of the seed, sealed as `sealed.rs` says under the name `"DPaySeed"`.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use thiserror::Error;
use zeroize::Zeroizing;

use super::sealed;
use crate::coin::Seed;
use crate::random;
use crate::store::wallet::WriterLock;

/// Name of the seed file.
pub const SEED_FILE: &str = "wallet.seed";
/// Name of the file in a home that the home's node has locked; it stays when the node ends.
pub const NODE_LOCK: &str = "node.lock";

/// The seed file under another passphrase, before it takes the place of the one that is there.
const NEW_SEED_FILE: &str = "wallet.seed.new";

const MAGIC: &[u8; 8] = b"DPaySeed";
const SIZE: usize = sealed::OVERHEAD + 32;

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
    /// A file is there already, where another is to be written.
    #[error("{} is there already and stays untouched: name another file", .0.display())]
    FileExists(PathBuf),
    /// Something is there already, where a wallet is to be restored.
    #[error(
        "{} is not empty: a wallet is only restored into an empty or new directory, or the home of a node that \
         has none yet", .0.display()
    )]
    NotEmpty(PathBuf),
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
    /// Bytes that are no backup of this version.
    #[error("{} is no backup of a wallet that this version of dpay reads", .0.display())]
    NoBackup(PathBuf),
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

    pub(super) fn is_none(&self) -> bool {
        self.0.is_none()
    }

    pub(super) fn bytes(&self) -> &[u8] {
        self.0.as_ref().map_or(&[], |text| text.as_bytes())
    }
}

impl std::fmt::Debug for Passphrase {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Passphrase(not shown)")
    }
}

pub(super) fn io_error(path: &Path) -> impl FnOnce(io::Error) -> HomeError {
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

/// Makes `home`, or takes it if it is there and empty, or if a node without wallet ran in it.
///
/// # Errors
/// [`HomeError::NotEmpty`], or as [`prepare`].
pub fn prepare_empty(home: &Path) -> Result<(), HomeError> {
    if home.exists() {
        let mut entries = fs::read_dir(home).map_err(io_error(home))?;
        let is_taken = match home.join(NODE_LOCK).exists() {
            true => entries.any(|entry| entry.map_or(true, |entry| is_of_wallet(&entry))),
            false => entries.next().is_some(),
        };
        if is_taken {
            return Err(HomeError::NotEmpty(home.to_path_buf()));
        }
    }
    prepare(home)
}

fn is_of_wallet(entry: &fs::DirEntry) -> bool {
    let name = entry.file_name();
    name.to_string_lossy().starts_with("wallet.")
}

/// Removes the files of a wallet that was not made to its end.
pub(super) fn empty(home: &Path) {
    let Ok(entries) = fs::read_dir(home) else {
        return;
    };
    for entry in entries.flatten() {
        if is_of_wallet(&entry) {
            let _ = fs::remove_file(entry.path());
        }
    }
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

/// Whether a process makes or uses the wallet in `home` at this moment.
#[must_use]
pub fn is_in_use(home: &Path) -> bool {
    WriterLock::is_taken(home)
}

/// Whether the wallet in `home` opens without a passphrase, as its file says.
///
/// # Errors
/// What hinders reading the file.
pub fn needs_passphrase(home: &Path) -> Result<bool, HomeError> {
    Ok(sealed::needs_passphrase(&read_file(home)?))
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
    let out = sealed::seal(MAGIC, seed.as_entropy(), passphrase, (salt, nonce));
    write_new(
        &path,
        &out.ok_or_else(|| HomeError::NoSeedFile(path.clone()))?,
    )
}

/// Seals the seed that is there under another passphrase: from one moment on the file opens with `new` and no
/// more with the one before, and a process that is killed leaves one of the two. The caller has the lock of the
/// wallet, and `seed` is the wallet's.
///
/// # Errors
/// What hinders writing. Where it was the last step, the file may open with `new` already.
pub fn replace_seed(home: &Path, seed: &Seed, new: &Passphrase) -> Result<(), HomeError> {
    let (path, beside) = (home.join(SEED_FILE), home.join(NEW_SEED_FILE));
    let fresh = (random::bytes(), random::bytes());
    let out = sealed::seal(MAGIC, seed.as_entropy(), new, fresh);
    let out = out.ok_or_else(|| HomeError::NoSeedFile(path.clone()))?;
    // What one left that was killed.
    match fs::remove_file(&beside) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(io_error(&beside)(e)),
        _ => {}
    }
    let moved =
        write_new(&beside, &out).and_then(|()| fs::rename(&beside, &path).map_err(io_error(&path)));
    if moved.is_err() {
        let _ = fs::remove_file(&beside);
    }
    moved?;
    sync_folder(home).map_err(io_error(home))
}

/// Waits until the names in a folder are on the disk, where the file system can say that.
fn sync_folder(folder: &Path) -> io::Result<()> {
    match fs::File::open(folder)?.sync_all() {
        Err(e)
            if matches!(
                e.kind(),
                io::ErrorKind::Unsupported | io::ErrorKind::InvalidInput
            ) =>
        {
            Ok(())
        }
        synced => synced,
    }
}

/// Writes a file that is not there yet, for its owner only, and waits until it is on the disk.
pub(super) fn write_new(path: &Path, bytes: &[u8]) -> Result<(), HomeError> {
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
    let entropy = sealed::unseal(&path, MAGIC, &read_file(home)?, passphrase)?;
    let entropy: Result<[u8; 32], _> = entropy.as_slice().try_into();
    entropy
        .map(Seed::from_entropy)
        .map_err(|_| HomeError::NoSeedFile(path))
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
        Ok(bytes) if bytes.starts_with(MAGIC) => Ok(bytes),
        _ => Err(HomeError::NoSeedFile(path)),
    }
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

    #[test]
    fn another_passphrase_takes_the_place_of_the_first_whatever_an_earlier_try_left() {
        let dir = private();
        let (old, new) = (
            Passphrase::new("old").expect("text"),
            Passphrase::new("new").expect("text"),
        );
        write_seed(dir.path(), &seed(), &old, [1; 16], [2; 24]).expect("written");
        // One that was killed before the file took its place: the old one is as it was.
        fs::write(dir.path().join(NEW_SEED_FILE), b"half").expect("written");
        read_seed(dir.path(), &old).expect("opens");
        replace_seed(dir.path(), &seed(), &new).expect("written");
        let again = read_seed(dir.path(), &new).expect("opens");
        assert_eq!(again.as_entropy(), seed().as_entropy());
        assert!(matches!(
            read_seed(dir.path(), &old),
            Err(HomeError::Passphrase(_))
        ));
        assert!(!dir.path().join(NEW_SEED_FILE).exists());
        replace_seed(dir.path(), &seed(), &Passphrase::none()).expect("written");
        assert!(!needs_passphrase(dir.path()).expect("read"));
        read_seed(dir.path(), &Passphrase::none()).expect("opens");
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
