//! What `kerolox admin help` says.

use super::flags::{Flag, Need, flags};
use super::table::{self, Command, FAMILIES, Runs};
use std::fmt::Write;

/// All commands, by family.
pub(super) fn overview() -> String {
    let mut out = String::from(
        "Ask and change name servers and brokers, with the commands and flags of Apache RocketMQ's mqadmin.\n\n\
         Usage: kerolox admin COMMAND [FLAGS]\n\
         \x20      kerolox admin help COMMAND\n\
         \x20      kerolox admin completion bash|zsh|fish\n",
    );
    for family in FAMILIES {
        // holds because writing to a string cannot fail
        let _ = writeln!(out, "\n{}:", family.title);
        for command in family.commands {
            let _ = writeln!(out, "  {:<34} {}", command.name, command.summary);
        }
    }
    out.push_str("\nExit codes: 0 done, 1 a server refused or could not be reached, 2 wrong usage.\n");
    out
}

/// One command with its flags.
pub(super) fn of(command: &'static Command) -> String {
    let mut out = format!("{}\n\nUsage: kerolox admin {}", command.summary, command.name);
    let mut seen = None;
    for flag in command.flags {
        match flag.need {
            Need::Always => {
                let _ = write!(out, " {}", usage(flag));
            }
            Need::OneOf(group) if seen != Some(group) => {
                seen = Some(group);
                let all = command.flags.iter().filter(|f| f.need == Need::OneOf(group));
                let all: Vec<_> = all.map(usage).collect();
                let _ = write!(out, " ({})", all.join(" | "));
            }
            Need::OneOf(_) | Need::Optional => {}
        }
    }
    out.push_str(" [FLAGS]\n\n");
    for flag in flags(command) {
        let short = if flag.short.is_empty() {
            "    ".to_owned()
        } else {
            format!("{:<4}", format!("-{},", flag.short))
        };
        let long = format!("--{} {}", flag.long, flag.value);
        let _ = writeln!(out, "  {short} {:<32} {}", long.trim_end(), flag.help);
    }
    if !command.asks.is_empty() {
        let asks: Vec<_> = command.asks.iter().map(|code| format!("{code:?}")).collect();
        let _ = writeln!(out, "\nIt asks servers for {}.", asks.join(", "));
    }
    if let Runs::Never(why) = command.runs {
        let _ = writeln!(out, "\nIt does nothing here: {why}.");
    }
    out
}

fn usage(flag: &Flag) -> String {
    format!("{} {}", super::flags::shown(flag), flag.value).trim_end().to_owned()
}

/// The command whose name looks most like `name`, if one does.
pub(super) fn nearest(name: &str) -> Option<&'static str> {
    let wanted = name.to_lowercase();
    table::all()
        .map(|command| (distance(&wanted, &command.name.to_lowercase()), command.name))
        .min()
        .filter(|(distance, near)| *distance * 3 <= near.len())
        .map(|(_, near)| near)
}

/// How many letters are to be put in, taken out or changed to make one word of the other.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        if let Some(first) = row.first_mut() {
            *first = left;
        }
        for (cell, y) in row.iter_mut().skip(1).zip(b.bytes()) {
            let here = (diagonal + usize::from(x != y)).min(left + 1).min(*cell + 1);
            diagonal = std::mem::replace(cell, here);
            left = here;
        }
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_is_nearly_right_is_known() {
        assert_eq!(nearest("topiclst"), Some("topicList"));
        assert_eq!(nearest("updateTopics"), Some("updateTopic"));
        assert_eq!(nearest("x"), None);
        assert_eq!(distance("kitten", "sitting"), 3);
    }

    #[test]
    fn names_and_flags_are_unique() {
        let mut names: Vec<_> = table::all().map(|command| command.name.to_lowercase()).collect();
        names.sort();
        let count = names.len();
        names.dedup();
        assert_eq!(names.len(), count);
        for command in table::all() {
            assert!(command.summary.ends_with('.'), "{}", command.name);
            let mut seen = std::collections::BTreeSet::new();
            for flag in flags(command) {
                assert!(seen.insert(format!("--{}", flag.long)), "{} --{}", command.name, flag.long);
                assert!(
                    flag.short.is_empty() || seen.insert(flag.short.into()),
                    "{} -{}",
                    command.name,
                    flag.short
                );
            }
        }
    }
}
