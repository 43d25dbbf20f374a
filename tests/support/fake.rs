//! An upstream over UDP that does with each question what a test says, and remembers what it was asked.

use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How often its thread looks whether the test is over.
const TICK: Duration = Duration::from_millis(50);

/// What comes back for a request.
pub type Script = dyn Fn(&[u8], SocketAddr) -> Vec<Vec<u8>> + Send + Sync;

/// A running upstream; it stops when it is dropped.
pub struct Fake {
    pub address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    script: Mutex<Arc<Script>>,
    asked: Mutex<Vec<Asked>>,
    stop: AtomicBool,
}

/// A request that arrived.
#[derive(Clone, Debug)]
pub struct Asked {
    pub id: u16,
    pub port: u16,
    /// QNAME in wire form.
    pub name: Vec<u8>,
    pub qtype: u16,
}

impl Fake {
    /// Starts on a free port.
    pub fn start(
        script: impl Fn(&[u8], SocketAddr) -> Vec<Vec<u8>> + Send + Sync + 'static,
    ) -> Fake {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a loopback socket");
        socket.set_read_timeout(Some(TICK)).expect("a time-out can be set");
        let address = socket.local_addr().expect("a bound socket has an address");
        let shared = Arc::new(Shared {
            script: Mutex::new(Arc::new(script)),
            asked: Mutex::default(),
            stop: AtomicBool::new(false),
        });
        let own = Arc::clone(&shared);
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while !own.stop.load(Ordering::Relaxed) {
                let Ok((length, from)) = socket.recv_from(&mut buffer) else { continue };
                let request = &buffer[..length];
                lock(&own.asked).extend(Asked::read(request, from));
                let script = Arc::clone(&lock(&own.script));
                for answer in script(request, from) {
                    let _ = socket.send_to(&answer, from);
                }
            }
        });
        Fake { address, shared }
    }

    /// One that answers.
    pub fn answering() -> Fake {
        Fake::start(answers)
    }

    /// Changes what it does from now on.
    pub fn becomes(
        &self,
        script: impl Fn(&[u8], SocketAddr) -> Vec<Vec<u8>> + Send + Sync + 'static,
    ) {
        *lock(&self.shared.script) = Arc::new(script);
    }

    /// What it was asked since this was called last.
    pub fn asked(&self) -> Vec<Asked> {
        std::mem::take(&mut lock(&self.shared.asked))
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
    }
}

impl Asked {
    fn read(request: &[u8], from: SocketAddr) -> Option<Asked> {
        let end = question_end(request)?;
        let id = u16::from_be_bytes([request[0], request[1]]);
        let qtype = u16::from_be_bytes([request[end - 4], request[end - 3]]);
        Some(Asked { id, port: from.port(), name: request[12..end - 4].to_vec(), qtype })
    }
}

/// Where the question ends.
pub fn question_end(message: &[u8]) -> Option<usize> {
    let mut at = 12;
    loop {
        match usize::from(*message.get(at)?) {
            0 => return (at + 5 <= message.len()).then_some(at + 5),
            length => at += 1 + length,
        }
    }
}

/// The address 192.0.2.1 for whatever is asked.
pub fn answers(request: &[u8], _from: SocketAddr) -> Vec<Vec<u8>> {
    let Some(end) = question_end(request) else { return Vec::new() };
    let record = [0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 1];
    let mut answer = [&request[..end], &record].concat();
    answer[2] |= 0x80;
    answer[4..12].copy_from_slice(&[0, 1, 0, 1, 0, 0, 0, 0]);
    vec![answer]
}

/// SERVFAIL.
pub fn fails(request: &[u8], _from: SocketAddr) -> Vec<Vec<u8>> {
    let Some(end) = question_end(request) else { return Vec::new() };
    let mut answer = request[..end].to_vec();
    answer[2] |= 0x80;
    answer[3] = 2;
    answer[4..12].copy_from_slice(&[0, 1, 0, 0, 0, 0, 0, 0]);
    vec![answer]
}

/// Nothing.
pub fn says_nothing(_request: &[u8], _from: SocketAddr) -> Vec<Vec<u8>> {
    Vec::new()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
