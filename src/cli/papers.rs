//! The commands that README and docs name are ones that this program has.

use std::path::{Path, PathBuf};

use clap::Parser;
use clap::error::ErrorKind;

use super::Cli;

fn papers() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let docs = std::fs::read_dir(root.join("docs")).expect("docs");
    let docs = docs.map(|entry| entry.expect("an entry").path());
    let mut papers: Vec<PathBuf> = docs
        .filter(|path| path.extension().is_some_and(|end| end == "md"))
        .collect();
    papers.push(root.join("README.md"));
    papers
}

/// Words as a shell has them, up to a comment.
fn words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut is_quoted) = (Vec::new(), String::new(), false);
    for c in line.chars() {
        match c {
            '"' => is_quoted = !is_quoted,
            '#' if !is_quoted && word.is_empty() => break,
            c if c.is_whitespace() && !is_quoted => words.push(std::mem::take(&mut word)),
            c => word.push(c),
        }
    }
    words.push(word);
    words.retain(|word| !word.is_empty());
    words
}

/// Lines of code blocks that run this program.
fn commands(text: &str) -> Vec<Vec<String>> {
    let blocks = text.split("```").skip(1).step_by(2);
    let lines = blocks
        .flat_map(str::lines)
        .map(|line| line.trim().replace("cargo run --release --", "dpay"));
    let lines = lines.filter(|line| line.starts_with("dpay "));
    // What stands for an account is none.
    let account = "0".repeat(64);
    let lines = lines.map(|line| words(&line).into_iter());
    let filled =
        lines.map(|line| line.map(|word| if word == "ID" { account.clone() } else { word }));
    filled.map(Iterator::collect).collect()
}

#[test]
fn commands_that_the_papers_name_are_there() {
    let mut found = 0;
    for paper in papers() {
        let text = std::fs::read_to_string(&paper).expect("text");
        for command in commands(&text) {
            found += 1;
            let parsed = Cli::try_parse_from(&command);
            assert!(
                parsed.is_ok(),
                "{}: {command:?}: {:?}",
                paper.display(),
                parsed.err()
            );
        }
        // In running text arguments may be left out or be placeholders, but not be unknown.
        let spans = text
            .split('`')
            .filter(|span| span.starts_with("dpay ") && !span.contains('\n'));
        for span in spans.filter(|span| !span.starts_with("dpay COMMAND") && !span.contains('|')) {
            found += 1;
            let Err(error) = Cli::try_parse_from(words(span)) else {
                continue;
            };
            let unknown = [ErrorKind::UnknownArgument, ErrorKind::InvalidSubcommand];
            let kind = error.kind();
            assert!(
                !unknown.contains(&kind),
                "{}: {span}: {error}",
                paper.display()
            );
        }
    }
    assert!(found > 30, "only {found} commands were found");
}

#[test]
fn a_command_that_is_not_there_is_noticed() {
    let text = "```\ndpay seedd a --data .   # no\n```";
    let [command] = &commands(text)[..] else {
        panic!("one command");
    };
    assert_eq!(command, &["dpay", "seedd", "a", "--data", "."]);
    assert!(Cli::try_parse_from(command).is_err());
}
