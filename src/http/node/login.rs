//! Who may ask: the token in the file, login codes, cookies, the password, and the lock-out.
//!
//! Secrets are 256 random bits and kept here only as SHA-256; comparisons take the same time
//! whatever differs. Cookies last over restarts, as their hashes are in a file; codes last no longer than
//! the process.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use argon2::password_hash::phc::PasswordHash;
use argon2::{Argon2, PasswordHasher, PasswordVerifier};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use tokio::sync::watch;

use crate::config::write_private;
use crate::session::Tries;
use crate::session::view::{Advice, Problem, ProblemCode};
use crate::units::UnixMs;
use crate::{clock, random};

/// The file of the token, in the home, for its owner only.
pub const TOKEN_FILE: &str = "api.token";
/// The file of the password's hash.
pub const PASSWORD_FILE: &str = "api.password";
/// The file of the hashes of the cookies that were given out, and until when each is good.
const COOKIES_FILE: &str = "api.cookies";
/// How the name of the cookie begins; what follows tells one node of a machine from another.
const COOKIE: &str = "dpay_session";
/// How long a login code is good.
pub(super) const CODE_S: u64 = 600;
/// How long a cookie is good.
pub(super) const COOKIE_S: u64 = 30 * 86_400;
/// Codes and cookies kept.
const MOST_CODES: usize = 16;
const MOST_COOKIES: usize = 64;

type Hashed = [u8; 32];

fn hashed(secret: &str) -> Hashed {
    Sha256::digest(secret.as_bytes()).into()
}

fn same(a: &Hashed, b: &Hashed) -> bool {
    a.ct_eq(b).into()
}

/// The token is what a home has for itself, also one in a container, whose path many have; these are 32 bits
/// of a hash of its 256.
fn cookie_name(token: &str) -> String {
    let [a, b, c, d, ..] = hashed(&format!("{COOKIE} {token}"));
    format!("{COOKIE}_{}", hex::encode([a, b, c, d]))
}

fn new_secret() -> String {
    hex::encode(random::bytes::<32>())
}

#[derive(Debug, Default)]
struct State {
    codes: VecDeque<(Hashed, UnixMs)>,
    cookies: VecDeque<(Hashed, UnixMs)>,
    password: Option<String>,
    tries: Tries,
}

/// Who may ask.
#[derive(Debug)]
pub struct Logins {
    token: Hashed,
    cookie_name: String,
    state: Mutex<State>,
    home: std::path::PathBuf,
    /// Told whenever cookies are taken back.
    ended: watch::Sender<()>,
}

impl Logins {
    /// Reads the token and the password's hash in `home`, and makes the token where there is none.
    ///
    /// # Errors
    /// What the system says of the files, or a token file that others can read.
    pub fn open(home: &Path) -> std::io::Result<Logins> {
        let token = token(home)?;
        let password = match std::fs::read_to_string(home.join(PASSWORD_FILE)) {
            Ok(text) => Some(text.trim().to_owned()),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        let state = State {
            password,
            cookies: kept_cookies(home),
            ..State::default()
        };
        Ok(Logins {
            token: hashed(&token),
            cookie_name: cookie_name(&token),
            state: Mutex::new(state),
            home: home.to_path_buf(),
            ended: watch::Sender::new(()),
        })
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the cookie is called: browsers send a host's cookies to all of its ports, so that each home needs a
    /// name of its own.
    #[must_use]
    pub fn cookie_name(&self) -> &str {
        &self.cookie_name
    }

    /// Whether a password is set.
    #[must_use]
    pub fn has_password(&self) -> bool {
        self.state().password.is_some()
    }

    /// Whether it is the token.
    #[must_use]
    pub fn is_token(&self, token: &str) -> bool {
        same(&hashed(token), &self.token)
    }

    /// Whether it is the value of a cookie that was given out.
    #[must_use]
    pub fn is_cookie(&self, value: &str) -> bool {
        let (value, now) = (hashed(value), clock::now());
        let state = self.state();
        // All are looked at, whichever it is.
        let hits = state.cookies.iter();
        hits.fold(false, |hit, (known, until)| {
            hit | (same(known, &value) & (now < *until))
        })
    }

    /// A code that logs a browser in once.
    pub fn new_code(&self) -> String {
        let code = new_secret();
        let until = clock::now().plus_ms(CODE_S * 1000);
        let mut state = self.state();
        state.codes.push_back((hashed(&code), until));
        if state.codes.len() > MOST_CODES {
            state.codes.pop_front();
        }
        code
    }

    /// A cookie for a code, which is used up.
    ///
    /// # Errors
    /// A code that is none, used or old.
    pub fn by_code(&self, code: &str) -> Result<String, Problem> {
        let (code, now) = (hashed(code), clock::now());
        let mut state = self.state();
        state.codes.retain(|(_, until)| now < *until);
        let at = state.codes.iter().position(|(known, _)| same(known, &code));
        match at {
            Some(at) => {
                state.codes.remove(at);
                Ok(self.give_cookie(&mut state))
            }
            None => Err(Problem::new(
                ProblemCode::LoginWrong,
                "this link was used already, or is too old",
                Advice::OpenAnew,
            )),
        }
    }

    /// A cookie for the password. Takes its time: run it where blocking is allowed.
    ///
    /// # Errors
    /// No password set, a wrong one, or too many wrong ones lately.
    pub fn by_password(&self, password: &str) -> Result<String, Problem> {
        let known = {
            let mut state = self.state();
            let now = clock::now();
            state.tries.begin(now).map_err(|wait_s| {
                let error = format!("too many wrong passwords: wait {wait_s} seconds");
                Problem::new(ProblemCode::LockedOut, error, Advice::WaitOrOpen)
                    .about(format_args!("{wait_s} s"))
            })?;
            state.password.clone()
        };
        let Some(known) = known else {
            return Err(Problem::new(
                ProblemCode::LoginWrong,
                "no password is set for this node",
                Advice::Open,
            ));
        };
        let right = PasswordHash::new(&known).is_ok_and(|known| {
            Argon2::default()
                .verify_password(password.as_bytes(), &known)
                .is_ok()
        });
        let mut state = self.state();
        if right {
            state.tries = Tries::default();
            return Ok(self.give_cookie(&mut state));
        }
        Err(Problem::new(
            ProblemCode::LoginWrong,
            "the password is wrong",
            Advice::TryAgainOrOpen,
        ))
    }

    /// Takes a cookie back.
    pub fn log_out(&self, value: &str) {
        let value = hashed(value);
        let mut state = self.state();
        state.cookies.retain(|(known, _)| !same(known, &value));
        self.keep_cookies(&state);
        drop(state);
        self.ended.send_replace(());
    }

    /// Changes whenever cookies are taken back: what goes on for long looks whether its own still holds.
    pub fn ended(&self) -> watch::Receiver<()> {
        self.ended.subscribe()
    }

    /// Sets the password, or takes it away; all cookies and codes end. Returns a cookie for whoever did it.
    /// Takes its time.
    ///
    /// # Errors
    /// A password that is too short or long, or a file that cannot be written.
    pub fn set_password(&self, password: Option<&str>) -> Result<String, Problem> {
        let disk = |error: std::io::Error| {
            Problem::new(
                ProblemCode::Disk,
                format!("{}: {error}", self.home.join(PASSWORD_FILE).display()),
                Advice::LetWrite,
            )
            .about(self.home.join(PASSWORD_FILE).display())
        };
        let path = self.home.join(PASSWORD_FILE);
        let new = match password {
            Some(text) if (8..=200).contains(&text.chars().count()) => {
                let hash = Argon2::default()
                    .hash_password_with_salt(text.as_bytes(), &random::bytes::<16>());
                let hash = hash.map_err(|error| {
                    Problem::new(
                        ProblemCode::Internal,
                        error.to_string(),
                        Advice::OtherPassword,
                    )
                })?;
                Some(hash.to_string())
            }
            Some(_) => {
                return Err(Problem::new(
                    ProblemCode::BadRequest,
                    "a password needs 8 to 200 characters",
                    Advice::LongerPassword,
                ));
            }
            None => None,
        };
        // First: none of them may come back with the next start.
        remove(&self.home.join(COOKIES_FILE)).map_err(disk)?;
        match &new {
            Some(hash) => write_private(&path, hash.as_bytes()).map_err(disk)?,
            None => remove(&path).map_err(disk)?,
        }
        let mut state = self.state();
        *state = State {
            password: new,
            ..State::default()
        };
        let cookie = self.give_cookie(&mut state);
        drop(state);
        self.ended.send_replace(());
        Ok(cookie)
    }

    fn give_cookie(&self, state: &mut State) -> String {
        let cookie = new_secret();
        let now = clock::now();
        state.cookies.retain(|(_, until)| now < *until);
        let until = now.plus_ms(COOKIE_S * 1000);
        state.cookies.push_back((hashed(&cookie), until));
        if state.cookies.len() > MOST_COOKIES {
            state.cookies.pop_front();
        }
        self.keep_cookies(state);
        cookie
    }

    /// Writes them down. Where that fails, none of them lasts over a restart: also one that was taken back
    /// does not.
    fn keep_cookies(&self, state: &State) {
        let path = self.home.join(COOKIES_FILE);
        let lines = state.cookies.iter();
        let text: String = lines
            .map(|(known, until)| format!("{} {}\n", hex::encode(known), until.0))
            .collect();
        if let Err(error) = write_private(&path, text.as_bytes()) {
            tracing::warn!(
                "{}: {error}: browsers sign in anew after a restart",
                path.display()
            );
            if let Err(error) = remove(&path) {
                tracing::error!(
                    "{}: {error}: remove it, it may hold logins that were ended",
                    path.display()
                );
            }
        }
    }
}

/// Removes a file, if it is there.
pub(super) fn remove(path: &Path) -> std::io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// The cookies of earlier runs. A file that others can write to, or that is none of ours, counts for nothing.
fn kept_cookies(home: &Path) -> VecDeque<(Hashed, UnixMs)> {
    let path = home.join(COOKIES_FILE);
    let read = match std::fs::read_to_string(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return VecDeque::new(),
        read => read.and_then(|text| check_private(&path).map(|()| text)),
    };
    let cookie = |line: &str| {
        let (known, until) = line.split_once(' ')?;
        let known = hex::decode(known).ok()?.try_into().ok()?;
        Some((known, UnixMs(until.parse().ok()?)))
    };
    let cookies = read.and_then(|text| {
        let cookies: Option<VecDeque<_>> = text.lines().map(cookie).collect();
        cookies.ok_or_else(|| std::io::Error::other("no file of logins"))
    });
    cookies.unwrap_or_else(|error| {
        tracing::warn!("{}: {error}: browsers sign in anew", path.display());
        VecDeque::new()
    })
}

/// The token in `home`; a new one where there is none.
fn token(home: &Path) -> std::io::Result<String> {
    let path = home.join(TOKEN_FILE);
    match std::fs::read_to_string(&path) {
        Ok(text) if text.trim().len() == 64 => {
            check_private(&path)?;
            Ok(text.trim().to_owned())
        }
        Ok(_) => fresh(&path),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => fresh(&path),
        Err(error) => Err(error),
    }
}

fn fresh(path: &Path) -> std::io::Result<String> {
    let token = new_secret();
    write_private(path, token.as_bytes())?;
    Ok(token)
}

fn check_private(path: &Path) -> std::io::Result<()> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = std::fs::metadata(path)?.permissions().mode() & 0o777;
        if mode & 0o077 != 0 {
            return Err(std::io::Error::other(format!(
                "{} can be read by others (mode {mode:03o}): delete it, a new one is made",
                path.display()
            )));
        }
    }
    let _ = path;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open() -> (tempfile::TempDir, Logins) {
        let dir = tempfile::tempdir().expect("a directory");
        let logins = Logins::open(dir.path()).expect("opens");
        (dir, logins)
    }

    #[test]
    fn a_code_logs_in_once_and_a_cookie_until_it_is_taken_back() {
        let (_dir, logins) = open();
        let code = logins.new_code();
        let cookie = logins.by_code(&code).expect("good once");
        assert!(logins.by_code(&code).is_err());
        assert!(logins.is_cookie(&cookie) && !logins.is_cookie(&code));
        logins.log_out(&cookie);
        assert!(!logins.is_cookie(&cookie));
    }

    #[test]
    fn a_cookie_lasts_over_a_restart_until_it_is_taken_back_or_the_password_changes() {
        let (dir, logins) = open();
        let again = || Logins::open(dir.path()).expect("opens");
        let cookie = |logins: &Logins| logins.by_code(&logins.new_code()).expect("good");
        let (kept, ended) = (cookie(&logins), cookie(&logins));
        logins.log_out(&ended);
        assert_eq!(again().cookie_name(), logins.cookie_name());
        assert_ne!(open().1.cookie_name(), logins.cookie_name());
        assert!(again().is_cookie(&kept) && !again().is_cookie(&ended));
        let path = dir.path().join(COOKIES_FILE);
        let text = std::fs::read_to_string(&path).expect("there");
        assert!(!text.contains(&kept), "only its hash is written");
        std::fs::write(&path, format!("{} 1\n", hex::encode(hashed(&kept)))).expect("written");
        assert!(!again().is_cookie(&kept), "that was good until long ago");
        std::fs::write(&path, "anything").expect("written");
        assert!(!again().is_cookie(&kept));
        std::fs::write(&path, &text).expect("written");
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode = |mode| std::fs::set_permissions(&path, PermissionsExt::from_mode(mode));
            mode(0o666).expect("set");
            assert!(!again().is_cookie(&kept), "anybody could have written it");
            mode(0o600).expect("set");
        }
        assert!(again().is_cookie(&kept));
        let new = again().set_password(Some("long enough")).expect("set");
        assert!(again().is_cookie(&new) && !again().is_cookie(&kept));
    }

    #[test]
    fn the_token_is_kept_in_a_file_for_its_owner_only() {
        let (dir, logins) = open();
        let path = dir.path().join(TOKEN_FILE);
        let token = std::fs::read_to_string(&path).expect("there");
        assert_eq!(token.len(), 64, "256 bits in hex");
        assert!(logins.is_token(&token) && !logins.is_token("") && !logins.is_token(&token[1..]));
        assert!(Logins::open(dir.path()).expect("opens").is_token(&token));
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode = |path: &Path| std::fs::metadata(path).expect("there").permissions().mode();
            assert_eq!(mode(&path) & 0o777, 0o600);
            let open = std::fs::Permissions::from_mode(0o644);
            std::fs::set_permissions(&path, open).expect("set");
            assert!(
                Logins::open(dir.path()).is_err(),
                "a token that others can read"
            );
        }
    }

    #[test]
    fn five_wrong_passwords_lock_everybody_out_even_with_the_right_one() {
        let (_dir, logins) = open();
        assert!(logins.set_password(Some("short")).is_err());
        logins.set_password(Some("long enough")).expect("set");
        assert!(logins.by_password("long enough").is_ok());
        for _ in 0..Tries::MOST {
            let refused = logins.by_password("guess").expect_err("wrong");
            assert_eq!(refused.code, ProblemCode::LoginWrong);
        }
        let refused = logins.by_password("long enough").expect_err("locked");
        assert_eq!(refused.code, ProblemCode::LockedOut);
        // The owner at the machine still gets in.
        assert!(logins.by_code(&logins.new_code()).is_ok());
    }
}
