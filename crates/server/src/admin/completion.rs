//! Completion of `kerolox admin` for shells: scripts made from the table, that ask nothing when they run.

use super::flags::{Flag, Usage, flags};
use super::table::{self, Command};
use std::fmt::Write;

/// The program's own commands.
const TOP: &str = "standalone namesrv broker store bench admin";

pub(super) fn usage() -> Usage {
    Usage("which shell? kerolox admin completion bash|zsh|fish".to_owned())
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

fn names() -> String {
    let names: Vec<_> = table::all().map(|command| command.name).chain(["help", "completion"]).collect();
    names.join(" ")
}

fn written(flag: &Flag) -> String {
    let long = format!("--{}", flag.long.replace(' ', "\\ "));
    if flag.short.is_empty() { long } else { format!("-{} {long}", flag.short) }
}

/// The body of a `case` over the commands: what to offer behind each.
fn cases(indent: &str, variable: &str) -> String {
    let mut out = String::new();
    for command in table::all() {
        let all: Vec<_> = flags(command).map(written).collect();
        let _ = writeln!(out, "{indent}{}) {variable}=\"{}\" ;;", command.name, all.join(" "));
    }
    let _ = writeln!(out, "{indent}help) {variable}=\"$commands\" ;;");
    let _ = writeln!(out, "{indent}completion) {variable}=\"bash zsh fish\" ;;");
    out
}

fn bash() -> String {
    format!(
        "# bash completion of kerolox admin: source <(kerolox admin completion bash)\n\
         _kerolox() {{\n\
         \x20 local commands=\"{names}\" words=\"\" word=\"${{COMP_WORDS[COMP_CWORD]}}\"\n\
         \x20 if [ \"$COMP_CWORD\" -eq 1 ]; then\n\
         \x20   words=\"{top}\"\n\
         \x20 elif [ \"${{COMP_WORDS[1]}}\" = admin ] && [ \"$COMP_CWORD\" -eq 2 ]; then\n\
         \x20   words=\"$commands\"\n\
         \x20 elif [ \"${{COMP_WORDS[1]}}\" = admin ]; then\n\
         \x20   case \"${{COMP_WORDS[2]}}\" in\n{cases}\
         \x20   esac\n\
         \x20 fi\n\
         \x20 COMPREPLY=($(compgen -W \"$words\" -- \"$word\"))\n\
         }}\n\
         complete -o default -F _kerolox kerolox\n",
        names = names(),
        cases = cases("      ", "words"),
        top = TOP,
    )
}

fn zsh() -> String {
    format!(
        "#compdef kerolox\n\
         # zsh completion of kerolox admin: source <(kerolox admin completion zsh)\n\
         _kerolox() {{\n\
         \x20 local commands=\"{names}\" offered=\"\"\n\
         \x20 if (( CURRENT == 2 )); then\n\
         \x20   offered=\"{top}\"\n\
         \x20 elif [[ $words[2] == admin ]] && (( CURRENT == 3 )); then\n\
         \x20   offered=\"$commands\"\n\
         \x20 elif [[ $words[2] == admin ]]; then\n\
         \x20   case $words[3] in\n{cases}\
         \x20   esac\n\
         \x20 fi\n\
         \x20 compadd -- ${{=offered}}\n\
         }}\n\
         compdef _kerolox kerolox\n",
        names = names(),
        top = TOP,
        cases = cases("      ", "offered"),
    )
}

fn fish() -> String {
    let mut out = format!(
        "# fish completion of kerolox admin: kerolox admin completion fish | source\n\
         complete -c kerolox -f -n __fish_use_subcommand -a '{TOP}'\n",
    );
    let _ = writeln!(
        out,
        "set -l kerolox_commands {}\n\
         set -l kerolox_open '__fish_seen_subcommand_from admin; and not __fish_seen_subcommand_from '\"$kerolox_commands\"",
        names()
    );
    for command in table::all() {
        let _ = writeln!(
            out,
            "complete -c kerolox -f -n $kerolox_open -a {} -d {}",
            command.name,
            quoted(command.summary)
        );
        for flag in flags(command) {
            let _ = writeln!(out, "{}", fish_flag(command, flag));
        }
    }
    out
}

fn fish_flag(command: &Command, flag: &Flag) -> String {
    let mut line = format!("complete -c kerolox -n '__fish_seen_subcommand_from {}'", command.name);
    if !flag.short.is_empty() {
        // What fish calls an old option: one dash and more than one letter.
        let _ = write!(line, " -{} {}", if flag.short.len() == 1 { 's' } else { 'o' }, flag.short);
    }
    if !flag.long.contains(' ') {
        let _ = write!(line, " -l {}", flag.long);
    }
    if !flag.value.is_empty() {
        line.push_str(" -r");
    }
    let _ = write!(line, " -d {}", quoted(flag.help));
    line
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"))
}
