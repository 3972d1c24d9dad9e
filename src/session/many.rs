//! One answer for many torrents: kept in the home before the request is answered, a file each in `adding/`,
//! and worked off in the background. So neither a page that is closed nor a restart loses any of them, and each
//! who looks sees how far it is. One that is refused keeps its file until it is tried again or forgotten.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

use super::fetch;
use super::run::Running;
use super::terms::check_terms;
use super::view::{
    AddRequest, Advice, Event, LabelRequest, ManyAnswer, ManyRefused, ManyRequest, ManyView,
    Problem, ProblemCode, Source, TermsChange,
};
use super::{Session, lock};
use crate::config::write_private;
use crate::torrent::{Magnet, printable};
use crate::units::InfoHash;

/// The folder of the files, in the home.
const FOLDER: &str = "adding";
/// Most in one request.
const MOST: usize = 1000;
/// Refusals that are told with their reasons.
const SHOWN: usize = 10;
/// Worked at at a time: an address that does not answer holds up no others.
const AT_A_TIME: usize = 4;

/// A torrent and the answer to it, as it is kept.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Task {
    source: Option<Source>,
    info_hash: Option<InfoHash>,
    answer: ManyAnswer,
    refused: Option<Problem>,
}

impl Task {
    fn label(&self) -> String {
        let from = self.source.clone().unwrap_or_default();
        let hash = self.info_hash.map(|hash| hash.to_string());
        let whole = from.magnet.or(from.url).or(hash);
        let named = whole
            .as_deref()
            .and_then(|link| Magnet::parse(link).ok()?.name);
        let label = named.or(whole).or(from.file_name);
        let label = label.unwrap_or_else(|| ".torrent".to_owned());
        printable(&label).chars().take(100).collect()
    }
}

#[derive(Debug, Default)]
struct State {
    last: u64,
    waiting: BTreeSet<u64>,
    total: u32,
    done: u32,
    refused: BTreeMap<u64, ManyRefused>,
}

/// What is to be done, and how far it is.
#[derive(Debug)]
pub(super) struct Many {
    folder: PathBuf,
    state: Mutex<State>,
    more: Notify,
}

impl Many {
    /// What an earlier run left in this home.
    pub fn open(home: &Path) -> Many {
        let folder = home.join(FOLDER);
        let mut state = State::default();
        for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
            let name = entry.file_name();
            if is_half_written(&name) {
                let _ = std::fs::remove_file(entry.path());
            }
            let id = name.to_str().and_then(|name| name.strip_suffix(".json"));
            let Some(id) = id.and_then(|id| id.parse().ok()) else {
                continue;
            };
            state.last = state.last.max(id);
            match read(&entry.path()) {
                Ok(Task { refused: None, .. }) => _ = state.waiting.insert(id),
                Ok(task) => state.refuse(id, &task),
                Err(error) => state.refuse_unread(id, &entry.path(), &error),
            }
        }
        state.total = count(state.waiting.len() + state.refused.len());
        Many {
            folder,
            state: Mutex::new(state),
            more: Notify::new(),
        }
    }

    fn path(&self, id: u64) -> PathBuf {
        self.folder.join(format!("{id:08}.json"))
    }

    fn view(&self) -> ManyView {
        let state = lock(&self.state);
        ManyView {
            total: state.total,
            done: state.done,
            refused: count(state.refused.len()),
            problems: state.refused.values().take(SHOWN).cloned().collect(),
        }
    }

    /// Keeps all of them, or none.
    fn keep(&self, tasks: &[Task]) -> std::io::Result<()> {
        std::fs::create_dir_all(&self.folder)?;
        let first = {
            let mut state = lock(&self.state);
            let first = state.last + 1;
            state.last += tasks.len() as u64;
            first
        };
        let ids: Vec<u64> = (first..).take(tasks.len()).collect();
        let write = |(id, task): (&u64, &Task)| {
            let bytes = serde_json::to_vec(task)?;
            write_private(&self.path(*id), &bytes)
        };
        let written = ids.iter().zip(tasks).try_for_each(write);
        if written.is_err() {
            for id in ids {
                let _ = std::fs::remove_file(self.path(id));
            }
            return written;
        }
        let mut state = lock(&self.state);
        if state.waiting.is_empty() {
            state.done = 0;
            state.total = count(state.refused.len());
        }
        state.total += count(ids.len());
        state.waiting.extend(ids);
        drop(state);
        self.more.notify_one();
        Ok(())
    }

    /// A task that waits, from its file. One that cannot be read is refused, and its file stays as it is.
    fn take(&self, id: u64) -> Option<Task> {
        let path = self.path(id);
        let error = match read(&path) {
            Ok(task) => return Some(task),
            Err(error) => error,
        };
        let mut state = lock(&self.state);
        state.waiting.remove(&id);
        state.refuse_unread(id, &path, &error);
        None
    }

    /// One is done, or refused and kept.
    fn finish(&self, id: u64, task: Option<Task>) {
        let path = self.path(id);
        let kept = match &task {
            None => std::fs::remove_file(&path),
            Some(task) => serde_json::to_vec(task)
                .map_err(Into::into)
                .and_then(|bytes| write_private(&path, &bytes)),
        };
        if let Err(error) = kept {
            tracing::warn!(
                "{}: {error}: it is done once more by the next run",
                path.display()
            );
        }
        let mut state = lock(&self.state);
        state.waiting.remove(&id);
        match &task {
            None => state.done += 1,
            Some(task) => state.refuse(id, task),
        }
    }

    /// Takes up those that were refused once more.
    fn again(&self) {
        let mut state = lock(&self.state);
        let ids = std::mem::take(&mut state.refused);
        state.waiting.extend(ids.into_keys());
        drop(state);
        self.more.notify_one();
    }

    /// Forgets those that were refused.
    fn forget(&self) -> std::io::Result<()> {
        let ids: Vec<u64> = lock(&self.state).refused.keys().copied().collect();
        for id in ids {
            match std::fs::remove_file(self.path(id)) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            let mut state = lock(&self.state);
            state.refused.remove(&id);
            state.total = state.total.saturating_sub(1);
        }
        Ok(())
    }
}

impl State {
    /// One that cannot be read: whoever looks sees it, and may try again or forget it.
    fn refuse_unread(&mut self, id: u64, path: &Path, error: &std::io::Error) {
        use std::io::ErrorKind::{InvalidData, UnexpectedEof};
        let shown = path.display();
        // It can be read, but what it says is no task.
        let problem = match error.kind() {
            InvalidData | UnexpectedEof => Problem::new(
                ProblemCode::BadTorrent,
                format!(
                    "{shown} does not say which torrent was to be added, and can be dismissed: {error}"
                ),
                Advice::OtherTorrent,
            ),
            _ => Problem::new(
                ProblemCode::Disk,
                format!("{shown}: {error}"),
                Advice::LetReadWrite,
            ),
        };
        tracing::error!("{}", problem.error);
        let label = path.file_name().unwrap_or_default().to_string_lossy();
        let label = printable(&label);
        let problem = problem.about(shown);
        self.refused.insert(id, ManyRefused { label, problem });
    }

    fn refuse(&mut self, id: u64, task: &Task) {
        if let Some(problem) = task.refused.clone() {
            let label = task.label();
            self.refused.insert(id, ManyRefused { label, problem });
        }
    }
}

/// What a run that was killed left of a file that it was writing.
fn is_half_written(name: &std::ffi::OsStr) -> bool {
    Path::new(name).extension().is_some_and(|end| end == "new")
}

fn read(path: &Path) -> std::io::Result<Task> {
    Ok(serde_json::from_slice(&std::fs::read(path)?)?)
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

fn check(request: &ManyRequest) -> Result<(), Problem> {
    check_terms(&request.answer.terms)?;
    let number = request.sources.len() + request.info_hashes.len();
    if number > MOST {
        let error = format!("{number} torrents at once, and {MOST} at most");
        return Err(Problem::new(
            ProblemCode::BadRequest,
            error,
            Advice::NameFewer,
        ));
    }
    let label = request.answer.label.as_deref();
    label.map(super::label::checked).transpose()?;
    super::add::folder_of(request.answer.folder.as_deref()).map(|_| ())
}

impl Session {
    /// Gives many torrents one answer. They are kept when this returns, and worked off after that.
    ///
    /// # Errors
    /// No running node; too many, terms that cannot be, a folder that is none; a home that cannot be written.
    pub async fn add_many(&self, request: ManyRequest) -> Result<ManyView, Problem> {
        let run = self.running()?;
        check(&request)?;
        let task = |source, info_hash| Task {
            source,
            info_hash,
            answer: request.answer.clone(),
            refused: None,
        };
        let there = request
            .info_hashes
            .iter()
            .map(|hash| task(None, Some(*hash)));
        let new = request
            .sources
            .iter()
            .map(|source| task(Some(source.clone()), None));
        let tasks: Vec<Task> = there.chain(new).collect();
        self.with_many(run, move |many| many.keep(&tasks)).await
    }

    /// How far that is.
    ///
    /// # Errors
    /// No running node.
    pub fn many(&self) -> Result<ManyView, Problem> {
        Ok(self.running()?.many.view())
    }

    /// Tries those once more that were refused.
    ///
    /// # Errors
    /// No running node.
    pub fn many_again(&self) -> Result<ManyView, Problem> {
        let run = self.running()?;
        run.many.again();
        Ok(self.tell_many(&run))
    }

    /// Forgets those that were refused.
    ///
    /// # Errors
    /// No running node; a home that cannot be written.
    pub async fn forget_many(&self) -> Result<ManyView, Problem> {
        let run = self.running()?;
        self.with_many(run, Many::forget).await
    }

    async fn with_many(
        &self,
        run: Arc<Running>,
        work: impl FnOnce(&Many) -> std::io::Result<()> + Send + 'static,
    ) -> Result<ManyView, Problem> {
        let doing = Arc::clone(&run);
        let done = tokio::task::spawn_blocking(move || work(&doing.many)).await;
        let done = done.unwrap_or_else(|error| Err(std::io::Error::other(error)));
        done.map_err(|error| run.not_written(&error))?;
        Ok(self.tell_many(&run))
    }

    fn tell_many(&self, run: &Running) -> ManyView {
        let view = run.many.view();
        self.tell(Event::Many(view.clone()));
        view
    }

    /// Works off what is there, until it is dropped.
    pub(super) async fn work_off(&self, run: &Arc<Running>) {
        let (mut at_work, mut taken) = (FuturesUnordered::new(), BTreeSet::new());
        loop {
            let waiting = lock(&run.many.state).waiting.clone();
            for id in waiting {
                if at_work.len() < AT_A_TIME && taken.insert(id) {
                    at_work.push(async move {
                        self.work_at(run, id).await;
                        id
                    });
                }
            }
            tokio::select! {
                Some(id) = at_work.next() => {
                    taken.remove(&id);
                }
                () = run.many.more.notified() => {}
            }
        }
    }

    async fn work_at(&self, run: &Arc<Running>, id: u64) {
        let doing = Arc::clone(run);
        let task = tokio::task::spawn_blocking(move || doing.many.take(id)).await;
        if let Ok(Some(task)) = task {
            let done = self.answer(run, &task).await;
            let left = done.err().map(|problem| Task {
                refused: Some(problem),
                ..task
            });
            let doing = Arc::clone(run);
            let _ = tokio::task::spawn_blocking(move || doing.many.finish(id, left)).await;
        }
        self.tell_many(run);
    }

    async fn answer(&self, run: &Arc<Running>, task: &Task) -> Result<(), Problem> {
        let answer = &task.answer;
        let hash = match (&task.source, task.info_hash) {
            (_, Some(hash)) => hash,
            (source, None) => {
                let found = fetch::find(source.as_ref().unwrap_or(&Source::default())).await?;
                let hash = found.info_hash();
                if run.entry(hash).is_err() {
                    let request = add_request(answer);
                    return self.add_found(run, found, request, false).await.map(|_| ());
                }
                hash
            }
        };
        if !run.entry(hash)?.saved.asking {
            return Ok(());
        }
        self.change_terms(hash, answer.terms).await?;
        if answer.label.is_some() {
            let given = LabelRequest {
                label: answer.label.clone(),
                info_hashes: vec![hash],
            };
            let failed = self.label(given).await?.failed;
            failed
                .into_iter()
                .next()
                .map_or(Ok(()), |failed| Err(failed.problem))?;
        }
        // Paused first: then the yes starts nothing.
        if answer.paused {
            self.pause(run, hash).await?;
        }
        match answer.pays && answer.asks_above {
            true => self.confirm_unseen(run, hash).await,
            false => self.confirm(run, hash, answer.pays).await,
        }
    }
}

fn add_request(answer: &ManyAnswer) -> AddRequest {
    AddRequest {
        folder: answer.folder.clone(),
        label: answer.label.clone(),
        paused: answer.paused,
        confirmed: !answer.asks_above,
        terms: TermsChange {
            pays: match answer.pays {
                true => answer.terms.pays,
                false => Some(false),
            },
            ..answer.terms
        },
        ..AddRequest::default()
    }
}

#[cfg(test)]
#[path = "many_tests.rs"]
mod tests;
