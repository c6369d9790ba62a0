//! Flags as Apache's tools take them: `-t T`, `-tT`, `-t=T`, `--topic T`, `--topic=T`, `-topic T`, and any unambiguous start
//! of a long name. Clap has no short flags of two letters (`-bn`), which Apache has.

use super::table::Command;
use std::fmt;
use std::str::FromStr;

/// A command line that is not valid. The text is for people.
#[derive(Debug)]
pub(super) struct Usage(pub(super) String);

impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Usage {}

/// When a flag is to be given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Need {
    Optional,
    Always,
    /// Exactly one of the flags of the command that carry the same number.
    OneOf(u8),
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Flag {
    /// Without its dash; empty: there is none.
    pub(super) short: &'static str,
    pub(super) long: &'static str,
    /// What its value is called in the help; empty: it takes none.
    pub(super) value: &'static str,
    pub(super) need: Need,
    pub(super) help: &'static str,
}

/// A flag with a value, which may be left out unless [`Flag::needed`] or [`Flag::one_of`] says otherwise.
pub(super) const fn flag(
    short: &'static str,
    long: &'static str,
    value: &'static str,
    help: &'static str,
) -> Flag {
    Flag { short, long, value, need: Need::Optional, help }
}

pub(super) const fn switch(short: &'static str, long: &'static str, help: &'static str) -> Flag {
    flag(short, long, "", help)
}

impl Flag {
    pub(super) const fn needed(self) -> Self {
        Self { need: Need::Always, ..self }
    }

    pub(super) const fn one_of(self, group: u8) -> Self {
        Self { need: Need::OneOf(group), ..self }
    }
}

/// The flags of every command. A command's own come first.
pub(super) const GLOBAL: &[Flag] = &[
    switch("h", "help", "Tell about the command"),
    flag(
        "n",
        "namesrvAddr",
        "ADDRS",
        "Name servers, separated by ; (default: NAMESRV_ADDR, then 127.0.0.1:9876)",
    ),
    flag("", "output", "FORMAT", "table (default) or json: one JSON document"),
    flag("", "timeout", "SECONDS", "How long each request may take (5)"),
];

/// The flags that were given to a command.
#[derive(Debug)]
pub(super) struct Args {
    pub(super) command: &'static Command,
    given: Vec<(&'static Flag, String)>,
}

impl Args {
    /// Reads what follows the command's name.
    ///
    /// # Errors
    /// [`Usage`]: an unknown or ambiguous flag, a value that is missing or not wanted, or (but for a call of help) a flag that
    /// is missing.
    pub(super) fn parse(command: &'static Command, arguments: &[String]) -> Result<Self, Usage> {
        let mut args = Self { command, given: Vec::new() };
        let mut rest = arguments.iter();
        while let Some(argument) = rest.next() {
            let (flag, joined) = find(command, argument)?;
            let value = match joined {
                _ if flag.value.is_empty() => match joined {
                    None => String::new(),
                    Some(_) => return Err(Usage(format!("{} takes no value", shown(flag)))),
                },
                Some(value) => value.to_owned(),
                None => match rest.next() {
                    Some(next) if !names_flag(command, next) => next.clone(),
                    _ => return Err(Usage(format!("{} needs a value: {}", shown(flag), flag.value))),
                },
            };
            args.given.retain(|(other, _)| other.long != flag.long);
            args.given.push((flag, value.trim().to_owned()));
        }
        if !args.has("help") {
            args.check_needs()?;
        }
        Ok(args)
    }

    fn check_needs(&self) -> Result<(), Usage> {
        let mut missing = Vec::new();
        for flag in self.command.flags {
            match flag.need {
                Need::Always if !self.has(flag.long) => missing.push(shown(flag)),
                Need::OneOf(group) => {
                    let all = || self.command.flags.iter().filter(|f| f.need == Need::OneOf(group));
                    let names = all().map(shown).collect::<Vec<_>>();
                    match all().filter(|f| self.has(f.long)).count() {
                        0 if names.first() == Some(&shown(flag)) => {
                            missing.push(format!("one of {}", names.join(", ")));
                        }
                        0 | 1 => {}
                        _ => return Err(Usage(format!("only one of {} may be given", names.join(", ")))),
                    }
                }
                _ => {}
            }
        }
        if missing.is_empty() { Ok(()) } else { Err(Usage(format!("missing: {}", missing.join("; ")))) }
    }

    /// The value of the flag with this long name, if it was given.
    pub(super) fn get(&self, long: &str) -> Option<&str> {
        debug_assert!(flags(self.command).any(|flag| flag.long == long), "{} {long}", self.command.name);
        self.given.iter().find(|(flag, _)| flag.long == long).map(|(_, value)| value.as_str())
    }

    /// The value of a flag that the table says is needed.
    pub(super) fn need(&self, long: &str) -> Result<&str, Usage> {
        self.get(long).ok_or_else(|| Usage(format!("missing: --{long}")))
    }

    pub(super) fn has(&self, long: &str) -> bool {
        self.get(long).is_some()
    }

    /// A flag that is on only if it is given as `true`, in any case.
    pub(super) fn is_true(&self, long: &str) -> bool {
        self.boolean(long).unwrap_or(false)
    }

    /// As Java reads it: whatever is not "true" is false.
    pub(super) fn boolean(&self, long: &str) -> Option<bool> {
        self.get(long).map(|value| value.eq_ignore_ascii_case("true"))
    }

    /// A value that is a number.
    pub(super) fn number<T: FromStr>(&self, long: &str) -> Result<Option<T>, Usage> {
        let parse = |value: &str| {
            value.parse().map_err(|_| Usage(format!("--{long} {value:?} is not a number that fits here")))
        };
        self.get(long).map(parse).transpose()
    }

    /// `--output json` was given.
    pub(super) fn wants_json(&self) -> Result<bool, Usage> {
        match self.get("output") {
            None | Some("table") => Ok(false),
            Some("json") => Ok(true),
            Some(other) => Err(Usage(format!("--output {other:?} is neither table nor json"))),
        }
    }
}

/// The command's own flags and those of every command that it does not name otherwise.
pub(super) fn flags(command: &'static Command) -> impl Iterator<Item = &'static Flag> {
    let own = command.flags.iter();
    let global = GLOBAL.iter().filter(|global| {
        command.flags.iter().all(|f| f.long != global.long && (f.short != global.short || f.short.is_empty()))
    });
    own.chain(global)
}

/// How a flag is named to people.
pub(super) fn shown(flag: &Flag) -> String {
    if flag.short.is_empty() { format!("--{}", flag.long) } else { format!("-{}", flag.short) }
}

fn names_flag(command: &'static Command, argument: &str) -> bool {
    let Some(name) = argument.strip_prefix('-') else { return false };
    let long = name.strip_prefix('-');
    flags(command).any(|flag| long.unwrap_or(name) == flag.long || (long.is_none() && name == flag.short))
}

/// The flag that an argument names, and the value that it carries itself.
fn find<'a>(command: &'static Command, argument: &'a str) -> Result<(&'static Flag, Option<&'a str>), Usage> {
    let Some(name) = argument.strip_prefix('-').filter(|name| !name.is_empty()) else {
        return Err(Usage(format!("{argument:?} is not a flag, and no flag before it takes a value")));
    };
    let (long_only, name) = name.strip_prefix('-').map_or((false, name), |name| (true, name));
    let (name, joined) = name.split_once('=').map_or((name, None), |(name, value)| (name, Some(value)));
    let exact =
        |flag: &&Flag| flag.long == name || (!long_only && !flag.short.is_empty() && flag.short == name);
    if let Some(flag) = flags(command).find(exact) {
        return Ok((flag, joined));
    }
    let starts: Vec<_> = flags(command).filter(|flag| flag.long.starts_with(name)).collect();
    match starts.as_slice() {
        [flag] => return Ok((flag, joined)),
        [] => {}
        several => {
            let names: Vec<_> = several.iter().map(|flag| format!("--{}", flag.long)).collect();
            return Err(Usage(format!("{argument} is ambiguous: {}", names.join(", "))));
        }
    }
    // `-tT`: the value is joined to the letter.
    let joined = argument.get(1..).filter(|_| !long_only).and_then(|text| {
        let flag = flags(command).find(|f| {
            !f.short.is_empty() && !f.value.is_empty() && text.starts_with(f.short) && f.short.len() == 1
        })?;
        Some((flag, text.get(1..)?.trim_start_matches('=')))
    });
    match joined {
        Some((flag, value)) => Ok((flag, Some(value))),
        None => Err(Usage(format!("{argument} is not a flag of {}", command.name))),
    }
}

#[cfg(test)]
mod tests {
    use super::super::table;
    use super::*;

    fn parse(command: &str, arguments: &[&str]) -> Result<Args, String> {
        let arguments: Vec<String> = arguments.iter().map(|a| (*a).to_owned()).collect();
        Args::parse(table::find(command).unwrap(), &arguments).map_err(|why| why.to_string())
    }

    #[test]
    fn every_way_of_writing_a_flag_that_apache_takes() {
        for arguments in [
            &["-t", "T", "-l"][..],
            &["--topic", "T", "--list"],
            &["--topic=T", "-list"],
            &["-topic", "T", "--li"],
            &["-tT", "-l"],
            &["-t=T", "-l"],
            &["-l", "-t", "x", "-t", " T "],
        ] {
            let args = parse("topicRoute", arguments).unwrap();
            assert_eq!((args.get("topic"), args.has("list")), (Some("T"), true), "{arguments:?}");
        }
        let args = parse("updateStaticTopic", &["-c", "C", "-t", "T", "-qn", "8", "-mf", "f"]).unwrap();
        assert_eq!((args.get("totalQueueNum"), args.get("mapFile")), (Some("8"), Some("f")));
        assert_eq!(
            parse("updateTopic", &["-b", "b", "-t", "T", "-a", "-x"]).unwrap().get("attributes"),
            Some("-x")
        );
        assert_eq!(parse("printMsg", &["-t", "T", "-b", "-1"]).unwrap().get("beginTimestamp"), Some("-1"));
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (command, arguments, why) in [
            ("topicRoute", &[][..], "missing: -t"),
            ("topicRoute", &["-t"], "-t needs a value: TOPIC"),
            ("topicRoute", &["-t", "-l"], "-t needs a value: TOPIC"),
            ("topicRoute", &["-t", "T", "-x"], "-x is not a flag of topicRoute"),
            ("topicRoute", &["-t", "T", "x"], "\"x\" is not a flag, and no flag before it takes a value"),
            ("topicRoute", &["-t", "T", "--list=yes"], "-l takes no value"),
            ("updateTopic", &["-t", "T"], "missing: one of -b, -c"),
            ("updateTopic", &[], "missing: one of -b, -c; -t"),
            ("updateTopic", &["-t", "T", "-b", "x", "-c", "y"], "only one of -b, -c may be given"),
            (
                "updateSubGroup",
                &["--consume", "x"],
                "--consume is ambiguous: --consumeEnable, --consumeFromMinEnable, --consumeBroadcastEnable, --consumeMessageOrderly",
            ),
        ] {
            assert_eq!(parse(command, arguments).unwrap_err(), why, "{command} {arguments:?}");
        }
        assert!(parse("topicRoute", &["-h"]).unwrap().has("help"), "help needs no flags");
        let args = parse("sendMessage", &["-t", "T", "-p", "b", "-i", "x"]).unwrap();
        assert_eq!(
            args.number::<i32>("qid").unwrap_err().to_string(),
            "--qid \"x\" is not a number that fits here"
        );
        assert!(parse("topicList", &["--output", "xml"]).unwrap().wants_json().is_err());
    }
}
