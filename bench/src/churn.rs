//! Endpoints change all the time: what an update costs, how soon an answer shows it, and what queries notice of it.

use std::collections::HashMap;
use std::net::{Ipv4Addr, UdpSocket};
use std::thread;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::Result;
use crate::api::{Api, slice};
use crate::check::ask_udp;
use crate::cluster::{CHANGING, Cluster, SLICE, Service};
use crate::latency::{self, Latency, Pace, Schedule, microseconds};
use crate::question::{Question, Questions};
use crate::servers::Running;

/// Updates per second.
const RATE: u32 = 1000;
/// Of so many updates one is watched for in answers.
const WATCHED: u64 = 10;
/// What is not visible by then counts with this time.
const PATIENCE: Duration = Duration::from_secs(1);

/// What came of it.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Churn {
    /// Updates sent in all.
    pub(crate) updates: u64,
    /// CPU time of the server per update in microseconds, while nobody asks anything.
    pub(crate) cpu: f64,
    /// From the write of an event to the first answer that shows it, in microseconds.
    pub(crate) visible_p50: f64,
    pub(crate) visible_p99: f64,
    pub(crate) visible_most: f64,
    /// Updates that were watched for, and those that no answer showed in time.
    pub(crate) watched: u64,
    pub(crate) unseen: u64,
    /// Services whose answer was not that of their last update, in the end.
    pub(crate) wrong: u64,
    /// Latency of queries without updates and with them.
    pub(crate) quiet: Latency,
    pub(crate) during: Latency,
}

/// Where the updates come from: the services that change, one after the other, each time with a new address for its last endpoint.
struct Updates<'a> {
    api: &'a Api,
    services: Vec<Changing<'a>>,
    count: u64,
}

struct Changing<'a> {
    service: &'a Service,
    /// Number of its slice among all.
    item: usize,
    /// The slice around what changes: the version and the last address.
    text: [String; 3],
}

/// Measures a server that runs.
pub(crate) fn churn(
    running: &Running,
    api: &Api,
    cluster: &Cluster,
    questions: &mut Questions,
    rate: u32,
    duration: Duration,
) -> Result<Churn> {
    let mut updates = Updates::new(api, cluster)?;
    let schedule = Schedule { rate, most: duration, pace: Pace::Spin };
    let quiet = latency::ask(running.dns, questions, &schedule, |_| true)?.latency();
    let before = updates.count;
    let during = latency::ask(running.dns, questions, &schedule, |now| {
        updates.send_due(before, now);
        true
    })?;
    let during = during.latency();
    let cpu = cpu_per_update(running, &mut updates, duration);
    let mut visible = visibility(running, &mut updates, duration)?;
    visible.sort_unstable();
    Ok(Churn {
        cpu,
        visible_p50: microseconds(&visible, 0.5),
        visible_p99: microseconds(&visible, 0.99),
        visible_most: microseconds(&visible, 1.0),
        watched: visible.len() as u64,
        unseen: visible.iter().filter(|time| **time >= PATIENCE).count() as u64,
        wrong: updates.wrong(running)?,
        updates: updates.count,
        quiet,
        during,
    })
}

/// Microseconds.
fn cpu_per_update(running: &Running, updates: &mut Updates<'_>, duration: Duration) -> f64 {
    let (cpu, before, begun) = (running.process.exact_cpu(), updates.count, Instant::now());
    while begun.elapsed() < duration {
        updates.send_due(before, begun.elapsed());
        thread::sleep(Duration::from_secs(1) / RATE / 4);
    }
    // What is still on its way.
    thread::sleep(Duration::from_millis(50));
    (running.process.exact_cpu() - cpu) * 1e6 / (updates.count - before).max(1) as f64
}

/// Asks for what some updates have changed, again and again until an answer shows it.
fn visibility(
    running: &Running,
    updates: &mut Updates<'_>,
    duration: Duration,
) -> Result<Vec<Duration>> {
    struct Wait {
        sent: Instant,
        message: Vec<u8>,
        address: [u8; 4],
    }
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    socket.connect(running.dns)?;
    socket.set_nonblocking(true)?;
    let (before, begun) = (updates.count, Instant::now());
    let mut waits: HashMap<u16, Wait> = HashMap::new();
    let mut times = Vec::new();
    let mut response = [0; 512];
    while begun.elapsed() < duration || !waits.is_empty() {
        if begun.elapsed() < duration && updates.is_due(before, begun.elapsed()) {
            let sent = Instant::now();
            let (number, service, address) = updates.send();
            if number % WATCHED == 0 {
                let mut message = Question::address(&service.domain(), &[])?.message;
                let id = (number / WATCHED) as u16;
                message[..2].copy_from_slice(&id.to_be_bytes());
                // A full buffer shows as an update that is not seen.
                let _ = socket.send(&message);
                waits.insert(id, Wait { sent, message, address: address.octets() });
            }
        }
        while let Ok(length) = socket.recv(&mut response) {
            let Some(&[high, low]) = response[..length].first_chunk() else { continue };
            let id = u16::from_be_bytes([high, low]);
            let Some(wait) = waits.get(&id) else { continue };
            if response[..length].windows(4).any(|bytes| bytes == wait.address) {
                times.push(wait.sent.elapsed());
                waits.remove(&id);
            } else {
                let _ = socket.send(&wait.message);
            }
        }
        waits.retain(|_, wait| {
            let goes_on = wait.sent.elapsed() < PATIENCE;
            if !goes_on {
                times.push(PATIENCE);
            }
            goes_on
        });
    }
    Ok(times)
}

impl<'a> Updates<'a> {
    fn new(api: &'a Api, cluster: &'a Cluster) -> Result<Updates<'a>> {
        const VERSION: &str = r#""resourceVersion":"1000000""#;
        let mut services = Vec::new();
        let mut item = 0;
        for service in &cluster.services {
            if service.namespace.starts_with(CHANGING) {
                let text = slice(service, 0, &service.endpoints).to_string();
                let address = service.endpoints.last().map(ToString::to_string).unwrap_or_default();
                let split = || {
                    let (start, rest) = text.split_once(&address)?;
                    let (middle, end) = rest.split_once(VERSION)?;
                    Some([start.to_owned(), middle.to_owned(), end.to_owned()])
                };
                let text = split().ok_or("a slice has another form than expected")?;
                services.push(Changing { service, item, text });
            }
            item += service.endpoints.len().div_ceil(SLICE);
        }
        if services.is_empty() {
            Err("the cluster has nothing that changes".into())
        } else {
            Ok(Updates { api, services, count: 0 })
        }
    }

    /// Whether the next update is due so long after the first one, which was number `first`.
    fn is_due(&self, first: u64, now: Duration) -> bool {
        let next =
            Duration::from_secs(1) / RATE * u32::try_from(self.count - first).unwrap_or(u32::MAX);
        next <= now
    }

    fn send_due(&mut self, first: u64, now: Duration) {
        while self.is_due(first, now) {
            self.send();
        }
    }

    /// Sends the next update; gives its number, and what has which new address.
    fn send(&mut self) -> (u64, &'a Service, Ipv4Addr) {
        let number = self.count;
        self.count += 1;
        let changing = &self.services[(number % self.services.len() as u64) as usize];
        let address = address(number);
        let [start, middle, end] = &changing.text;
        self.api.change_slice(changing.item, |version| {
            format!("{start}{address}{middle}\"resourceVersion\":\"{version}\"{end}")
        });
        (number, changing.service, address)
    }

    /// How many services do not have the address of their last update.
    fn wrong(&self, running: &Running) -> Result<u64> {
        let mut wrong = 0;
        let count = self.services.len() as u64;
        for number in self.count.saturating_sub(count)..self.count {
            let service = self.services[(number % count) as usize].service;
            let question = Question::address(&service.domain(), &service.endpoints)?;
            let response = ask_udp(running.dns, &question.message)?;
            let address = address(number).octets();
            let right = question.expected.fits(&response)
                && response.windows(4).any(|bytes| bytes == address);
            wrong += u64::from(!right);
        }
        Ok(wrong)
    }
}

/// The address that an update brings.
fn address(number: u64) -> Ipv4Addr {
    Ipv4Addr::from(0x0b00_0000 + number as u32)
}
