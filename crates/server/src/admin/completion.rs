//! Completion of command lines for shells: scripts made from clap's commands and the table of this tool, that ask nothing when
//! they run.

use super::flags::{Flag, Usage, flags};
use super::table;
use clap::CommandFactory;
use std::fmt::Write;

const SHELLS: [&str; 3] = ["bash", "zsh", "fish"];

pub(super) fn usage() -> Usage {
    Usage(format!("which shell? kerolox admin completion {}", SHELLS.join("|")))
}

/// The script for a shell.
///
/// # Errors
/// [`Usage`]: there is none for it.
pub(super) fn script(shell: &str) -> Result<String, Usage> {
    match shell {
        "bash" => Ok(bash()),
        "zsh" => Ok(zsh()),
        "fish" => Ok(fish()),
        _ => Err(usage()),
    }
}

/// A word that is offered.
#[derive(Debug, Default)]
struct Offer {
    /// `-t` and `--topic`, or the name of a command.
    names: Vec<String>,
    help: String,
    /// A value follows it.
    takes_value: bool,
}

impl Offer {
    fn command(name: &str, help: impl ToString) -> Self {
        Self { names: vec![name.to_owned()], help: help.to_string(), takes_value: false }
    }

    fn flag(flag: &Flag) -> Self {
        let short = (!flag.short.is_empty()).then(|| format!("-{}", flag.short));
        // Shells offer words: a name with a space in it is none.
        let long = (!flag.long.contains(' ')).then(|| format!("--{}", flag.long));
        let names = short.into_iter().chain(long).collect();
        Self { names, help: flag.help.to_owned(), takes_value: !flag.value.is_empty() }
    }
}

/// What is offered behind some words.
#[derive(Debug)]
struct Place {
    behind: String,
    offers: Vec<Offer>,
    /// It is offered behind further words, too: there are no commands in it.
    is_leaf: bool,
}

/// All places, the root first.
fn places() -> Vec<Place> {
    let mut all = Vec::new();
    of_clap(&crate::cli::Cli::command(), "", &mut all);
    let commands =
        || table::all().map(|command| Offer::command(command.name, command.summary)).collect::<Vec<_>>();
    let mut offers = commands();
    offers.push(Offer::command("help", "Tell about a command"));
    offers.push(Offer::command("completion", "Print a script that completes command lines"));
    all.push(Place { behind: "admin".to_owned(), offers, is_leaf: false });
    all.push(Place { behind: "admin help".to_owned(), offers: commands(), is_leaf: false });
    let shells = SHELLS.map(|shell| Offer::command(shell, "")).into();
    all.push(Place { behind: "admin completion".to_owned(), offers: shells, is_leaf: false });
    all.extend(table::all().map(|command| Place {
        behind: format!("admin {}", command.name),
        offers: flags(command).map(Offer::flag).collect(),
        is_leaf: true,
    }));
    all
}

fn of_clap(command: &clap::Command, behind: &str, all: &mut Vec<Place>) {
    let first_line = |help: Option<&clap::builder::StyledStr>| {
        help.map(|help| help.to_string().lines().next().unwrap_or_default().to_owned()).unwrap_or_default()
    };
    let mut offers: Vec<_> = command
        .get_subcommands()
        .map(|inner| Offer::command(inner.get_name(), first_line(inner.get_about())))
        .collect();
    let is_leaf = offers.is_empty();
    offers.extend(command.get_opts().map(|flag| {
        Offer {
            names: (flag.get_short().map(|short| format!("-{short}")).into_iter())
                .chain(flag.get_long().map(|long| format!("--{long}")))
                .collect(),
            help: first_line(flag.get_help()),
            takes_value: flag.get_action().takes_values(),
        }
    }));
    offers.push(Offer { names: vec!["--help".to_owned()], ..Offer::default() });
    all.push(Place { behind: behind.to_owned(), offers, is_leaf });
    for inner in command.get_subcommands().filter(|inner| inner.get_name() != "admin") {
        of_clap(inner, format!("{behind} {}", inner.get_name()).trim_start(), all);
    }
}

/// The body of a `case` over the words before, in the language that bash and zsh share.
fn cases() -> String {
    let mut out = String::new();
    for Place { behind, offers, is_leaf } in places() {
        let names = |offers: &mut dyn Iterator<Item = &Offer>| {
            offers.flat_map(|offer| offer.names.clone()).collect::<Vec<_>>().join(" ")
        };
        let (all, taking) = (names(&mut offers.iter()), names(&mut offers.iter().filter(|o| o.takes_value)));
        let pattern = match (behind.as_str(), is_leaf) {
            ("", _) => "\" \"|-*".to_owned(),
            (_, true) => format!("\"{behind} \"*"),
            (_, false) => format!("\"{behind} \""),
        };
        // holds because writing to a string cannot fail
        let _ = writeln!(out, "    {pattern}) offered=\"{all}\" taking=\" {taking} \" ;;");
    }
    out
}

fn bash() -> String {
    format!(
        "# bash completion of kerolox: source <(kerolox admin completion bash)\n\
         _kerolox() {{\n\
         \x20 local word=\"${{COMP_WORDS[COMP_CWORD]}}\" previous=\"${{COMP_WORDS[COMP_CWORD-1]}}\" offered=\"\" taking=\"\"\n\
         \x20 case \"${{COMP_WORDS[*]:1:COMP_CWORD-1}} \" in\n{cases}\
         \x20 esac\n\
         \x20 if [ \"$previous\" = --output ]; then\n\
         \x20   offered=\"table json\"\n\
         \x20 elif [[ \"$taking\" == *\" $previous \"* ]]; then\n\
         \x20   offered=\"\"\n\
         \x20 fi\n\
         \x20 COMPREPLY=($(compgen -W \"$offered\" -- \"$word\"))\n\
         }}\n\
         complete -o default -F _kerolox kerolox\n",
        cases = cases(),
    )
}

fn zsh() -> String {
    format!(
        "#compdef kerolox\n\
         # zsh completion of kerolox: source <(kerolox admin completion zsh)\n\
         _kerolox() {{\n\
         \x20 local previous=\"${{words[CURRENT-1]}}\" offered=\"\" taking=\"\"\n\
         \x20 case \"${{(j: :)words[2,CURRENT-1]}} \" in\n{cases}\
         \x20 esac\n\
         \x20 if [[ \"$previous\" == --output ]]; then\n\
         \x20   offered=\"table json\"\n\
         \x20 elif [[ \"$taking\" == *\" $previous \"* ]]; then\n\
         \x20   offered=\"\"\n\
         \x20 fi\n\
         \x20 if [[ -n \"$offered\" ]]; then compadd -- ${{=offered}}; else _files; fi\n\
         }}\n\
         compdef _kerolox kerolox\n",
        cases = cases(),
    )
}

fn fish() -> String {
    let mut out = String::from(
        "# fish completion of kerolox: kerolox admin completion fish | source\n\
         function __kerolox_behind\n\
         \x20   set -l before (commandline -opc)\n\
         \x20   set -e before[1]\n\
         \x20   string match -qr -- $argv[1] \"$before \"\n\
         end\n",
    );
    for Place { behind, offers, is_leaf } in places() {
        let pattern = match (behind.as_str(), is_leaf) {
            ("", _) => "^( |-)".to_owned(),
            (_, true) => format!("^{behind} "),
            (_, false) => format!("^{behind} \\$"),
        };
        let complete = format!("complete -c kerolox -n '__kerolox_behind \"{pattern}\"'");
        let _ = writeln!(out, "{complete} -f");
        for offer in &offers {
            let _ = writeln!(out, "{complete}{} -d {}", fish_words(offer), quoted(&offer.help));
        }
    }
    out
}

/// A word in the arguments of fish's `complete`.
fn fish_words(offer: &Offer) -> String {
    let mut out = String::new();
    for name in &offer.names {
        let _ = match (name.strip_prefix("--"), name.strip_prefix('-')) {
            (Some(long), _) => write!(out, " -l {long}"),
            // What fish calls an old option: one dash and more than one letter.
            (None, Some(short)) => write!(out, " -{} {short}", if short.len() == 1 { 's' } else { 'o' }),
            (None, None) => write!(out, " -a {name}"),
        };
    }
    if offer.names.iter().any(|name| name == "--output") {
        out.push_str(" -xa 'table json'");
    } else if offer.takes_value {
        out.push_str(" -rF");
    }
    out
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_and_flag_is_offered() {
        let all = places();
        let offered = |behind: &str| -> Vec<&str> {
            let place = all.iter().find(|place| place.behind == behind).unwrap();
            place.offers.iter().flat_map(|offer| &offer.names).map(String::as_str).collect()
        };
        assert!(["broker", "admin", "--data", "-c", "--help"].iter().all(|name| offered("").contains(name)));
        assert!(offered("broker").contains(&"--namesrv") && offered("store verify").contains(&"--data"));
        for command in ["verify", "stat", "dump", "repair"] {
            assert!(offered("store").contains(&command));
            assert!(["--output", "--quiet"].iter().all(|f| offered(&format!("store {command}")).contains(f)));
        }
        assert!(offered("store repair").contains(&"--yes") && offered("store dump").contains(&"--body"));
        assert_eq!(offered("admin").len(), table::all().count() + 2);
        let globals = super::super::flags::GLOBAL.iter().flat_map(|flag| Offer::flag(flag).names);
        let flags: Vec<_> =
            ["-t", "--topic", "-l", "--list"].map(str::to_owned).into_iter().chain(globals).collect();
        assert_eq!(offered("admin topicRoute"), flags);
        assert!(!offered("admin printMsgByQueue").contains(&"--print msg"), "it would be two words");
    }
}
