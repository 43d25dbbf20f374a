//! Events for the operator: `tracing` in, CoreDNS's log lines out.
//!
//! `[INFO] plugin/kubernetes: ...` without a timestamp, as log collectors that were fed by CoreDNS expect. Only events of this project's
//! own crates are shown; what its libraries say is for their developers.

use std::fmt::{self, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use periplus_core::output::Output;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

static DEBUG: AtomicBool = AtomicBool::new(false);

/// Sends all events of the process to `output`. Only the first call has an effect.
pub fn install(output: Arc<Output>) {
    let _ = tracing::subscriber::set_global_default(Lines { output });
}

/// Shows or hides debug events (`debug`).
pub fn show_debug(on: bool) {
    DEBUG.store(on, Ordering::Relaxed);
}

struct Lines {
    output: Arc<Output>,
}

impl Subscriber for Lines {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_event() && metadata.target().starts_with("periplus") && {
            *metadata.level() <= Level::INFO
                || *metadata.level() == Level::DEBUG && DEBUG.load(Ordering::Relaxed)
        }
    }

    fn event(&self, event: &Event<'_>) {
        let level = match *event.metadata().level() {
            Level::ERROR => "ERROR",
            Level::WARN => "WARNING",
            Level::INFO => "INFO",
            _ => "DEBUG",
        };
        self.output.line(|line| {
            let _ = write!(line, "[{level}] ");
            event.record(&mut Message(line));
        });
    }

    fn register_callsite(
        &self,
        metadata: &'static Metadata<'static>,
    ) -> tracing::subscriber::Interest {
        // Debug can be switched by a reload, so what depends on it must be asked each time.
        if metadata.is_event() && metadata.target().starts_with("periplus") {
            tracing::subscriber::Interest::sometimes()
        } else {
            tracing::subscriber::Interest::never()
        }
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

/// Writes the message, and other fields as `name=value` behind it. Control characters are escaped: a name from the network must
/// not forge a log line.
struct Message<'a>(&'a mut String);

impl Visit for Message<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let mut text = Escaped(self.0);
        let _ = match field.name() {
            "message" => write!(text, "{value:?}"),
            name => write!(text, " {name}={value:?}"),
        };
    }
}

struct Escaped<'a>(&'a mut String);

impl fmt::Write for Escaped<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for character in text.chars() {
            match character {
                '\n' => self.0.push_str("\\n"),
                other if other.is_control() && other != '\t' => {
                    write!(self.0, "\\x{:02x}", other as u32)?
                }
                other => self.0.push(other),
            }
        }
        Ok(())
    }
}
