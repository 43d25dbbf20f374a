//! Programs beside the tests: etcd, kube-apiserver, CoreDNS, Periplus as a process of its own.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// A process that ends when this value is dropped, or when the test process is killed.
pub struct Process {
    child: Child,
    /// Waits for the end of its standard input, which this process holds, and ends the child then.
    guard: Option<Child>,
    log: PathBuf,
}

impl Process {
    /// Starts a command; what it says goes to a file.
    pub fn start(command: &mut Command, log: &Path) -> Process {
        let file = File::create(log).expect("a log file can be made");
        let child = command
            .stdin(Stdio::null())
            .stdout(file.try_clone().expect("a file handle can be copied"))
            .stderr(file)
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}", command.get_program().to_string_lossy()));
        let guard = Command::new("sh")
            .args(["-c", "cat; kill -9 \"$0\"", &child.id().to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .ok();
        Process { child, guard, log: log.to_owned() }
    }

    /// Whether it has not ended by itself.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Its number.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends it a signal: `STOP`, `CONT`.
    pub fn signal(&self, name: &str) {
        let number = self.id().to_string();
        let sent = Command::new("kill").arg(format!("-{name}")).arg(number).status();
        assert!(sent.is_ok_and(|status| status.success()), "kill -{name}");
    }

    /// All that it said.
    pub fn said(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// The end of what it said.
    pub fn last_words(&self) -> String {
        let text = self.said();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(30)..].join("\n")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // The guard first: it must not end another process that has got the number since.
        if let Some(guard) = &mut self.guard {
            let _ = guard.kill();
            let _ = guard.wait();
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The names of a process's threads, on Linux.
pub fn threads(id: u32) -> Vec<String> {
    let tasks = std::fs::read_dir(format!("/proc/{id}/task")).expect("the process runs");
    // One that has ended meanwhile has no name.
    let name = |task: std::io::Result<std::fs::DirEntry>| {
        std::fs::read_to_string(task.ok()?.path().join("comm")).ok()
    };
    tasks.filter_map(name).map(|name| name.trim_end().to_owned()).collect()
}
