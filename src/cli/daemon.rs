//! `dpay node`: the daemon for many torrents, its page and its API.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::json;

use super::play::LoopbackPlayer;
use super::stop::Stop;
use super::wallet::{PassphraseSource, show};
use crate::cashier::wallet::{Wallet, home};
use crate::config::{Global, prepare_folder};
use crate::http::node::{NodeServer, ServeError};
use crate::session::log::LogBook;
use crate::session::{Options, Session};

/// The link to the page is told after this, though the node still starts.
const STARTING: Duration = Duration::from_secs(3);

/// Options of `dpay node`.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct NodeArgs {
    /// Address of the page and the API (port 0: any free one; default: the setting web.listen)
    #[arg(long, value_name = "ADDR")]
    pub web: Option<SocketAddr>,
    /// Folder for downloads (default: the setting folders.downloads)
    #[arg(long, value_name = "DIR")]
    pub downloads: Option<PathBuf>,
    /// Something else than running the node
    #[command(subcommand)]
    pub command: Option<NodeCommand>,
}

/// What `dpay node` does besides running.
#[derive(Clone, Copy, Debug, clap::Subcommand)]
pub enum NodeCommand {
    /// Print the description of the API (OpenAPI, JSON)
    Openapi,
    /// Stop the running node in order
    Stop,
}

/// Runs the node until it is told to stop.
///
/// # Errors
/// What hinders it.
pub async fn run(args: NodeArgs, global: &Global, book: &LogBook) -> Result<u8> {
    match args.command {
        Some(NodeCommand::Openapi) => {
            print!("{}", crate::http::node::document());
            Ok(super::EXIT_DONE)
        }
        Some(NodeCommand::Stop) => super::remote::stop(global).await,
        None => serve(&args, global, &global.home()?, book, false).await,
    }
}

/// Serves the page of the node in `home` until told to stop; in the play world at once if `play`.
///
/// # Errors
/// What hinders it.
pub async fn serve(
    args: &NodeArgs,
    global: &Global,
    home: &std::path::Path,
    book: &LogBook,
    play: bool,
) -> Result<u8> {
    let stop = Stop::new(global.with_parent);
    home::prepare(home)?;
    // Before anything of it is touched; its lock is taken with the page.
    if NodeServer::is_there(home) {
        return Err(ServeError::Runs(home.to_path_buf()).into());
    }
    let passphrase = match home::has_wallet(home) && home::needs_passphrase(home)? {
        true => PassphraseSource::choose(global.passphrase_file.clone()).given()?,
        false => None,
    };
    let downloads = args.downloads.as_deref();
    let downloads = downloads.map(std::path::absolute).transpose()?;
    if let Some(folder) = &downloads {
        prepare_folder(folder).with_context(|| {
            let folder = folder.display();
            format!("downloads cannot go to {folder}; choose another folder, or let the node write there")
        })?;
    }
    let session = Session::start(Options {
        home: home.to_path_buf(),
        passphrase,
        listen: global.listen,
        bootstrap: global.dht_bootstrap.clone(),
        broker_url: global.broker.clone(),
        downloads,
        min_answers: global.dht_min_answers,
        book: book.clone(),
        player: Some(Arc::new(LoopbackPlayer::default())),
    })?;
    let settings = session.settings();
    book.write_to(&home.join("logs"), settings.log.keep_days)
        .with_context(|| format!("the log in {}", home.join("logs").display()))?;
    let address = args.web.unwrap_or(settings.web.listen);
    let server = NodeServer::start(session.clone(), home, address).await?;
    if play {
        session.play()?;
    }
    let kept = kept_at_hand(&session, home).await.filter(|_| !play);
    let tell = async {
        let mut started = std::pin::pin!(session.started());
        let early = tokio::time::timeout(STARTING, &mut started).await;
        let early = early.ok();
        let is_locked = session.is_locked();
        let what = stage(early.as_ref(), is_locked);
        let is_early = early.is_some();
        let tell_failure = |error: String| tell_failed(global, &error);
        early.flatten().into_iter().for_each(tell_failure);
        let open = open_command(home);
        tell_ready(global, &server, what, &open, is_locked, kept.as_deref());
        if !is_early {
            started.await.into_iter().for_each(tell_failure);
        }
        std::future::pending::<()>().await;
    };
    tokio::select! {
        () = tell => {}
        () = stop.wait() => {}
        () = session.asked_to_stop() => {}
    }
    super::say(global.json, &json!({ "event": "stopping" }), || {
        "closing channels; this may take half a minute".to_owned()
    });
    let open = session.stop().await;
    server.stop().await;
    let line = json!({ "event": "stopped", "open_channels": open });
    super::say(global.json, &line, || {
        format!("stopped{}", super::node::open_lines(&open))
    });
    Ok(super::EXIT_DONE)
}

/// What the node buys by itself, where its wallet has bought nothing yet.
async fn kept_at_hand(session: &Session, home: &Path) -> Option<String> {
    let balance = Wallet::read(home).await.ok()?.balance().await.ok()?;
    let kept = show::kept_at_hand(session.settings().rules.at_hand);
    kept.filter(|_| balance.books.bought.is_zero())
}

/// What keeps the node from working, and what to do.
fn tell_failed(global: &Global, error: &str) {
    let line = json!({ "event": "failed", "error": error });
    super::say(global.json, &line, || {
        format!(
            "the node does not work: {error}\n\nNothing is downloaded, paid or earned until that is mended.\n"
        )
    });
}

/// How far the node is when its page is told: whether it started within [`STARTING`], or why it did not.
const fn stage(early: Option<&Option<String>>, is_locked: bool) -> &'static str {
    match early {
        None => "the node starts",
        Some(None) if is_locked => {
            "the wallet is locked: nothing is downloaded, seeded or earned until its page has the passphrase"
        }
        Some(None) => "the node runs",
        Some(Some(_)) => "settings can be changed",
    }
}

/// What logs a browser in later: where the home is not the usual one, it has to be told.
fn open_command(home: &Path) -> String {
    match Global::default().home().is_ok_and(|usual| usual == home) {
        true => "dpay open".to_owned(),
        false => format!("dpay open --home {}", home.display()),
    }
}

fn tell_ready(
    global: &Global,
    server: &NodeServer,
    what: &str,
    open: &str,
    is_locked: bool,
    kept: Option<&str>,
) {
    let line = json!({
        "event": "ready",
        "url": server.url(),
        "login_url": server.login_url(),
        "locked": is_locked,
    });
    super::say(global.json, &line, || {
        format!(
            "{what}; open its page, once within ten minutes, with\n\n  {}\n\nand later with \
             `{open}`. Ctrl-C closes channels and stops.{}{}",
            server.login_url(),
            if kept.is_some() { "\n" } else { "" },
            kept.unwrap_or_default(),
        )
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_that_still_starts_is_not_said_to_run() {
        assert_eq!(stage(None, false), "the node starts");
        assert_eq!(stage(Some(&None), false), "the node runs");
        assert!(stage(Some(&None), true).starts_with("the wallet is locked"));
        let failed = Some("the port is taken".to_owned());
        assert_eq!(stage(Some(&failed), false), "settings can be changed");
    }

    #[test]
    fn the_command_that_opens_the_page_finds_the_node() {
        let usual = Global::default().home().expect("a home");
        assert_eq!(open_command(&usual), "dpay open");
        let other = Path::new("/srv/dpay");
        assert_eq!(open_command(other), "dpay open --home /srv/dpay");
    }
}
