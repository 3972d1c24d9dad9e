//! Tests of what is kept of many torrents: for the next run, and where it cannot be read.

use super::*;

fn from(source: Source) -> Task {
    Task {
        source: Some(source),
        info_hash: None,
        answer: ManyAnswer::default(),
        refused: None,
    }
}

fn task(magnet: &str) -> Task {
    from(Source {
        magnet: Some(magnet.to_owned()),
        ..Source::default()
    })
}

#[test]
fn what_is_kept_is_there_for_the_next_run_until_it_is_done() {
    let home = tempfile::tempdir().expect("a folder");
    let many = Many::open(home.path());
    many.keep(&[task("a"), task("b"), task("c")]).expect("kept");
    many.finish(2, None);
    let problem = Problem::new(ProblemCode::BadTorrent, "no torrent", Advice::GiveMagnet);
    let refused = Task {
        refused: Some(problem),
        ..task("c")
    };
    many.finish(3, Some(refused));
    assert_eq!((many.view().total, many.view().done), (3, 1));

    let many = Many::open(home.path());
    let view = many.view();
    assert_eq!((view.total, view.done), (2, 0), "{view:?}");
    assert_eq!((view.refused, view.problems[0].label.as_str()), (1, "c"));
    assert!(lock(&many.state).waiting.iter().eq(&[1]));
    // New ones take no place of old ones, and begin a new count only when all is done.
    many.keep(&[task("d")]).expect("kept");
    assert_eq!(many.view().total, 3);
    many.again();
    assert!(lock(&many.state).waiting.iter().eq(&[1, 3, 4]));
    for id in [1, 3, 4] {
        many.finish(id, None);
    }
    many.keep(&[task("e")]).expect("kept");
    assert_eq!((many.view().total, many.view().done), (1, 0));
    let files = std::fs::read_dir(home.path().join(FOLDER)).expect("a folder");
    assert_eq!(files.count(), 1);
}

#[test]
fn what_cannot_be_read_is_said_and_half_a_file_is_gone() {
    let home = tempfile::tempdir().expect("a folder");
    let many = Many::open(home.path());
    many.keep(&[task("a"), task("b")]).expect("kept");
    let folder = home.path().join(FOLDER);
    std::fs::write(many.path(2), "{\"source\":").expect("written");
    std::fs::write(folder.join("00000003.json.0a.new"), "{").expect("written");
    let many = Many::open(home.path());
    let view = many.view();
    assert_eq!((view.total, view.refused), (2, 1), "{view:?}");
    assert_eq!(view.problems[0].label, "00000002.json");
    let problem = &view.problems[0].problem;
    assert_eq!(problem.code, ProblemCode::BadTorrent, "{problem:?}");
    assert!(problem.error.contains("can be dismissed"), "{problem:?}");
    many.forget().expect("forgotten");
    let left = std::fs::read_dir(folder).expect("a folder");
    let left: Vec<_> = left.map(|entry| entry.expect("reads").path()).collect();
    assert_eq!(left, [many.path(1)]);
}

#[test]
fn a_file_that_is_no_torrent_is_named_by_the_name_it_came_with() {
    let named = |file_name: Option<&str>| {
        let source = Source {
            file: Some("bm8=".to_owned()),
            file_name: file_name.map(str::to_owned),
            ..Source::default()
        };
        from(source).label()
    };
    assert_eq!(
        named(Some("broken\u{202e}.torrent")),
        printable("broken\u{202e}.torrent")
    );
    assert_eq!(named(Some("broken.torrent")), "broken.torrent");
    assert_eq!(named(None), ".torrent");
}

#[test]
fn those_that_were_refused_are_forgotten_and_no_others() {
    let home = tempfile::tempdir().expect("a folder");
    let many = Many::open(home.path());
    many.keep(&[task("a"), task("b")]).expect("kept");
    let problem = Problem::new(ProblemCode::BadTorrent, "no torrent", Advice::GiveMagnet);
    many.finish(
        1,
        Some(Task {
            refused: Some(problem),
            ..task("a")
        }),
    );
    many.forget().expect("forgotten");
    assert_eq!((many.view().total, many.view().refused), (1, 0));
    let again = Many::open(home.path());
    assert!(lock(&again.state).waiting.iter().eq(&[2]));
}

#[test]
fn what_cannot_be_read_is_left_as_it_is_when_it_is_tried_again() {
    let home = tempfile::tempdir().expect("a folder");
    let many = Many::open(home.path());
    many.keep(&[task("a"), task("b")]).expect("kept");
    let whole = std::fs::read(many.path(1)).expect("reads");
    std::fs::write(many.path(1), "{\"source\":").expect("written");
    // What the system does not let us read is a fault of another kind.
    std::fs::remove_file(many.path(2)).expect("removed");
    std::fs::create_dir(many.path(2)).expect("made");
    let many = Many::open(home.path());
    for _ in 0..2 {
        many.again();
        assert!(lock(&many.state).waiting.iter().eq(&[1, 2]));
        assert!(many.take(1).is_none() && many.take(2).is_none());
        let view = many.view();
        assert_eq!((view.total, view.done, view.refused), (2, 0, 2), "{view:?}");
        assert!(lock(&many.state).waiting.is_empty());
        let codes = [0, 1].map(|at: usize| view.problems[at].problem.code);
        assert_eq!(codes, [ProblemCode::BadTorrent, ProblemCode::Disk]);
        let left = std::fs::read(many.path(1)).expect("reads");
        assert_eq!(left, b"{\"source\":");
    }
    std::fs::write(many.path(1), &whole).expect("written");
    many.again();
    let task = many.take(1).expect("it can be read by now");
    assert_eq!(task.label(), "a");
    assert_eq!((many.view().total, many.view().refused), (2, 0));
}
