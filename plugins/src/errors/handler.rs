use std::sync::Arc;

use periplus_core::output::Output;
use periplus_core::plugin::Filter;
use periplus_core::query::Query;
use periplus_core::reply::Answer;
use periplus_core::server::Server;

use super::consolidate::{Consolidation, Level};

/// Logs the causes of failures that pass through it.
pub(super) struct Errors(pub(super) Arc<Shared>);

pub(super) struct Shared {
    pub(super) consolidation: Consolidation,
    pub(super) output: Arc<Output>,
}

impl Filter for Errors {
    fn name(&self) -> &'static str {
        "errors"
    }

    fn filter(&self, _: &Server, query: &Query, answer: &mut Answer) {
        self.0.log(query, answer);
    }
}

impl Shared {
    fn log(&self, query: &Query, answer: &Answer) {
        let (Some(cause), Some(rcode)) = (answer.cause(), answer.rcode()) else { return };
        let Some(level) = self.consolidation.level_now(&cause.text) else { return };
        self.line(
            level,
            format_args!("{} {} {}: {}", rcode.0, query.name(), query.qtype, OneLine(&cause.text)),
        );
    }

    /// Writes a line, if its level is wanted.
    pub(super) fn line(&self, level: Level, text: std::fmt::Arguments<'_>) {
        use std::fmt::Write as _;
        if level.is_enabled() {
            self.output.line(|buffer| {
                // Writing to a String cannot fail.
                let _ = write!(buffer, "{} plugin/errors: {text}", level.prefix());
            });
        }
    }
}

/// A text that cannot make a line of its own in the log: causes may quote what came from the network.
struct OneLine<'a>(&'a str);

impl std::fmt::Display for OneLine<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for piece in self.0.split_inclusive(char::is_control) {
            let control = piece.chars().next_back().filter(|last| last.is_control());
            f.write_str(&piece[..piece.len() - control.map_or(0, char::len_utf8)])?;
            if let Some(control) = control {
                write!(f, "{}", control.escape_default())?;
            }
        }
        Ok(())
    }
}
