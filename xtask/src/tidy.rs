//! The rules of the house that no compiler knows. Each check gives the problems that it found, one line each.

use anyhow::{Context, Result};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A check of the repository at a path.
pub(crate) type Check = fn(&Path) -> Result<Vec<String>>;

pub(crate) const CHECKS: &[(&str, Check)] = &[
    ("imports", imports),
    ("pure crates", pure_crates),
    ("dependencies", dependencies),
    ("sizes", sizes),
    ("names", names),
    ("text", text),
    ("argued lints", argued_lints),
    ("links", links),
    ("pitfalls", pitfalls),
];

/// Who may import whom; what is not here may import nothing of ours. `xtask` and tests may import what they test.
const IMPORTS: &[(&str, &[&str])] = &[
    ("wire", &[]),
    ("store", &["wire"]),
    ("namesrv", &["wire"]),
    ("net", &["wire"]),
    ("broker", &["wire", "store"]),
    ("replica", &["wire", "store"]),
    ("client", &["wire", "net"]),
    ("proxy", &["wire", "net"]),
    ("admin", &["wire", "client"]),
    ("console", &["admin"]),
    ("upgrade", &["admin"]),
    (
        "server",
        &[
            "wire", "store", "broker", "replica", "namesrv", "net", "client", "proxy", "admin", "console",
            "upgrade",
        ],
    ),
    ("sim", &["wire", "store", "broker", "replica", "namesrv", "upgrade"]),
    ("xtask", &["wire"]),
];

/// Crates that decide and so must not touch the world.
const PURE: &[&str] = &["wire", "store", "broker", "replica", "namesrv"];
/// Crates in which tokio may be.
const ASYNC: &[&str] = &["net", "client", "proxy", "console", "server", "upgrade"];

const PURE_EXTERNALS_MAX: usize = 6;
const LOCKED_PACKAGES_MAX: usize = 250;
const FILE_LINES_MAX: usize = 800;
const FUNCTION_LINES_MAX: usize = 70;
/// Files that are tables, which may be long.
const TABLES: &[&str] = &["table.rs", "codes.rs"];

/// A package of the workspace: its folder's name and the packages that it depends on outside of tests.
struct Package {
    name: String,
    dependencies: Vec<String>,
}

fn packages(root: &Path) -> Result<Vec<Package>> {
    let output = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["metadata", "--format-version", "1", "--no-deps", "--offline", "--manifest-path"])
        .arg(root.join("Cargo.toml"))
        .output()?;
    anyhow::ensure!(output.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    let list = metadata.get("packages").and_then(|p| p.as_array()).context("no packages in the metadata")?;
    let text = |value: &serde_json::Value, key: &str| {
        value.get(key).and_then(|v| v.as_str()).unwrap_or_default().to_owned()
    };
    Ok(list
        .iter()
        .map(|package| {
            let all = package.get("dependencies").and_then(|d| d.as_array());
            let normal = all.into_iter().flatten().filter(|d| text(d, "kind") != "dev");
            Package {
                name: text(package, "name").trim_start_matches("kerolox-").to_owned(),
                dependencies: normal.map(|d| text(d, "name")).collect(),
            }
        })
        .collect())
}

fn imports(root: &Path) -> Result<Vec<String>> {
    let mut problems = Vec::new();
    for package in packages(root)? {
        let Some((_, allowed)) = IMPORTS.iter().find(|(name, _)| *name == package.name) else {
            problems.push(format!("crate {} has no row in the import map", package.name));
            continue;
        };
        for ours in package.dependencies.iter().filter_map(|d| d.strip_prefix("kerolox-")) {
            if !allowed.contains(&ours) {
                problems.push(format!("{} must not import {ours}", package.name));
            }
        }
        if package.dependencies.iter().any(|d| d == "tokio") && !ASYNC.contains(&package.name.as_str()) {
            problems.push(format!("{} must not use tokio", package.name));
        }
    }
    Ok(problems)
}

fn pure_crates(root: &Path) -> Result<Vec<String>> {
    let mut problems = Vec::new();
    for name in PURE.iter().chain(&["sim"]) {
        let source_files = rust_files(&root.join("crates").join(name).join("src"))?;
        // The simulator's program measures how long it took; the world that it simulates has no such thing.
        for path in source_files.iter().filter(|p| !p.components().any(|c| c.as_os_str() == "bin")) {
            let source = std::fs::read_to_string(path)?;
            problems.extend(
                impure(name, &source).map(|(line, what)| format!("{}:{line}: {what}", path.display())),
            );
        }
    }
    Ok(problems)
}

/// Words that a pure crate must not have outside of comments and tests.
const IMPURE: &[&str] = &[
    "Instant",
    "SystemTime",
    "TcpStream",
    "TcpListener",
    "UdpSocket",
    "std::thread",
    "thread::",
    "tokio",
    "async fn",
    "async {",
    "async move",
    ".await",
    "unsafe",
    "rand::",
];

fn impure<'a>(name: &'a str, source: &'a str) -> impl Iterator<Item = (usize, String)> + 'a {
    production(source).flat_map(move |(number, line)| {
        let code = line.split("//").next().unwrap_or_default();
        IMPURE
            .iter()
            .filter(move |word| has_word(code, word))
            .map(move |word| (number, format!("`{word}` has no place in {name}")))
    })
}

fn has_word(code: &str, word: &str) -> bool {
    code.match_indices(word).any(|(at, _)| {
        let before = code.get(..at).and_then(|c| c.chars().next_back());
        let after = code.get(at + word.len()..).and_then(|c| c.chars().next());
        let in_word = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
        let starts = !word.starts_with(char::is_alphanumeric) || !in_word(before);
        let ends = !word.ends_with(char::is_alphanumeric) || !in_word(after);
        starts && ends
    })
}

/// The numbered lines of a source before its tests.
fn production(source: &str) -> impl Iterator<Item = (usize, &str)> {
    source.lines().enumerate().map(|(i, l)| (i + 1, l)).take_while(|(_, l)| {
        let line = l.trim_start();
        line != "#[cfg(test)]" && line != "#![cfg(test)]"
    })
}

fn dependencies(root: &Path) -> Result<Vec<String>> {
    let mut problems = Vec::new();
    let argued = std::fs::read_to_string(root.join("docs/dependencies.md")).unwrap_or_default();
    for package in packages(root)? {
        let externals: BTreeSet<_> =
            package.dependencies.iter().filter(|d| !d.starts_with("kerolox-")).collect();
        if PURE.contains(&package.name.as_str()) && externals.len() > PURE_EXTERNALS_MAX {
            problems.push(format!("{} has {} external dependencies", package.name, externals.len()));
        }
        for external in externals {
            if !argued.contains(&format!("| `{external}` |")) {
                problems
                    .push(format!("{external} (in {}) is not argued in docs/dependencies.md", package.name));
            }
        }
    }
    let locked = std::fs::read_to_string(root.join("Cargo.lock"))?.matches("[[package]]").count();
    if locked >= LOCKED_PACKAGES_MAX {
        problems.push(format!("Cargo.lock has {locked} packages; the limit is {LOCKED_PACKAGES_MAX}"));
    }
    Ok(problems)
}

fn sizes(root: &Path) -> Result<Vec<String>> {
    let mut problems = Vec::new();
    for path in production_files(root)? {
        let is_table = path.file_name().is_some_and(|name| TABLES.iter().any(|t| name == *t));
        if is_table {
            continue;
        }
        let source = std::fs::read_to_string(&path)?;
        let lines = production(&source).count();
        if lines > FILE_LINES_MAX {
            problems.push(format!("{}: {lines} lines; the limit is {FILE_LINES_MAX}", path.display()));
        }
        for (line, length) in long_functions(&source) {
            let shown = path.display();
            problems.push(format!(
                "{shown}:{line}: a function of {length} lines; the limit is {FUNCTION_LINES_MAX}"
            ));
        }
    }
    Ok(problems)
}

/// Where a function that is too long begins, and its length. Counts on the layout that rustfmt gives.
fn long_functions(source: &str) -> Vec<(usize, usize)> {
    let mut found = Vec::new();
    let mut open: Option<(usize, String)> = None;
    for (number, line) in production(source) {
        let indent: String = line.chars().take_while(|c| *c == ' ').collect();
        let code = line.trim_start();
        let begins =
            ["fn ", "pub fn ", "pub(crate) fn ", "pub(super) fn ", "async fn ", "pub async fn ", "const fn "]
                .iter()
                .any(|start| code.starts_with(start));
        if begins && !code.ends_with('}') && !code.ends_with(';') {
            open = Some((number, format!("{indent}}}")));
        } else if let Some((start, end)) = &open
            && line == end
        {
            if number - start + 1 > FUNCTION_LINES_MAX {
                found.push((*start, number - start + 1));
            }
            open = None;
        }
    }
    found
}

/// Words of which a type's or file's name must not consist.
const EMPTY_WORDS: &[&str] = &["Manager", "Service", "Impl", "Util", "Utils", "Helper", "Common"];
const EMPTY_CRATES: &[&str] = &["common", "util", "utils", "core", "model", "error", "types", "helper"];

fn names(root: &Path) -> Result<Vec<String>> {
    let mut problems = Vec::new();
    for package in packages(root)? {
        if EMPTY_CRATES.contains(&package.name.as_str()) {
            problems.push(format!("a crate must not be called {}", package.name));
        }
    }
    for path in production_files(root)? {
        let stem = path.file_stem().and_then(|s| s.to_str()).unwrap_or_default();
        if EMPTY_WORDS.iter().any(|word| stem == word.to_lowercase()) {
            problems.push(format!("{}: the name says nothing", path.display()));
        }
        let source = std::fs::read_to_string(&path)?;
        for (number, line) in production(&source) {
            let Some(name) = declared_type(line) else { continue };
            if EMPTY_WORDS.iter().any(|word| name.ends_with(word)) {
                problems.push(format!("{}:{number}: the name {name} says nothing", path.display()));
            }
        }
    }
    Ok(problems)
}

fn declared_type(line: &str) -> Option<&str> {
    let mut words = line.split_whitespace().skip_while(|w| w.starts_with("pub"));
    let kind = words.next()?;
    let name = words.next()?;
    let end = name.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(name.len());
    matches!(kind, "struct" | "enum" | "trait" | "type").then(|| name.get(..end)).flatten()
}

fn text(root: &Path) -> Result<Vec<String>> {
    let mut problems = Vec::new();
    for path in tracked(root)? {
        let Ok(source) = std::fs::read_to_string(root.join(&path)) else { continue };
        let shown = path.display();
        if !source.is_empty() && !source.ends_with('\n') && is_source(&path) {
            problems.push(format!("{shown}: no line end at the end"));
        }
        for (number, line) in source.lines().enumerate().map(|(i, l)| (i + 1, l)) {
            if is_source(&path) && line.ends_with([' ', '\t']) {
                problems.push(format!("{shown}:{number}: white space at the end"));
            }
            let marks = [
                concat!("TO", "DO"),
                concat!("FIX", "ME"),
                concat!("to", "do!("),
                concat!("unimple", "mented!("),
                concat!("dbg", "!("),
            ];
            if path.extension().is_some_and(|e| e == "rs") && marks.iter().any(|m| has_word(line, m)) {
                problems.push(format!("{shown}:{number}: unfinished"));
            }
            if path.extension().is_some_and(|e| e == "rs")
                && line.trim_start().starts_with(concat!("#[ign", "ore"))
            {
                problems.push(format!("{shown}:{number}: a test is switched off"));
            }
        }
    }
    Ok(problems)
}

fn is_source(path: &Path) -> bool {
    let extension = path.extension().and_then(|e| e.to_str()).unwrap_or_default();
    ["rs", "md", "toml", "py", "java", "xml", "yml", "sh"].contains(&extension)
}

/// Lints on panics that are switched off outside of tests, without a reason beside.
fn argued_lints(root: &Path) -> Result<Vec<String>> {
    let mut problems = Vec::new();
    for path in production_files(root)? {
        let source = std::fs::read_to_string(&path)?;
        let lines: Vec<_> = production(&source).collect();
        for (i, (number, line)) in lines.iter().enumerate() {
            let panics =
                ["unwrap_used", "expect_used", "indexing_slicing"].iter().any(|lint| line.contains(lint));
            let near = lines.iter().skip(i.saturating_sub(4)).take(9);
            if panics && line.contains("allow(") && !near.clone().any(|(_, l)| l.contains("holds because")) {
                problems.push(format!("{}:{number}: no `holds because` near this lint", path.display()));
            }
        }
    }
    Ok(problems)
}

/// Links of pages, and mentions of pages in sources, to files that are not there.
fn links(root: &Path) -> Result<Vec<String>> {
    let mut problems = Vec::new();
    for path in production_files(root)? {
        let source = std::fs::read_to_string(&path)?;
        for (number, line) in production(&source) {
            let pages = line
                .split(['`', ' ', '"', '(', ')'])
                .filter(|w| w.starts_with("docs/") && w.ends_with(".md"));
            for page in pages.filter(|page| !root.join(page).exists()) {
                problems.push(format!("{}:{number}: {page} is not there", path.display()));
            }
        }
    }
    for path in tracked(root)?.iter().filter(|p| p.extension().is_some_and(|e| e == "md")) {
        let Ok(page) = std::fs::read_to_string(root.join(path)) else { continue };
        let folder = path.parent().unwrap_or(Path::new(""));
        for (number, line) in page.lines().enumerate().map(|(i, l)| (i + 1, l)) {
            for target in targets(line).filter(|t| !root.join(folder).join(t).exists()) {
                problems.push(format!("{}:{number}: {target} is not there", path.display()));
            }
        }
    }
    Ok(problems)
}

/// Tests that `docs/pitfalls.md` names and that are not there: in the last column of its tables, each word in backticks
/// is the name of a test function, a story's file or a case of the interop suite.
fn pitfalls(root: &Path) -> Result<Vec<String>> {
    let mut there = BTreeSet::new();
    for path in rust_files(&root.join("crates"))? {
        let source = std::fs::read_to_string(&path)?;
        there.extend(source.lines().filter_map(function_name).map(str::to_owned));
    }
    for path in files(&root.join("crates/broker/testdata"), "txt")? {
        there.extend(path.file_name().and_then(|name| name.to_str()).map(str::to_owned));
    }
    for language in ["java", "go"] {
        for path in files(&root.join("tests/interop"), language)? {
            there.extend(std::fs::read_to_string(&path)?.split('"').map(str::to_owned));
        }
    }
    let page = std::fs::read_to_string(root.join("docs/pitfalls.md"))?;
    let mut problems = Vec::new();
    for (number, line) in page.lines().enumerate().map(|(i, l)| (i + 1, l)) {
        let last_column = line.trim_end_matches('|').rsplit('|').next().filter(|_| line.starts_with('|'));
        for name in last_column.unwrap_or_default().split('`').skip(1).step_by(2) {
            if !there.contains(name) {
                problems.push(format!("docs/pitfalls.md:{number}: there is no test {name}"));
            }
        }
    }
    Ok(problems)
}

/// The name of the function that a line begins.
fn function_name(line: &str) -> Option<&str> {
    let name = line.trim_start().strip_prefix("fn ")?;
    name.split(['(', '<']).next()
}

/// Relative targets of a line's links, without their fragments.
fn targets(line: &str) -> impl Iterator<Item = &str> {
    let after = line.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    after.filter(|t| !t.contains("://")).filter_map(|t| t.split('#').next()).filter(|t| !t.is_empty())
}

/// Files that git knows (or would take).
fn tracked(root: &Path) -> Result<Vec<PathBuf>> {
    let output = Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard", "-z"])
        .current_dir(root)
        .output()
        .context("cannot run git")?;
    let list = String::from_utf8_lossy(&output.stdout).into_owned();
    Ok(list.split('\0').filter(|p| !p.is_empty()).map(PathBuf::from).collect())
}

/// Sources of crates and of `xtask`, tests apart.
fn production_files(root: &Path) -> Result<Vec<PathBuf>> {
    let mut all = rust_files(&root.join("xtask/src"))?;
    for entry in std::fs::read_dir(root.join("crates"))? {
        all.extend(rust_files(&entry?.path().join("src"))?);
    }
    // Modules that are tests throughout.
    all.retain(|path| {
        !path.components().any(|c| c.as_os_str() == "tests") && path.file_stem().is_none_or(|s| s != "tests")
    });
    Ok(all)
}

fn rust_files(folder: &Path) -> Result<Vec<PathBuf>> {
    files(folder, "rs")
}

fn files(folder: &Path, extension: &str) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let Ok(entries) = std::fs::read_dir(folder) else { return Ok(found) };
    for entry in entries {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(files(&path, extension)?);
        } else if path.extension().is_some_and(|e| e == extension) {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn impure_words_are_found_in_code_only() {
        let source = "use std::time::SystemTime;\n// Instant\nlet x = InstantRate;\nlet t = thread::spawn();\n#[cfg(test)]\nInstant";
        let found: Vec<_> = impure("wire", source).collect();
        assert_eq!(
            found,
            [
                (1, "`SystemTime` has no place in wire".to_owned()),
                (4, "`thread::` has no place in wire".to_owned()),
            ]
        );
    }

    #[test]
    fn long_functions_are_found_and_their_tests_are_not() {
        let body = "        x();\n".repeat(69);
        let source = format!(
            "impl A {{\n    pub fn long() {{\n{body}    }}\n    fn short() {{}}\n}}\n#[cfg(test)]\nfn t() {{\n{body}{body}}}\n"
        );
        assert_eq!(long_functions(&source), [(2, 71)]);
        let fits = source.replacen("        x();\n", "", 1);
        assert_eq!(long_functions(&fits), []);
    }

    #[test]
    fn targets_of_links() {
        let line = "see [a](b.md#c), [d](https://e.f/g), [h](#i) and [j](../k/)";
        assert_eq!(targets(line).collect::<Vec<_>>(), ["b.md", "../k/"]);
    }

    #[test]
    fn names_of_functions() {
        assert_eq!(function_name("    fn a_test() {"), Some("a_test"));
        assert_eq!(function_name("// fn a_test() {"), None);
    }

    #[test]
    fn type_names() {
        assert_eq!(declared_type("pub(crate) struct FooManager<T> {"), Some("FooManager"));
        assert_eq!(declared_type("enum E {"), Some("E"));
        assert_eq!(declared_type("let struct_x = 1;"), None);
    }

    #[test]
    fn the_import_map_is_closed_and_without_circles() {
        for (name, allowed) in IMPORTS {
            for other in *allowed {
                let row = IMPORTS.iter().find(|(n, _)| n == other);
                assert!(row.is_some_and(|(_, back)| !back.contains(name)), "{name} and {other}");
            }
        }
    }
}
