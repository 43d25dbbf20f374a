//! A wire between a client and a server that a test can cut.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::server::free_port;

/// Passes on connections until it is cut.
pub struct Relay {
    pub port: u16,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    cut: AtomicBool,
    /// How long a new connection waits until it is passed on, in milliseconds.
    pause: AtomicU64,
    /// How many connections there were, and which of them pass nothing any more: those before this number.
    connections: AtomicU64,
    frozen: Arc<AtomicU64>,
    open: Mutex<Vec<TcpStream>>,
}

impl Relay {
    /// Passes connections to a port of its own on to `target`.
    pub fn to(target: SocketAddr) -> Relay {
        let port = free_port();
        let listener = TcpListener::bind(("127.0.0.1", port)).expect("the port is free");
        let shared = Arc::new(Shared::default());
        let own = Arc::clone(&shared);
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if Arc::strong_count(&own) == 1 {
                    return;
                }
                // While cut, a connection is closed as soon as it is made.
                if own.cut.load(Ordering::SeqCst) {
                    continue;
                }
                std::thread::sleep(Duration::from_millis(own.pause.load(Ordering::SeqCst)));
                let Ok(server) = TcpStream::connect(target) else { continue };
                let number = own.connections.fetch_add(1, Ordering::SeqCst);
                own.pass(&client, &server, number);
                own.pass(&server, &client, number);
            }
        });
        Relay { port, shared }
    }

    /// Ends all connections, and each new one at once.
    pub fn cut(&self) {
        self.shared.cut.store(true, Ordering::SeqCst);
        for stream in self.shared.open.lock().expect("no thread panics with the list").drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// From now on each new connection waits until it is passed on.
    pub fn slow_down(&self, pause: Duration) {
        let pause = pause.as_millis().try_into().expect("a short pause");
        self.shared.pause.store(pause, Ordering::SeqCst);
    }

    /// The connections of now stay open, and what is sent is acknowledged, but nothing comes out at the other end any more: what a
    /// middlebox does that has forgotten them. New ones are passed on.
    pub fn freeze(&self) {
        self.shared.frozen.store(self.shared.connections.load(Ordering::SeqCst), Ordering::SeqCst);
    }

    /// Passes connections on again.
    pub fn mend(&self) {
        self.shared.cut.store(false, Ordering::SeqCst);
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.cut();
        // The listening thread sees that it is alone at the next connection.
        drop(std::mem::take(&mut self.shared));
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

impl Shared {
    fn pass(&self, from: &TcpStream, to: &TcpStream, number: u64) {
        let (Ok(mut from), Ok(mut to)) = (from.try_clone(), to.try_clone()) else { return };
        if let Ok(copy) = from.try_clone() {
            self.open.lock().expect("no thread panics with the list").push(copy);
        }
        let frozen = Arc::clone(&self.frozen);
        std::thread::spawn(move || {
            let mut buffer = [0; 16 * 1024];
            while let Ok(length @ 1..) = from.read(&mut buffer) {
                if number < frozen.load(Ordering::SeqCst) {
                    continue;
                }
                if to.write_all(&buffer[..length]).is_err() {
                    break;
                }
            }
            let _ = from.shutdown(Shutdown::Both);
            let _ = to.shutdown(Shutdown::Both);
        });
    }
}
