//! Stories: what a broker does, told as commands and the effects that each has.
//!
//! Each file of `testdata/` is a list of blocks `command`, `----`, what came of it, an empty line. Run with
//! `UPDATE_STORIES=1` to write what really comes of each command into the files, and read the difference.

// A test may panic; that is how it fails.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod world;

use std::fmt::Write;
use std::path::Path;
use world::World;

#[test]
fn stories() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata");
    let update = std::env::var_os("UPDATE_STORIES").is_some();
    let mut files: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|f| f.unwrap().path()).collect();
    files.sort();
    assert!(!files.is_empty());
    for file in files {
        let told = std::fs::read_to_string(&file).unwrap();
        let happened = tell(&told);
        if update {
            std::fs::write(&file, happened).unwrap();
        } else {
            assert_same(&file, &told, &happened);
        }
    }
}

/// Runs the commands of a story and gives the story as it really goes.
fn tell(story: &str) -> String {
    let mut world = World::new();
    let mut out = String::new();
    for block in story.split("\n\n") {
        let block = block.trim_matches('\n');
        if block.is_empty() {
            continue;
        }
        let (commands, _) = block.split_once("\n----").unwrap_or((block, ""));
        if !out.is_empty() {
            out.push('\n');
        }
        writeln!(out, "{commands}").unwrap();
        let commands: Vec<&str> = commands.lines().filter(|line| !line.starts_with('#')).collect();
        if commands.is_empty() {
            continue;
        }
        writeln!(out, "----").unwrap();
        for command in commands {
            out.push_str(&world.run(command));
        }
    }
    out
}

#[track_caller]
fn assert_same(file: &Path, told: &str, happened: &str) {
    for (i, (told, happened)) in told.lines().zip(happened.lines()).enumerate() {
        assert_eq!(told, happened, "{}:{}", file.display(), i + 1);
    }
    assert_eq!(told.lines().count(), happened.lines().count(), "{}", file.display());
}
