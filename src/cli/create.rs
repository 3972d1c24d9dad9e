//! `dpay create`: make a `.torrent` file from a file or a folder.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};

use crate::torrent::{Layout, Magnet, Metainfo, MetainfoBuilder, PieceLength, printable};

/// Make a .torrent file from a file or a folder.
#[derive(Args, Clone, Debug)]
pub struct CreateArgs {
    /// The file or folder to share
    pub path: PathBuf,
    /// Where to write the torrent [default: NAME.torrent in the current folder]
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Name shown to others [default: the name of the file or folder]
    #[arg(long)]
    pub name: Option<String>,
    /// Length of a piece in KiB, a power of two from 16 to 16384 [default: by size]
    #[arg(long, value_name = "KIB")]
    pub piece_kib: Option<u32>,
    /// Add a tracker's URL; may be given several times
    #[arg(short, long = "tracker", value_name = "URL")]
    pub trackers: Vec<String>,
    /// A comment for others to read
    #[arg(long)]
    pub comment: Option<String>,
    /// Find peers through the trackers only, never through the DHT
    #[arg(long, requires = "trackers")]
    pub private: bool,
    /// Replace the output if it is there
    #[arg(short, long)]
    pub force: bool,
}

/// A torrent made, and what of the folder is not in it.
#[derive(Debug)]
pub struct Made {
    /// The torrent.
    pub metainfo: Metainfo,
    /// Symbolic links and special files, which torrents cannot carry.
    pub skipped: Vec<PathBuf>,
}

/// Runs the command.
///
/// # Errors
/// What could not be read, made or written, and how to mend it.
pub fn run(args: CreateArgs, json: bool) -> anyhow::Result<()> {
    let name = name(&args)?;
    let default = || PathBuf::from(format!("{name}.torrent"));
    let output = args.output.clone().unwrap_or_else(default);
    if output.exists() && !args.force {
        let shown = output.display();
        bail!("{shown} exists already; add --force to replace it, or choose another with --output");
    }
    let bar = if json {
        ProgressBar::hidden()
    } else {
        ProgressBar::no_length()
    };
    if let Ok(style) =
        ProgressStyle::with_template("{bar:40} {bytes}/{total_bytes} {bytes_per_sec}")
    {
        bar.set_style(style);
    }
    let made = make(&args, |done, total| {
        bar.set_length(total);
        bar.set_position(done);
    })?;
    bar.finish_and_clear();
    write(&output, &made.metainfo.encode())?;
    report(&made, &output, json);
    Ok(())
}

/// Makes the torrent without writing it. `progress` is told the bytes hashed and the bytes in all.
///
/// # Errors
/// As [`run`].
pub fn make(args: &CreateArgs, mut progress: impl FnMut(u64, u64)) -> anyhow::Result<Made> {
    let name = name(args)?;
    let mut skipped = Vec::new();
    let shown = args.path.display();
    let found = fs::metadata(&args.path).with_context(|| format!("could not read {shown}"))?;
    let (layout, paths) = if found.is_dir() {
        let mut files = Vec::new();
        let excluded = args
            .output
            .as_deref()
            .and_then(|path| path.canonicalize().ok());
        walk(&args.path, &mut Vec::new(), &mut files, &mut skipped)?;
        files.retain(|file| excluded.is_none() || file.path.canonicalize().ok() != excluded);
        // By the bytes of the names, so that the same folder gives the same torrent anywhere.
        files.sort_unstable_by(|a, b| a.parts.cmp(&b.parts));
        ensure!(!files.is_empty(), "there are no files in {shown}");
        let paths: Vec<PathBuf> = files.iter().map(|file| file.path.clone()).collect();
        let files = files
            .into_iter()
            .map(|file| (file.parts, file.length_bytes));
        (Layout::Folder(files.collect()), paths)
    } else {
        ensure!(found.is_file(), "{shown} is neither a file nor a folder");
        let length_bytes = found.len();
        (Layout::File { length_bytes }, vec![args.path.clone()])
    };
    let total = match &layout {
        Layout::File { length_bytes } => *length_bytes,
        Layout::Folder(files) => files.iter().map(|(_, length)| length).sum(),
    };
    let piece_length = match args.piece_kib {
        Some(kib) => PieceLength::from_kib(kib)?,
        None => PieceLength::for_length(total),
    };
    let mut builder = MetainfoBuilder::new(&name, layout, piece_length)?.private(args.private);
    for tracker in &args.trackers {
        builder = builder.tracker(tracker)?;
    }
    if let Some(comment) = &args.comment {
        builder = builder.comment(comment);
    }
    let mut done = 0;
    let mut buffer = vec![0; 1 << 20];
    for path in &paths {
        feed(path, &mut buffer, |bytes| {
            builder.update(bytes)?;
            done += bytes.len() as u64;
            progress(done, total);
            Ok(())
        })
        .with_context(|| format!("could not hash {}", path.display()))?;
    }
    Ok(Made {
        metainfo: builder.finish()?,
        skipped,
    })
}

/// The name given, or that of the path, which may be `.` or end in `..`.
fn name(args: &CreateArgs) -> anyhow::Result<String> {
    if let Some(name) = &args.name {
        return Ok(name.clone());
    }
    let path = &args.path;
    let absolute = path.canonicalize();
    let absolute = absolute.with_context(|| format!("could not find {}", path.display()))?;
    let of_link = path.file_name().or(absolute.file_name());
    let name = of_link.with_context(|| format!("{} has no name; add --name", path.display()))?;
    let name = name.to_str();
    let name = name.with_context(|| format!("{} is not UTF-8; add --name", path.display()))?;
    Ok(name.to_owned())
}

/// A file below the folder.
struct Found {
    parts: Vec<String>,
    path: PathBuf,
    length_bytes: u64,
}

fn walk(
    folder: &Path,
    above: &mut Vec<String>,
    files: &mut Vec<Found>,
    skipped: &mut Vec<PathBuf>,
) -> anyhow::Result<()> {
    let shown = folder.display();
    ensure!(
        above.len() < 64,
        "{shown} is nested too deep for a torrent: 64 folders are the most"
    );
    let entries = fs::read_dir(folder).with_context(|| format!("could not read {shown}"))?;
    for entry in entries {
        let entry = entry.with_context(|| format!("could not read {shown}"))?;
        let path = entry.path();
        let name = entry.file_name();
        let name = name
            .to_str()
            .with_context(|| format!("the name of {} is not UTF-8; rename it", path.display()))?;
        // Of the entry itself: a link is not followed, it could lead anywhere or in circles.
        let found = entry
            .metadata()
            .with_context(|| format!("could not read {}", path.display()))?;
        above.push(name.to_owned());
        if found.is_dir() {
            walk(&path, above, files, skipped)?;
        } else if found.is_file() {
            files.push(Found {
                parts: above.clone(),
                length_bytes: found.len(),
                path,
            });
        } else {
            skipped.push(path);
        }
        above.pop();
    }
    Ok(())
}

fn feed(
    path: &Path,
    buffer: &mut [u8],
    mut take: impl FnMut(&[u8]) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let mut file = File::open(path)?;
    loop {
        let read = match file.read(buffer) {
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            read => read?,
        };
        if read == 0 {
            return Ok(());
        }
        take(buffer.get(..read).unwrap_or_default())?;
    }
}

/// Writes beside the target and renames, so that nobody sees half a file.
fn write(output: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let shown = output.display();
    let name = output
        .file_name()
        .with_context(|| format!("{shown} is not a file name"))?;
    let mut beside = name.to_owned();
    beside.push(format!(".{}.part", std::process::id()));
    let beside = output.with_file_name(beside);
    let written = File::create_new(&beside).and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&beside, output)
    });
    if written.is_err() {
        let _ = fs::remove_file(&beside);
    }
    written.with_context(|| format!("could not write {shown}"))
}

fn report(made: &Made, output: &Path, json: bool) {
    let metainfo = &made.metainfo;
    let magnet = Magnet {
        name: Some(metainfo.name().to_owned()),
        trackers: metainfo.trackers().concat(),
        ..Magnet::new(metainfo.info_hash())
    };
    if json {
        let value = serde_json::json!({
            "torrent": output,
            "info_hash": metainfo.info_hash(),
            "magnet": magnet.to_string(),
            "name": metainfo.name(),
            "files": metainfo.files().len(),
            "length_bytes": metainfo.length_bytes(),
            "piece_length_bytes": metainfo.piece_length_bytes(),
            "pieces": metainfo.piece_count(),
            "private": metainfo.is_private(),
            "skipped": made.skipped,
        });
        println!("{value}");
        return;
    }
    println!("Torrent    {}", output.display());
    println!("Name       {}", printable(metainfo.name()));
    println!("Info hash  {}", metainfo.info_hash());
    println!(
        "Content    {} bytes in {} file(s), {} pieces of {} KiB",
        metainfo.length_bytes(),
        metainfo.files().len(),
        metainfo.piece_count(),
        metainfo.piece_length_bytes() / 1024
    );
    println!("Magnet     {magnet}");
    for path in &made.skipped {
        eprintln!(
            "note: {} is a link or a special file and is not in the torrent",
            path.display()
        );
    }
}
