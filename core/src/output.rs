//! Lines for standard output that never make an answer wait.
//!
//! Whoever has a line appends it to the buffer of its thread; one writer thread collects the buffers and writes them. When the
//! reader of standard output is slow or gone, lines are dropped and counted, never waited for.

use std::cell::Cell;
use std::fmt::Write as _;
use std::io::Write;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// Bytes that one buffer holds before lines are dropped.
const BUFFER_LIMIT: usize = 256 * 1024;
/// Threads share buffers beyond this many.
const BUFFERS: usize = 16;
/// How long the writer lets lines gather after it was woken: long enough to write many at once, too short for an eye.
const GATHER: Duration = Duration::from_millis(5);

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
}

thread_local! {
    static BUFFER: Cell<usize> = const { Cell::new(usize::MAX) };
}

impl Output {
    /// Starts the writer thread on a sink.
    pub fn new(sink: impl Write + Send + 'static) -> Arc<Output> {
        let shared = Arc::new(Shared {
            buffers: Default::default(),
            pending: AtomicBool::new(false),
            stop: AtomicBool::new(false),
            bell: Default::default(),
            dropped: AtomicU64::new(0),
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
        if !self.shared.pending.swap(true, Ordering::AcqRel) {
            self.shared.ring();
        }
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

    fn write_all_to(&self, mut sink: impl Write) {
        let mut told = 0;
        loop {
            {
                let mut guard = lock(&self.bell.0);
                while !self.pending.load(Ordering::Acquire) && !self.stop.load(Ordering::Acquire) {
                    guard = self.bell.1.wait(guard).unwrap_or_else(PoisonError::into_inner);
                }
            }
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

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
