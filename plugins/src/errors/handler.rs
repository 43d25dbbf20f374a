use std::sync::Arc;

use periplus_core::output::{OneLine, Output};
use periplus_core::plugin::Filter;
use periplus_core::query::Query;
use periplus_core::reply::Answer;
use periplus_core::server::Server;

use super::consolidate::{Consolidation, Level, Told};

/// Logs the causes of failures that pass through it.
pub(super) struct Errors(pub(super) Arc<Shared>);

pub(super) struct Shared {
    pub(super) consolidation: Consolidation,
    pub(super) output: Arc<Output>,
    /// `every`: errors alike are not counted instead of written.
    pub(super) every: bool,
}

/// What a line of an error begins with.
const ERROR: &str = "[ERROR] plugin/errors: ";

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
        let (name, qtype, text) = (query.name(), query.qtype, OneLine(&cause.text));
        let line = format_args!("{} {name} {qtype}: {text}", rcode.0);
        match self.consolidation.told(&cause.text) {
            Told::Later => {}
            Told::Now(level) => self.line(level, line),
            Told::AsOthers if self.every => self.line(Level::Error, line),
            Told::AsOthers => self.output.limited(ERROR, &cause.text, |buffer| {
                use std::fmt::Write as _;
                // Writing to a String cannot fail.
                let _ = write!(buffer, "{ERROR}{line}");
            }),
        }
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
