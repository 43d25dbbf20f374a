use std::sync::Arc;

use periplus_core::corefile::{Diagnostic, Diagnostics, Line, only_once, shown, unknown_property};
use periplus_core::plugin::Plugin;
use periplus_core::setup::Setup;
use regex::Regex;

use super::consolidate::{Consolidation, Counted, Level, Pattern};
use super::handler::{Errors, Shared};
use super::summary::summarize;

/// The longest regular expression, in bytes: CoreDNS's bound.
const MAX_REGEX: usize = 10_000;

/// Reads `errors [stdout] { stacktrace; consolidate DURATION REGEXP [LEVEL] [show_first]; every }`.
pub fn setup(setup: &mut Setup<'_>) -> Result<Option<Arc<dyn Plugin>>, Diagnostics> {
    let directive = only_once(setup.directives)?;
    let mut errors = Diagnostics::new();
    let mut words = directive.words();
    if let Some(word) = words.next()
        && word.text != "stdout"
    {
        let error = word.error(format!("invalid log file: {}", shown(&word.text)));
        errors.push(error.with_help("errors are written to standard output only"));
    }
    errors.take(words.end());
    let mut patterns = Vec::new();
    let mut every = false;
    for line in directive.lines() {
        match line.name.text.as_str() {
            // A recovered panic is always logged with its place.
            "stacktrace" => {
                errors.take(line.no_arguments());
            }
            "consolidate" => patterns.extend(errors.take(consolidate(line))),
            "every" => every |= errors.take(line.no_arguments()).is_some(),
            _ => errors.push(unknown_property(&line.name, &["consolidate", "every", "stacktrace"])),
        }
    }
    let shared = Arc::new(Shared {
        consolidation: Consolidation::new(patterns),
        output: Arc::clone(&setup.instance.output),
        every,
    });
    if !shared.consolidation.is_empty() {
        let shared = Arc::clone(&shared);
        setup.instance.spawn("errors", move |stop| summarize(shared, stop));
    }
    errors.into_result(Some(Arc::new(Errors(shared)) as Arc<dyn Plugin>))
}

fn consolidate(line: &Line) -> Result<Pattern, Diagnostic> {
    let mut words = line.words();
    let period = words.duration("a duration", ..)?;
    let word = words.required("a regular expression")?;
    if word.text.len() > MAX_REGEX {
        let length = word.text.len();
        return Err(word.error(format!("regex pattern too long: {length} > {MAX_REGEX}")));
    }
    let regex = Regex::new(&word.text)
        .map_err(|error| word.error(format!("invalid regular expression: {}", reason(&error))))?;
    let mut level = None;
    let mut show_first = false;
    while let Some(word) = words.next() {
        let given = match word.text.as_str() {
            "show_first" if show_first => return Err(word.error("show_first is given twice")),
            "show_first" => {
                show_first = true;
                continue;
            }
            "debug" => Level::Debug,
            "info" => Level::Info,
            "warning" => Level::Warning,
            "error" => Level::Error,
            other => {
                return Err(word
                    .error(format!("unknown option in consolidate: {}", shown(other)))
                    .with_note("allowed here: warning, error, info, debug, then show_first"));
            }
        };
        if level.is_some() {
            return Err(word.error("multiple log levels specified in consolidate"));
        }
        if show_first {
            return Err(word.error("log level must come before show_first in consolidate"));
        }
        level = Some(given);
    }
    line.no_body()?;
    let level = level.unwrap_or(Level::Error);
    Ok(Pattern { period, regex, level, show_first, counted: Counted::default() })
}

/// The last line of the error, which says what is wrong; those before it draw the expression.
fn reason(error: &regex::Error) -> String {
    let text = error.to_string();
    let last = text.lines().next_back().unwrap_or_default();
    last.strip_prefix("error: ").unwrap_or(last).to_owned()
}
