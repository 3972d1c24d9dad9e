//! The map of the rooms, enforced on the sources: who may import whom, who may name which outside
//! package, who reads the clock, and how long a file may be (`docs/design.md`). And what
//! `docs/threat-model.md` says is shown by a test has such a test.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Rooms and their rows; an import must point to a lower row, or stay in its room.
const ROOMS: &[(&str, u8)] = &[
    ("units", 0),
    ("coin", 1),
    ("torrent", 1),
    ("record", 2),
    ("wire", 3),
    ("channel", 4),
    ("wallet", 4),
    ("broker", 4),
    ("engine", 5),
    ("dht", 5),
    ("store", 5),
    ("http::client", 5),
    ("clock", 5),
    ("random", 5),
    ("cashier", 6),
    ("http", 7),
    ("gateway", 7),
    ("report", 7),
    ("node", 8),
    ("config", 8),
    ("session", 9),
    ("http::node", 10),
    ("cli", 11),
    ("main", 11),
];

/// Rooms above the line may do IO; those up to this row may not.
const LINE: u8 = 4;

/// Words that only one room may say, and where.
const ONLY_IN: &[(&str, &str)] = &[
    ("librqbit::", "engine"),
    ("librqbit_core::", "engine"),
    ("mainline::", "dht"),
    ("SystemTime::now", "clock"),
    ("getrandom::", "random"),
    ("sqlx::", "store"),
];

/// What a room below the line never names.
const NEVER_BELOW: &[&str] = &[
    "tokio::",
    "std::fs",
    "std::net::Tcp",
    "std::net::Udp",
    "std::thread",
    "std::time::Instant",
    "Instant::now",
    "SystemTime",
    "async fn",
    ".await",
    "getrandom",
    "reqwest",
    "axum",
    "sqlx",
];

const MAX_LINES: usize = 500;

fn sources(dir: &Path, out: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).expect("src can be listed") {
        let path = entry.expect("src can be listed").path();
        if path.is_dir() {
            sources(&path, out);
        } else if path.extension().is_some_and(|e| e == "rs") {
            out.push(path);
        }
    }
}

fn all() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut paths = Vec::new();
    sources(&root, &mut paths);
    paths
        .into_iter()
        .map(|path| {
            let name = path
                .strip_prefix(&root)
                .expect("below src")
                .with_extension("")
                .to_string_lossy()
                .replace(std::path::MAIN_SEPARATOR, "::");
            let name = name.strip_suffix("::mod").unwrap_or(&name).to_owned();
            (name, fs::read_to_string(&path).expect("source is readable"))
        })
        .collect()
}

fn room_of(module: &str) -> Option<(&'static str, u8)> {
    ROOMS
        .iter()
        .filter(|(room, _)| module == *room || module.starts_with(&format!("{room}::")))
        .max_by_key(|(room, _)| room.len())
        .copied()
}

/// Source text without comments and without its unit tests.
fn code(text: &str) -> String {
    let end = text.find("#[cfg(test)]\nmod ").unwrap_or(text.len());
    text[..end]
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .collect::<Vec<_>>()
        .join("\n")
}

/// Every module that `crate::` names in the text, groups included.
fn imports(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (at, _) in text.match_indices("crate::") {
        let rest = &text[at + "crate::".len()..];
        if let Some(group) = rest.strip_prefix('{') {
            let mut depth = 1usize;
            let mut item = String::new();
            for c in group.chars() {
                match c {
                    '{' => depth += 1,
                    '}' => depth -= 1,
                    _ => {}
                }
                if depth == 0 || (depth == 1 && c == ',') {
                    found.push(item.trim().to_owned());
                    item.clear();
                } else {
                    item.push(c);
                }
                if depth == 0 {
                    break;
                }
            }
        } else {
            let path: String = rest
                .chars()
                .take_while(|c| c.is_alphanumeric() || *c == '_' || *c == ':')
                .collect();
            found.push(path);
        }
    }
    found
}

#[test]
fn every_source_file_has_a_room() {
    for (module, _) in all() {
        assert!(
            module == "lib" || room_of(&module).is_some(),
            "src/{module} stands in no room of tests/rooms.rs"
        );
    }
}

#[test]
fn imports_point_down_only() {
    let mut seen = 0;
    for (module, text) in all() {
        let Some((room, row)) = room_of(&module) else {
            continue;
        };
        for import in imports(&code(&text)) {
            let Some((other, other_row)) = room_of(&import) else {
                continue;
            };
            seen += 1;
            // Clock and randomness need nobody: every room above the line may ask them.
            let is_source = matches!(other, "clock" | "random") && row > LINE;
            assert!(
                other == room || other_row < row || is_source,
                "{module} (row {row}) imports {import} (row {other_row})"
            );
        }
    }
    assert!(seen > 20, "the sources were not read: {seen} imports found");
}

#[test]
fn below_the_line_there_is_no_io_no_clock_no_randomness() {
    for (module, text) in all() {
        if room_of(&module).is_some_and(|(_, row)| row <= LINE) {
            for word in NEVER_BELOW {
                assert!(!code(&text).contains(word), "{module} names {word}");
            }
        }
    }
}

#[test]
fn outside_packages_have_one_room_each() {
    for (module, text) in all() {
        for (word, only) in ONLY_IN {
            let here = room_of(&module).is_some_and(|(room, _)| room == *only);
            assert!(
                here || !code(&text).contains(word),
                "{module} names {word}, which only {only} may"
            );
        }
    }
}

#[test]
fn no_source_file_is_longer_than_its_limit() {
    for (module, text) in all() {
        let lines = text.lines().count();
        assert!(lines <= MAX_LINES, "{module} has {lines} lines");
        assert!(
            module == "main" || text.starts_with("//!"),
            "{module} does not open with what it does"
        );
    }
}

/// Names of all tests, and the modules that hold them.
fn tests() -> (BTreeSet<String>, BTreeSet<String>) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut paths = Vec::new();
    for dir in ["src", "tests"] {
        sources(&root.join(dir), &mut paths);
    }
    let (mut names, mut modules) = (BTreeSet::new(), BTreeSet::new());
    for path in paths {
        let text = fs::read_to_string(&path).expect("source is readable");
        // Behind `#[test]` and what else stands there, the next function is the test; in `proptest!` too.
        for test in text.split("test]\n").chain(text.split("::test(")).skip(1) {
            let name = test.split_once("fn ").map(|(_, rest)| rest);
            let name = name.and_then(|rest| rest.split_once('('));
            if let Some((name, _)) = name {
                names.insert(name.to_owned());
            }
        }
        let stem = path.file_stem().expect("a file").to_string_lossy();
        modules.insert(stem.into_owned());
    }
    (names, modules)
}

/// What stands between `open` and `close`, each time.
fn between<'a>(text: &'a str, open: &'a str, close: char) -> impl Iterator<Item = &'a str> {
    text.split(open)
        .skip(1)
        .filter_map(move |rest| rest.split(close).next())
}

#[test]
fn what_is_said_to_be_shown_by_a_test_has_that_test() {
    let papers = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/threat-model.md");
    let papers = fs::read_to_string(papers).expect("is there");
    let (names, modules) = tests();
    let (mut named, mut chosen) = (0, 0);
    for row in papers.lines().filter(|line| line.starts_with('|')) {
        let shown = row.trim_end_matches([' ', '|']).rsplit(" | ").next();
        let shown = shown.expect("a column");
        for name in shown.split('`').skip(1).step_by(2) {
            let is_name = |c: char| c == '_' || c.is_ascii_lowercase() || c.is_ascii_digit();
            if name.chars().all(is_name) && name.matches('_').count() > 1 {
                named += 1;
                assert!(names.contains(name), "there is no test {name}");
            }
        }
        for part in between(shown, "test(", ')') {
            chosen += 1;
            let is_there = match part.strip_suffix("::") {
                Some(module) => modules.contains(module),
                None => names.iter().any(|name| name.contains(part)),
            };
            assert!(is_there, "no test has {part} in its name");
        }
    }
    assert!(
        named > 40 && chosen > 20,
        "{named} names and {chosen} parts of names were read"
    );
}
