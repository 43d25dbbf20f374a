//! Lines for standard output that never make an answer wait.
//!
//! Whoever has a line appends it to the buffer of its thread; one writer thread collects the buffers and writes them. When the
//! reader of standard output is slow or gone, lines are dropped and counted, never waited for. Of lines that strangers can cause, and
//! that say the same, only the first few of a minute are written ([`Output::limited`]).

use std::cell::Cell;
use std::fmt::{self, Write as _};
use std::io::Write;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::limit::{Counted, Limiter};

/// Bytes that one buffer holds before lines are dropped.
const BUFFER_LIMIT: usize = 256 * 1024;
/// Threads share buffers beyond this many.
const BUFFERS: usize = 16;
/// How long the writer lets lines gather after it was woken: long enough to write many at once, too short for an eye.
const GATHER: Duration = Duration::from_millis(5);
/// For how long lines alike are counted together.
const MINUTE: Duration = Duration::from_secs(60);

/// The process's standard output, or what stands in for it in tests.
pub struct Output {
    shared: Arc<Shared>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

struct Shared {
    buffers: [Mutex<String>; BUFFERS],
    /// Lines wait to be written, and the writer has been or is being woken.
    pending: AtomicBool,
    stop: AtomicBool,
    bell: (Mutex<()>, Condvar),
    dropped: AtomicU64,
    limiter: Limiter,
    /// A minute, unless a test is in a hurry.
    minute: Duration,
}

thread_local! {
    static BUFFER: Cell<usize> = const { Cell::new(usize::MAX) };
}

impl Output {
    /// Starts the writer thread on a sink.
    pub fn new(sink: impl Write + Send + 'static) -> Arc<Output> {
        Output::with_minute(sink, MINUTE)
    }

    fn with_minute(sink: impl Write + Send + 'static, minute: Duration) -> Arc<Output> {
        let shared = Arc::new(Shared {
            buffers: Default::default(),
            pending: AtomicBool::new(false),
            stop: AtomicBool::new(false),
            bell: Default::default(),
            dropped: AtomicU64::new(0),
            limiter: Limiter::new(),
            minute,
        });
        let writer = std::thread::Builder::new().name("output".into()).spawn({
            let shared = Arc::clone(&shared);
            move || shared.write_all_to(sink)
        });
        Arc::new(Output { shared, writer: Mutex::new(writer.ok()) })
    }

    /// Appends one line; `write` makes its text, without the newline.
    pub fn line(&self, write: impl FnOnce(&mut String)) {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let mut index = BUFFER.get();
        if index >= BUFFERS {
            index = NEXT.fetch_add(1, Ordering::Relaxed) % BUFFERS;
            BUFFER.set(index);
        }
        {
            let mut buffer = lock(&self.shared.buffers[index]);
            if buffer.len() >= BUFFER_LIMIT {
                self.shared.dropped.fetch_add(1, Ordering::Relaxed);
                return;
            }
            write(&mut buffer);
            buffer.push('\n');
        }
        self.wake();
    }

    fn wake(&self) {
        if !self.shared.pending.swap(true, Ordering::AcqRel) {
            self.shared.ring();
        }
    }

    /// Appends one line, unless many were like it in this minute: then it is counted, and one line at the minute's end tells how many there were.
    ///
    /// Lines are alike if head and text are, but for names, numbers and our own ports in the text; `head` begins the line that tells of them.
    pub fn limited(&self, head: &'static str, text: &str, write: impl FnOnce(&mut String)) {
        if self.shared.limiter.admit(head, text) {
            self.line(write);
        }
    }

    /// Whether a line that is written elsewhere is one of the first few alike of this minute. The others are counted as those of
    /// [`Output::limited`] are.
    pub fn admits(&self, head: &'static str, text: &str) -> bool {
        let admitted = self.shared.limiter.admit(head, text);
        if admitted {
            // For the end of the minute.
            self.wake();
        }
        admitted
    }

    /// How many lines were dropped because nobody read fast enough.
    pub fn dropped(&self) -> u64 {
        self.shared.dropped.load(Ordering::Relaxed)
    }

    /// Writes what is buffered and ends the writer; gives up after a second if nobody reads.
    pub fn close(&self) {
        self.shared.stop.store(true, Ordering::Release);
        self.shared.ring();
        if let Some(writer) = lock(&self.writer).take() {
            for _ in 0..100 {
                if writer.is_finished() {
                    let _ = writer.join();
                    return;
                }
                std::thread::sleep(Duration::from_millis(10));
            }
        }
    }
}

impl Shared {
    fn ring(&self) {
        let _guard = lock(&self.bell.0);
        self.bell.1.notify_one();
    }

    /// Waits for lines, for the end, or for a time.
    fn wait(&self, until: Option<Instant>) {
        let mut guard = lock(&self.bell.0);
        while !self.pending.load(Ordering::Acquire) && !self.stop.load(Ordering::Acquire) {
            let Some(until) = until else {
                guard = self.bell.1.wait(guard).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            guard = match self.bell.1.wait_timeout(guard, left) {
                Ok((guard, _)) => guard,
                Err(poisoned) => poisoned.into_inner().0,
            };
        }
    }

    fn write_all_to(&self, mut sink: impl Write) {
        let mut told = 0;
        let mut minute_ends: Option<Instant> = None;
        loop {
            self.wait(minute_ends);
            let stop = self.stop.load(Ordering::Acquire);
            if !stop {
                std::thread::sleep(GATHER);
            }
            self.pending.store(false, Ordering::Release);
            for buffer in &self.buffers {
                let lines = std::mem::take(&mut *lock(buffer));
                // An error means that nobody listens any more; the lines are lost, the server goes on.
                let _ = sink.write_all(lines.as_bytes());
            }
            // Whoever begins a minute wakes this thread, so that this is reached.
            if minute_ends.is_none() && self.limiter.is_running() {
                minute_ends = Some(Instant::now() + self.minute);
            }
            if stop || minute_ends.is_some_and(|end| Instant::now() >= end) {
                minute_ends = None;
                self.limiter.end_minute(|counted| {
                    let _ = sink.write_all(summary(&counted).as_bytes());
                });
            }
            let dropped = self.dropped.load(Ordering::Relaxed);
            if dropped > told {
                let mut line = String::new();
                let _ = writeln!(
                    line,
                    "[WARNING] {} log lines dropped: standard output is too slow",
                    dropped - told
                );
                let _ = sink.write_all(line.as_bytes());
                told = dropped;
            }
            let _ = sink.flush();
            if stop {
                return;
            }
        }
    }
}

/// The line that tells of those that were not written.
fn summary(counted: &Counted<'_>) -> String {
    let Counted { head, count, like, mixed } = counted;
    let kind = if *mixed { "of many kinds, one" } else { "lines" };
    format!("{head}{count} more {kind} like '{}' in the last minute\n", OneLine(like))
}

/// A text that cannot make a line of its own in the log: errors may quote what came from the network.
pub struct OneLine<'a>(pub &'a str);

impl fmt::Display for OneLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
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

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            lock(&self.0).extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    impl Sink {
        fn lines(&self) -> Vec<String> {
            String::from_utf8_lossy(&lock(&self.0)).lines().map(str::to_owned).collect()
        }
    }

    fn ten(output: &Output) {
        for index in 0..10 {
            output.limited("[ERROR] ", "x\ny", |line| _ = write!(line, "{index}"));
        }
    }

    #[test]
    fn the_end_of_a_minute_is_told_without_another_event() {
        let sink = Sink::default();
        let output = Output::with_minute(sink.clone(), Duration::from_secs(2));
        let sum = "[ERROR] 2 more lines like 'x\\ny' in the last minute";
        for minutes in 1..=2 {
            ten(&output);
            let begun = Instant::now();
            while sink.lines().len() < 9 * minutes {
                assert!(begun.elapsed() < Duration::from_secs(60), "{:?}", sink.lines());
                std::thread::sleep(Duration::from_millis(5));
            }
            assert_eq!(sink.lines()[9 * minutes - 1], sum);
            assert_eq!(sink.lines()[9 * (minutes - 1)], "0");
        }
    }

    #[test]
    fn what_was_counted_when_the_process_ends_is_told() {
        let sink = Sink::default();
        let output = Output::new(sink.clone());
        ten(&output);
        output.close();
        assert_eq!(sink.lines().len(), 9);
        assert!(sink.lines()[8].starts_with("[ERROR] 2 more"), "{:?}", sink.lines());
    }
}
