//! A child process that prints one JSON object a line and stops with its parent.

use std::collections::VecDeque;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::task::JoinHandle;

/// Most bytes of a child's standard error that are kept for an error message.
const STDERR_KEPT_BYTES: u64 = 64 * 1024;

/// A running child that prints one JSON object a line and stops when its standard input closes.
pub struct Proc {
    name: String,
    child: Child,
    stdin: Option<ChildStdin>,
    lines: Lines<BufReader<ChildStdout>>,
    stderr: Option<JoinHandle<String>>,
    /// Every line read so far.
    pub seen: VecDeque<Value>,
}

impl Proc {
    /// Starts `exe args`, to stop with its parent.
    ///
    /// # Errors
    /// When the program cannot be started.
    pub fn start(name: &str, exe: &Path, args: &[String]) -> Result<Proc> {
        Proc::start_with(name, exe, args, &[])
    }

    /// The same with these variables in its environment.
    ///
    /// # Errors
    /// As [`Proc::start`].
    pub fn start_with(
        name: &str,
        exe: &Path,
        args: &[String],
        env: &[(&str, &str)],
    ) -> Result<Proc> {
        // Who asks for logs wants to see the children's.
        let logs = std::env::var_os("RUST_LOG").is_some();
        let mut child = Command::new(exe)
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(if logs {
                Stdio::inherit()
            } else {
                Stdio::piped()
            })
            .env_remove("DPAY_PASSPHRASE")
            .envs(env.iter().copied())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("cannot start {} for {name}", exe.display()))?;
        let stdin = child.stdin.take();
        let stdout = child.stdout.take().context("child has no output")?;
        let stderr = child.stderr.take();
        let stderr = tokio::spawn(async move {
            let mut text = String::new();
            let Some(stderr) = stderr else {
                return text;
            };
            let mut stderr = BufReader::new(stderr);
            let _ = (&mut stderr)
                .take(STDERR_KEPT_BYTES)
                .read_to_string(&mut text)
                .await;
            let _ = tokio::io::copy(&mut stderr, &mut tokio::io::sink()).await;
            text
        });
        Ok(Proc {
            name: name.to_owned(),
            child,
            stdin,
            lines: BufReader::new(stdout).lines(),
            stderr: Some(stderr),
            seen: VecDeque::new(),
        })
    }

    /// Operating system's id of the process, while it runs.
    #[must_use]
    pub fn id(&self) -> Option<u32> {
        self.child.id()
    }

    /// The next line, or `None` at the end of the output.
    ///
    /// # Errors
    /// When a line is not JSON.
    pub async fn next(&mut self) -> Result<Option<Value>> {
        let Some(line) = self.lines.next_line().await? else {
            return Ok(None);
        };
        let value: Value = serde_json::from_str(&line)
            .with_context(|| format!("{} printed what is not JSON: {line:?}", self.name))?;
        self.seen.push_back(value.clone());
        Ok(Some(value))
    }

    /// Reads on until a line's `event` is `event`.
    ///
    /// # Errors
    /// When the child ends first, or `timeout` passes; the message holds what it said on standard error.
    pub async fn wait_for(&mut self, event: &str, timeout: Duration) -> Result<Value> {
        self.wait_until(event, timeout, |line| line["event"] == event)
            .await
    }

    /// Reads on until a line satisfies `wanted`; `what` names it in errors.
    ///
    /// # Errors
    /// As [`Proc::wait_for`].
    pub async fn wait_until(
        &mut self,
        what: &str,
        timeout: Duration,
        wanted: impl Fn(&Value) -> bool,
    ) -> Result<Value> {
        let deadline = tokio::time::Instant::now() + timeout;
        loop {
            match tokio::time::timeout_at(deadline, self.next()).await {
                Err(_) => bail!(
                    "{} did not say {what:?} within {} s; it said {:?}",
                    self.name,
                    timeout.as_secs(),
                    self.seen
                ),
                Ok(Ok(Some(line))) if wanted(&line) => return Ok(line),
                Ok(Ok(Some(_))) => {}
                Ok(Ok(None)) => {
                    let why = self.failure().await;
                    bail!("{} ended before it said {what:?}: {why}", self.name);
                }
                Ok(Err(error)) => return Err(error),
            }
        }
    }

    async fn failure(&mut self) -> String {
        let status = self.child.wait().await;
        let text = match self.stderr.take() {
            Some(task) => task.await.unwrap_or_default(),
            None => String::new(),
        };
        match status {
            Ok(status) => format!("{status}: {}", text.trim()),
            Err(error) => format!("{error}: {}", text.trim()),
        }
    }

    /// Closes the child's standard input, which asks it to stop in order, and reads the rest of its
    /// output. Returns its exit code.
    ///
    /// # Errors
    /// When it has not ended within `timeout`.
    pub async fn stop(&mut self, timeout: Duration) -> Result<i32> {
        self.stdin = None;
        self.finish(timeout).await
    }

    /// Reads the rest of the output and waits for the end, without asking for it.
    ///
    /// # Errors
    /// When it has not ended within `timeout`.
    pub async fn finish(&mut self, timeout: Duration) -> Result<i32> {
        let name = self.name.clone();
        let end = async {
            while self.next().await?.is_some() {}
            Ok::<_, anyhow::Error>(self.child.wait().await?)
        };
        let status = tokio::time::timeout(timeout, end)
            .await
            .with_context(|| format!("{name} did not end within {} s", timeout.as_secs()))??;
        Ok(status.code().unwrap_or(-1))
    }

    /// What the child printed on standard error, once it has ended.
    pub async fn stderr(&mut self) -> String {
        match self.stderr.take() {
            Some(task) => task.await.unwrap_or_default(),
            None => String::new(),
        }
    }

    /// Ends the child at once, as a crash would.
    pub async fn kill(&mut self) {
        let _ = self.child.kill().await;
    }

    /// The last line with this `event`, among those read.
    #[must_use]
    pub fn last(&self, event: &str) -> Option<&Value> {
        self.seen.iter().rev().find(|line| line["event"] == event)
    }
}
