use std::fs::File;
use std::io::{self, Read};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwap;
use periplus_core::metrics::{Gauge, Registry};
use tokio::time::{Instant, MissedTickBehavior, interval_at};
use tokio_util::sync::CancellationToken;

use super::entries::{Entries, Rules};
use super::table::Table;

/// The largest file that is read, in bytes: far above the block lists people use.
const MAX_SIZE: u64 = 256 * 1024 * 1024;
/// How many lines that are left out are shown for each load.
const MAX_SHOWN: usize = 5;

/// A hosts file, what is known of it, and the table it feeds.
pub(super) struct HostsFile {
    pub(super) path: PathBuf,
    pub(super) rules: Rules,
    /// TTL of all records, in seconds.
    pub(super) ttl: u32,
    /// The entries of the Corefile.
    pub(super) inline: Entries,
    pub(super) table: Arc<ArcSwap<Table>>,
    pub(super) metrics: Metrics,
    /// Modification time and size of what was loaded.
    pub(super) loaded: Option<(SystemTime, u64)>,
    /// The last attempt failed, and that was said.
    pub(super) failing: bool,
}

/// Metrics of one file.
pub(super) struct Metrics {
    entries: Gauge,
    loaded: Gauge,
}

impl Metrics {
    pub(super) fn new(registry: &Registry, file: &str) -> Metrics {
        Metrics {
            entries: registry.gauge(
                "coredns_hosts_entries",
                "The combined number of entries in hosts and Corefile.",
                &[("hostsfile", file)],
            ),
            loaded: registry.gauge(
                "coredns_hosts_reload_timestamp_seconds",
                "The timestamp of the last reload of hosts file.",
                &[],
            ),
        }
    }
}

impl HostsFile {
    /// Puts the entries of the Corefile in force, and those of the file if it can be read.
    pub(super) fn load_first(&mut self) {
        self.replace_table(&Entries::default());
        self.load_if_changed();
    }

    /// Reads the file if its size or modification time is another one. When that fails, what was read before stays.
    pub(super) fn load_if_changed(&mut self) {
        match self.try_load() {
            Ok(()) => self.failing = false,
            Err(error) if !self.failing => {
                self.failing = true;
                tracing::warn!("plugin/hosts: {}: {error}", self.path.display());
            }
            Err(_) => {}
        }
    }

    fn try_load(&mut self) -> io::Result<()> {
        let file = File::open(&self.path)?;
        // What is seen before reading decides: a change made meanwhile is found the next time.
        let metadata = file.metadata()?;
        let state = (metadata.modified()?, metadata.len());
        if self.loaded == Some(state) {
            return Ok(());
        }
        if metadata.is_dir() {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        let mut bytes = Vec::new();
        file.take(MAX_SIZE + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > MAX_SIZE {
            return Err(io::Error::new(
                io::ErrorKind::FileTooLarge,
                format!("larger than {MAX_SIZE} bytes"),
            ));
        }
        self.take_in(&String::from_utf8_lossy(&bytes));
        self.loaded = Some(state);
        let since_epoch = state.0.duration_since(UNIX_EPOCH).unwrap_or_default();
        self.metrics.loaded.set(since_epoch.as_secs_f64());
        Ok(())
    }

    fn take_in(&mut self, text: &str) {
        let path = self.path.display();
        let mut left_out = 0_usize;
        let entries = Entries::read(text, &self.rules, |line, reason| {
            left_out += 1;
            if left_out <= MAX_SHOWN {
                tracing::warn!(
                    "plugin/hosts: {path}:{line}: left out, the line {}",
                    reason.reason()
                );
            }
        });
        if left_out > MAX_SHOWN {
            tracing::warn!(
                "plugin/hosts: {path}: {} more lines were left out",
                left_out - MAX_SHOWN
            );
        }
        tracing::debug!("plugin/hosts: Parsed hosts file into {} entries", entries.len());
        self.replace_table(&entries);
    }

    fn replace_table(&self, entries: &Entries) {
        self.table.store(Arc::new(Table::merge(&[entries, &self.inline], self.ttl)));
        self.metrics.entries.set((entries.len() + self.inline.len()) as f64);
    }

    /// Looks at the file again and again until the instance stops.
    pub(super) async fn watch(self, interval: Duration, stop: CancellationToken) {
        let mut file = self;
        let mut ticks = interval_at(Instant::now() + interval, interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                () = stop.cancelled() => return,
            }
            let looked = tokio::task::spawn_blocking(move || {
                file.load_if_changed();
                file
            });
            match looked.await {
                Ok(back) => file = back,
                Err(error) => {
                    tracing::error!("plugin/hosts: reloading ended: {error}");
                    return;
                }
            }
        }
    }
}
