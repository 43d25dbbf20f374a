//! `weighted`: the first address chosen in proportion to weights from a file that is read again when it changes.

use std::collections::HashMap;
use std::fmt;
use std::hash::BuildHasher;
use std::io::{self, Read};
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use periplus_core::name::{Name, NameBuf};
use periplus_core::query::Query;
use periplus_core::record::{self, Entry, Owner, Section};
use smallvec::SmallVec;
use tokio_util::sync::CancellationToken;

use super::order::{bring_to_front, group};

/// The weights in force.
#[derive(Default)]
pub(super) struct Weights(ArcSwap<Table>);

/// Weights by owner name, in lower case; an address that is not listed has [`DEFAULT_WEIGHT`].
pub(super) type Table = HashMap<Name, Vec<(IpAddr, u8)>, foldhash::fast::RandomState>;

const DEFAULT_WEIGHT: u8 = 1;
/// More than this is no weight file.
const MOST_BYTES: u64 = 16 * 1024 * 1024;

impl Weights {
    /// Brings one address of a section to the first place of all addresses, chosen by weight.
    pub(super) fn arrange(&self, query: &Query, section: &mut Section) {
        if !section.iter().any(super::order::is_address) {
            return;
        }
        let groups = group(section);
        let addresses = &mut section[groups.addresses];
        if let [only] = &*addresses
            && only.set.count() <= 1
        {
            return;
        }
        let table = self.0.load();
        let mut weights: SmallVec<[u8; 32]> = SmallVec::new();
        for entry in addresses.iter() {
            let known = listed(&table, query, entry);
            weights.extend(entry.set.rdata().map(|rdata| weight(known, entry, rdata)));
        }
        let sum: u32 = weights.iter().map(|&weight| u32::from(weight)).sum();
        let mut left = fastrand::u32(..sum.max(1));
        for (index, &weight) in weights.iter().enumerate() {
            match left.checked_sub(u32::from(weight)) {
                None => return bring_to_front(addresses, index),
                Some(rest) => left = rest,
            }
        }
    }
}

/// The weights for an entry's owner.
fn listed<'a>(table: &'a Table, query: &Query, entry: &Entry) -> &'a [(IpAddr, u8)] {
    let found = match &entry.owner {
        Owner::Question => table.get(query.name().as_wire()),
        owner => {
            let mut lower = NameBuf::ROOT;
            lower.set_lower(owner.resolve(query));
            table.get(lower.as_ref().as_wire())
        }
    };
    found.map_or(&[], Vec::as_slice)
}

fn weight(known: &[(IpAddr, u8)], entry: &Entry, rdata: &[u8]) -> u8 {
    let address = record::address(entry.rtype(), rdata).map(|address| address.to_canonical());
    let found = known.iter().find(|(known, _)| Some(*known) == address);
    found.map_or(DEFAULT_WEIGHT, |(_, weight)| *weight)
}

/// The file that the weights come from.
pub(super) struct WeightFile {
    path: PathBuf,
    weights: Arc<Weights>,
    /// Hash of the content read last, good or bad: a bad file is complained about once.
    seen: Option<u64>,
    hasher: foldhash::quality::RandomState,
}

impl WeightFile {
    pub(super) fn new(path: PathBuf) -> WeightFile {
        WeightFile { path, weights: Arc::default(), seen: None, hasher: Default::default() }
    }

    pub(super) fn weights(&self) -> Arc<Weights> {
        Arc::clone(&self.weights)
    }

    /// Reads the file and puts its weights in force, if it has changed. Says whether it has.
    pub(super) fn update(&mut self) -> Result<bool, FileError> {
        let mut content = Vec::new();
        let file = std::fs::File::open(&self.path).map_err(FileError::Open)?;
        file.take(MOST_BYTES + 1).read_to_end(&mut content).map_err(FileError::Read)?;
        if content.len() as u64 > MOST_BYTES {
            return Err(FileError::TooLarge);
        }
        let hash = self.hasher.hash_one(&content);
        if self.seen.replace(hash) == Some(hash) {
            return Ok(false);
        }
        let table = parse(&String::from_utf8_lossy(&content)).map_err(FileError::Content)?;
        self.weights.0.store(Arc::new(table));
        Ok(true)
    }

    /// Updates the weights every `interval` until told to stop. What cannot be read leaves the weights as they are.
    pub(super) async fn watch(mut self, interval: Duration, stop: CancellationToken) {
        let mut ticks = tokio::time::interval(interval);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        ticks.tick().await;
        while stop.run_until_cancelled(ticks.tick()).await.is_some() {
            let update = tokio::task::spawn_blocking(move || {
                let result = self.update();
                (self, result)
            });
            let Ok((file, result)) = update.await else { return };
            self = file;
            let path = self.path.display();
            match result {
                Ok(true) => {
                    tracing::info!("plugin/loadbalance: Successfully reloaded weight file {path}");
                }
                Ok(false) => {}
                Err(error) => tracing::error!("plugin/loadbalance: {path}: {error}"),
            }
        }
    }
}

/// Reads the content of a weight file: a name on a line of its own, then a line for each of its addresses with the weight. Empty
/// lines and lines that begin with `#` do not count.
pub(super) fn parse(text: &str) -> Result<Table, LineError> {
    let mut table = Table::default();
    let mut current: Option<Name> = None;
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let error = |what| LineError { line: index + 1, what };
        let words: SmallVec<[&str; 3]> = line.split_whitespace().take(3).collect();
        match words.as_slice() {
            [name] => {
                let bad = || error(LineFault::Name((*name).to_owned()));
                if name.parse::<IpAddr>().is_ok() {
                    return Err(bad());
                }
                let name = Name::parse(name).map_err(|_| bad())?.to_lower();
                table.entry(name.clone()).or_default();
                current = Some(name);
            }
            [address, weight] => {
                let parsed = address.parse::<IpAddr>();
                let parsed =
                    parsed.map_err(|_| error(LineFault::Address((*address).to_owned())))?;
                let weight = match weight.parse::<u8>() {
                    Ok(weight) if weight > 0 => weight,
                    _ => return Err(error(LineFault::Weight((*weight).to_owned()))),
                };
                let name = current.as_ref().ok_or_else(|| error(LineFault::NoName))?;
                table.entry(name.clone()).or_default().push((parsed.to_canonical(), weight));
            }
            _ => return Err(error(LineFault::Words(line.to_owned()))),
        }
    }
    Ok(table)
}

/// Why the weights could not be taken from the file.
#[derive(Debug)]
pub(super) enum FileError {
    /// It cannot be opened; it may come later.
    Open(io::Error),
    /// It cannot be read.
    Read(io::Error),
    /// It has more than [`MOST_BYTES`].
    TooLarge,
    /// It has a line that is no weight.
    Content(LineError),
}

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FileError::Open(error) => write!(f, "weight file open error: {error}"),
            FileError::Read(error) => write!(f, "weight file read error: {error}"),
            FileError::TooLarge => {
                write!(f, "weight file is larger than {} MiB", MOST_BYTES / (1024 * 1024))
            }
            FileError::Content(error) => write!(f, "{error}"),
        }
    }
}

/// A line that is none of a weight file.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct LineError {
    line: usize,
    what: LineFault,
}

#[derive(Debug, PartialEq, Eq)]
enum LineFault {
    Name(String),
    Address(String),
    Weight(String),
    NoName,
    Words(String),
}

impl fmt::Display for LineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: ", self.line)?;
        match &self.what {
            LineFault::Name(name) => {
                write!(f, "wrong domain name:\"{name}\" (Maybe a missing weight value?)")
            }
            LineFault::Address(address) => write!(f, "wrong IP address:\"{address}\""),
            LineFault::Weight(weight) => {
                write!(f, "wrong weight value:\"{weight}\", allowed are 1 to 255")
            }
            LineFault::NoName => f.write_str("missing domain name"),
            LineFault::Words(line) => write!(f, "could not parse weight line:\"{line}\""),
        }
    }
}
