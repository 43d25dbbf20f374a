//! What the tests of all plugins share: a query, a server around some plugins, and the answer as lines of text.
#![allow(dead_code, reason = "no plugin's tests use all of it")]

use std::io::Write;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::{Duration, Instant};

use hickory_proto::op::Message;
use periplus_core::codes::{Class, Rcode, RecordType, flags};
use periplus_core::encode::{Compressor, encode};
use periplus_core::metrics::{Counter, Registry};
use periplus_core::name::Name;
use periplus_core::output::Output;
use periplus_core::plugin::{Next, Outcome, Plugin};
use periplus_core::query::{HEADER, Query};
use periplus_core::reply::{Answer, Failure};
use periplus_core::server::{Block, Server, ServerParts};
use tokio::runtime::Runtime;

/// The runtime on which whatever has to be waited for runs.
pub(crate) static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.worker_threads(1).enable_all().build().expect("a runtime can be started")
});

/// A question from 10.240.0.1:40212 to 127.0.0.1:53 over UDP, id 1, RD set, no EDNS, spelled as given.
pub(crate) fn query(name: &str, qtype: RecordType) -> Query {
    let mut query = Query::empty();
    query.id = 1;
    query.flags = flags::RD;
    query.set_name(self::name(name).as_ref());
    query.qtype = qtype;
    query.class = Class::IN;
    query.size = HEADER + query.spelled().len() + 4;
    query.peer = "10.240.0.1:40212".parse().expect("an address");
    query.local = "127.0.0.1:53".parse().expect("an address");
    query
}

/// A name from its text.
pub(crate) fn name(text: &str) -> Name {
    Name::parse(text).expect("tests write valid names")
}

/// A server `dns://:53` for the root zone with this chain.
pub(crate) fn server(chain: Vec<Arc<dyn Plugin>>) -> Arc<Server> {
    let panics: Counter = Registry::new(1).counter("coredns_panics_total", "", &[]);
    Arc::new(Server::new(ServerParts {
        label: "dns://:53".into(),
        zones: vec![(Name::root(), Arc::new(Block { chain }))],
        any_class: false,
        panics_are_fatal: false,
        panics,
        dropped: Vec::new(),
    }))
}

/// The answer to a query, waited for if need be. Not to be called on a runtime's own thread.
pub(crate) fn ask(server: &Arc<Server>, query: &Query) -> Answer {
    let _context = RUNTIME.enter();
    match server.dispatch(query) {
        Outcome::Now(answer) => answer,
        Outcome::Later(future) => RUNTIME.block_on(future),
    }
}

/// The answer as lines: response code and flags, then every record with its section, as an independent decoder reads them from the
/// encoded response. Silence is no line at all.
///
/// ```text
/// NOERROR qr aa rd
/// answer: example.org. 3600 IN A 192.0.2.1
/// ```
pub(crate) fn lines(query: &Query, answer: &Answer) -> Vec<String> {
    let mut response = Vec::new();
    if !encode(query, answer, &mut Compressor::new(), &mut response) {
        return Vec::new();
    }
    let header = u16::from_be_bytes([response[2], response[3]]);
    let known = [
        ("qr", flags::QR),
        ("aa", flags::AA),
        ("tc", flags::TC),
        ("rd", flags::RD),
        ("ra", flags::RA),
        ("ad", flags::AD),
        ("cd", flags::CD),
    ];
    let mut lines = vec![Rcode(header & flags::RCODE).to_string()];
    for (name, _) in known.iter().filter(|(_, flag)| header & flag != 0) {
        lines[0] += " ";
        lines[0] += name;
    }
    let message = Message::from_vec(&response).expect("a response is a DNS message");
    let sections = [
        ("answer", &message.answers),
        ("authority", &message.authorities),
        ("additional", &message.additionals),
    ];
    for (section, records) in sections {
        lines.extend(records.iter().map(|record| format!("{section}: {record}")));
    }
    lines
}

/// [`ask`] and [`lines`] in one.
pub(crate) fn answer_lines(server: &Arc<Server>, query: &Query) -> Vec<String> {
    lines(query, &ask(server, query))
}

/// A plugin that does what the function says: the end of a chain under test.
pub(crate) struct Scripted<F>(pub(crate) &'static str, pub(crate) F);

impl<F> Plugin for Scripted<F>
where
    F: Fn(&Query, Next<'_>) -> Outcome + Send + Sync + 'static,
{
    fn name(&self) -> &'static str {
        self.0
    }

    fn handle(&self, query: &Query, next: Next<'_>) -> Outcome {
        (self.1)(query, next)
    }
}

/// A plugin called `scripted` that does what the function says.
pub(crate) fn scripted(
    handle: impl Fn(&Query) -> Outcome + Send + Sync + 'static,
) -> Arc<dyn Plugin> {
    Arc::new(Scripted("scripted", move |query: &Query, _: Next<'_>| handle(query)))
}

/// A plugin called `next` that answers NOTIMP: it shows that the query was passed on.
pub(crate) fn passed_on() -> Arc<dyn Plugin> {
    Arc::new(Scripted("next", |_: &Query, _: Next<'_>| {
        Failure::silent(Rcode::NOTIMP, "next").into()
    }))
}

/// Makes an outcome that has to be waited for out of one that is there.
pub(crate) fn delayed(outcome: Outcome, delay: Duration) -> Outcome {
    Outcome::later(async move {
        tokio::time::sleep(delay).await;
        outcome.wait().await
    })
}

/// An output whose lines can be read.
pub(crate) struct Captured {
    /// What plugins write to.
    pub(crate) output: Arc<Output>,
    text: Arc<Mutex<Vec<u8>>>,
}

impl Captured {
    pub(crate) fn new() -> Captured {
        let text = Arc::default();
        Captured { output: Output::new(Sink(Arc::clone(&text))), text }
    }

    /// What was written; ends the output.
    pub(crate) fn finish(&self) -> String {
        self.output.close();
        self.so_far()
    }

    /// What has been written by now.
    pub(crate) fn so_far(&self) -> String {
        let text = self.text.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8(text.clone()).expect("output is text")
    }
}

struct Sink(Arc<Mutex<Vec<u8>>>);

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Waits until something is so; panics after ten seconds.
#[track_caller]
pub(crate) fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < Duration::from_secs(10), "not within ten seconds: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
