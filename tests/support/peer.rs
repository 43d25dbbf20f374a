//! A DNS server as a process of its own: CoreDNS, or the Periplus binary.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use super::client::{question, udp_within};
use super::process::Process;
use super::server::{fill_in, free_port};
use super::skip::skipped;

/// How long it may take to start and to read the cluster.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running server process.
pub struct Peer {
    pub name: String,
    pub address: SocketAddr,
    process: Process,
    directory: tempfile::TempDir,
}

impl Peer {
    /// Starts a binary that takes CoreDNS's flags. `PORT`, `DIR` and `HTTP0` to `HTTP9` in the Corefile are filled in; `files` are put
    /// into the directory.
    pub fn start(binary: &Path, corefile: &str, files: &[(&str, &str)]) -> Peer {
        let directory = tempfile::tempdir().expect("a temporary directory can be made");
        for (name, content) in files {
            std::fs::write(directory.path().join(name), content).expect("a file can be written");
        }
        let port = free_port();
        let path = directory.path().join("Corefile");
        let text = fill_in(corefile, port, &directory.path().to_string_lossy());
        std::fs::write(&path, text).expect("the Corefile can be written");
        let log = directory.path().join("log");
        let process = Process::start(Command::new(binary).arg("-conf").arg(path), &log);
        let name =
            binary.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        Peer { name, address, process, directory }
    }

    /// All that it said.
    pub fn said(&self) -> String {
        self.process.said()
    }

    /// The end of what it said.
    pub fn last_words(&self) -> String {
        self.process.last_words()
    }

    /// The process's number.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// Whether it has not ended by itself.
    pub fn is_running(&mut self) -> bool {
        self.process.is_running()
    }

    /// Sends it a signal: `TERM`.
    pub fn signal(&self, name: &str) {
        self.process.signal(name);
    }

    /// Writes another Corefile over it; `PORT` and `DIR` are filled in as at the start.
    pub fn write_corefile(&self, text: &str) {
        let directory = self.directory.path();
        let text = fill_in(text, self.address.port(), &directory.to_string_lossy());
        std::fs::write(directory.join("Corefile"), text).expect("the Corefile can be written");
    }

    /// Waits until a question that only a synced cluster can answer gets one of these RCODEs.
    pub fn wait_for(&mut self, name: &str, rcodes: &[u8]) {
        let begun = Instant::now();
        loop {
            let answer =
                udp_within(self.address, &question(1, name, 1, None), Duration::from_secs(1));
            if answer.is_some_and(|answer| rcodes.contains(&(answer[3] & 15))) {
                return;
            }
            assert!(
                self.process.is_running(),
                "{} ended:\n{}",
                self.name,
                self.process.last_words()
            );
            assert!(
                begun.elapsed() < PATIENCE,
                "{} is not ready:\n{}",
                self.name,
                self.process.last_words()
            );
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

/// The CoreDNS binary that `COREDNS_BIN` names, or `None` after saying that the test is skipped.
pub fn coredns(test: &str) -> Option<PathBuf> {
    match std::env::var_os("COREDNS_BIN").map(PathBuf::from) {
        Some(path) if path.is_file() => Some(path),
        Some(path) => panic!("COREDNS_BIN names {}, which is no file", path.display()),
        None => {
            skipped(&format!("{test}: COREDNS_BIN names no CoreDNS binary"));
            None
        }
    }
}
