//! Events for the operator: `tracing` in, CoreDNS's log lines out.
//!
//! `[INFO] plugin/kubernetes: ...` without a timestamp, as log collectors that were fed by CoreDNS expect. Only events of this project's
//! own crates are shown; what its libraries say is for their developers. Of errors and warnings alike the first few of a minute are shown, and
//! how many more there were.

use std::fmt::{self, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use periplus_core::output::Output;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

static DEBUG: AtomicBool = AtomicBool::new(false);

/// Sends all events of the process to `output`, and bounds what panics write to standard error. Only the first call has an effect on
/// events.
pub fn install(output: Arc<Output>) {
    bound_panics(Arc::clone(&output));
    let _ = tracing::subscriber::set_global_default(Lines { output });
}

/// Shows or hides debug events (`debug`).
pub fn show_debug(on: bool) {
    DEBUG.store(on, Ordering::Relaxed);
}

/// Lets the standard library tell only the first few panics of a minute at the same place: strangers may have found a way to cause one
/// with every query.
fn bound_panics(output: Arc<Output>) {
    let tell = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let place = panic.location().map(|place| format!("panicked at {place}"));
        if output.admits("[ERROR] ", &place.unwrap_or_default()) {
            tell(panic);
        }
    }));
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
        let limited = match *event.metadata().level() {
            Level::ERROR => "[ERROR] ",
            Level::WARN => "[WARNING] ",
            level => {
                let head = if level == Level::INFO { "[INFO] " } else { "[DEBUG] " };
                return self.output.line(|line| {
                    line.push_str(head);
                    event.record(&mut Message(line));
                });
            }
        };
        // Strangers can cause some of these with every query: a panic, a rule that leads nowhere, an API server that refuses.
        let mut text = String::new();
        event.record(&mut Message(&mut text));
        self.output.limited(limited, &text, |line| {
            line.push_str(limited);
            line.push_str(&text);
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

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::Mutex;

    use super::*;

    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn errors_and_warnings_alike_are_bounded_and_other_events_are_not() {
        let sink = Sink::default();
        let output = Output::new(sink.clone());
        tracing::subscriber::with_default(Lines { output: Arc::clone(&output) }, || {
            for index in 0..100_000 {
                tracing::error!(target: "periplus", "Recovered from panic: the index is {index}");
                tracing::warn!(target: "periplus", "too many lookups for n{index}.example.");
            }
            for index in 0..20 {
                tracing::info!(target: "periplus", "event {index}");
            }
        });
        output.close();
        let text = String::from_utf8(sink.0.lock().unwrap().clone()).unwrap();
        let count = |level: &str| text.lines().filter(|line| line.starts_with(level)).count();
        assert_eq!(["[ERROR] ", "[WARNING] ", "[INFO] "].map(count), [9, 9, 20], "{text}");
        assert!(text.contains(
            "[ERROR] 99992 more lines like 'Recovered from panic: the index is 0' in the last minute"
        ));
    }
}
