//! How far a look has come: a bar on a terminal, a line a second on one that cannot draw, and nothing where nobody watches.

use crate::report;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use kerolox_store::Progress;
use std::io::IsTerminal;
use std::time::{Duration, Instant};

/// How often a line is printed.
const LINE_EVERY: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(super) enum Shown {
    Nowhere,
    Lines { last: Instant },
    Bar(ProgressBar),
}

impl Shown {
    pub(super) fn new(quiet: bool) -> Self {
        let can_draw = std::env::var_os("TERM").is_some_and(|term| !term.is_empty() && term != "dumb");
        match (quiet || !std::io::stderr().is_terminal(), can_draw) {
            (true, _) => Self::Nowhere,
            (false, false) => Self::Lines { last: Instant::now() },
            (false, true) => {
                let bar = ProgressBar::with_draw_target(Some(1), ProgressDrawTarget::stderr());
                // A template is not valid only if it is written so; then the bar looks as it does by default.
                if let Ok(style) = ProgressStyle::with_template("{msg} [{bar:40}] {percent} %, {eta} left") {
                    bar.set_style(style.progress_chars("=> "));
                }
                Self::Bar(bar)
            }
        }
    }

    pub(super) fn tell(&mut self, progress: Progress) {
        let Progress { step, done, total } = progress;
        match self {
            Self::Nowhere => {}
            Self::Lines { last } if last.elapsed() < LINE_EVERY => {}
            Self::Lines { last } => {
                *last = Instant::now();
                report::line(&format!("{step}: {done} of {total}"));
            }
            Self::Bar(bar) => {
                bar.set_message(step);
                bar.set_length(total.max(1));
                bar.set_position(done);
            }
        }
    }
}

impl Drop for Shown {
    fn drop(&mut self) {
        if let Self::Bar(bar) = self {
            bar.finish_and_clear();
        }
    }
}
