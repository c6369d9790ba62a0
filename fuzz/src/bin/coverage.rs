//! `coverage PROFILES OBJECT…`: how many lines of the decoders were run, by the profiles in a folder that these test
//! programs left behind. Called by `fuzz/run coverage`.

use llvm_profparser::{CoverageMapping, merge_profiles};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// What reads bytes that others wrote.
const DECODERS: &[&str] = &[
    "crates/wire/src/",
    "crates/store/src/log/frontier.rs",
    "crates/store/src/log/scan.rs",
    "crates/store/src/log/blank.rs",
    "crates/store/src/recovery/",
    "crates/store/src/index/run.rs",
    "crates/store/src/index/run_read.rs",
    "crates/store/src/reader.rs",
    "crates/store/src/snapshot.rs",
    "crates/store/src/state.rs",
    "crates/store/src/look/verify.rs",
    "crates/broker/src/state.rs",
    "crates/broker/src/sql/",
    "crates/broker/src/adopt/",
];

fn main() {
    let mut args = std::env::args().skip(1);
    let folder = args.next().expect("a folder of profiles");
    let objects: Vec<PathBuf> = args.map(PathBuf::from).collect();
    let profiles: Vec<PathBuf> =
        fs::read_dir(folder).expect("the folder can be read").flatten().map(|entry| entry.path()).collect();
    let merged = merge_profiles(&profiles).expect("profiles can be read");
    let mapping = CoverageMapping::new(&objects, &merged, true).expect("the programs are of these profiles");
    let report = mapping.generate_report().expect("a report");
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().expect("the repository");
    let mut groups: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    for (path, lines) in &report.files {
        let path = fs::canonicalize(path).unwrap_or_else(|_| path.clone());
        let Ok(name) = path.strip_prefix(&root).map(|name| name.to_string_lossy().into_owned()) else {
            continue;
        };
        let Some(group) = DECODERS.iter().find(|group| name.starts_with(**group)) else { continue };
        let source = fs::read_to_string(&path).unwrap_or_default();
        let of_tests = name.ends_with("tests.rs") || name.contains("/tests/");
        // Tests stand at the end of a file.
        let code = source.lines().position(|line| line == "#[cfg(test)]").unwrap_or(usize::MAX);
        let hits = (1..=source.lines().count().min(code))
            .filter_map(|line| Some((line, lines.hits_for_line(line)?)));
        let hits: Vec<(usize, usize)> = hits.filter(|_| !of_tests).collect();
        let missed: Vec<usize> = hits.iter().filter(|(_, hits)| *hits == 0).map(|(line, _)| *line).collect();
        let (run, all) = groups.entry(group).or_default();
        *run += hits.len() - missed.len();
        *all += hits.len();
        if !missed.is_empty() {
            println!("{name}: {} of {} lines, not {missed:?}", hits.len() - missed.len(), hits.len());
        }
    }
    let (run, all) = groups.values().fold((0, 0), |(r, a), (run, all)| (r + run, a + all));
    for (group, (run, all)) in groups.iter().map(|(g, c)| (*g, *c)).chain([("all decoders", (run, all))]) {
        println!("{group}: {run} of {all} lines, {:.1} %", run as f64 * 100.0 / all.max(1) as f64);
    }
}
