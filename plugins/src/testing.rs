//! What the tests of all plugins share: a query, a server around some plugins, and the answer as lines of text.
#![allow(dead_code, reason = "no plugin's tests use all of it")]

pub(crate) mod replies;

use std::io::Write;
use std::path::Path;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::{Duration, Instant};

use hickory_proto::op::Message;
use periplus_core::codes::{Class, Rcode, RecordType, flags};
use periplus_core::corefile::{Diagnostics, Directive, parse, parse_key};
use periplus_core::encode::{Compressor, encode};
use periplus_core::metrics::{Counter, Registry};
use periplus_core::name::Name;
use periplus_core::output::Output;
use periplus_core::plugin::{Next, Outcome, Plugin};
use periplus_core::query::{HEADER, Query};
use periplus_core::reply::{Answer, Failure};
use periplus_core::server::{Block, Server, ServerParts};
use periplus_core::setup::{BlockConfig, Instance, Setup};
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

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
        zones: vec![(Name::root(), Arc::new(Block::new(chain)))],
        any_class: false,
        fatal_panics: None,
        panics,
        dropped: Vec::new(),
    }))
}

/// The answer to a query, waited for if need be. Not to be called on a runtime's own thread.
pub(crate) fn ask(server: &Arc<Server>, query: &Query) -> Answer {
    let _context = RUNTIME.enter();
    match server.dispatch(query) {
        Outcome::Now(answer) => answer,
        outcome => RUNTIME.block_on(outcome.wait()),
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

/// A plugin called `scripted` that does what the function says with the query as it would go out.
pub(crate) fn scripted(
    handle: impl Fn(&Query) -> Outcome + Send + Sync + 'static,
) -> Arc<dyn Plugin> {
    Arc::new(Scripted("scripted", move |query: &Query, next: Next<'_>| {
        let mut query = query.clone();
        if next.is_authenticated() {
            query.flags |= flags::AD;
        }
        handle(&query)
    }))
}

/// A plugin called `next` that answers NOTIMP: it shows that the query was passed on.
pub(crate) fn passed_on() -> Arc<dyn Plugin> {
    Arc::new(Scripted("next", |_: &Query, _: Next<'_>| {
        Failure::silent(Rcode::NOTIMP, "next").into()
    }))
}

/// What a plugin made of its directives.
pub(crate) struct Configured {
    /// Its link of the chain.
    pub(crate) plugin: Option<Arc<dyn Plugin>>,
    /// The server block after its setup.
    pub(crate) block: BlockConfig,
    /// What it registered.
    pub(crate) instance: Instance,
}

impl Configured {
    /// A server with this plugin and those after it.
    pub(crate) fn server(&self, after: Vec<Arc<dyn Plugin>>) -> Arc<Server> {
        server(self.plugin.iter().cloned().chain(after).collect())
    }
}

/// Sets up the plugin that the first word of `directives` names, in a server block with these keys. The error is one line per
/// diagnostic: `Corefile:LINE:COLUMN: message (help)`, directives beginning at line 2.
pub(crate) fn configure(keys: &str, directives: &str) -> Result<Configured, String> {
    configure_with(keys, directives, &Captured::new())
}

/// The same with an output that can be read.
pub(crate) fn configure_with(
    keys: &str,
    directives: &str,
    captured: &Captured,
) -> Result<Configured, String> {
    let text = format!("{keys} {{\n{directives}\n}}\n");
    let directory = Path::new(env!("CARGO_MANIFEST_DIR"));
    let corefile = parse("Corefile", &text, directory)
        .map_err(|failed| failed.diagnostics.render_lines(&failed.sources))?;
    let source = &corefile.blocks[0];
    let kind = crate::ORDER.iter().find(|kind| directives.trim_start().starts_with(kind.name));
    let kind = kind.expect("the first directive is a plugin");
    let keys = source.keys.iter().flat_map(|word| parse_key(word, 53).expect("a key"));
    let keys: Vec<_> = keys.collect();
    let zones = keys.iter().map(|key| name(&key.zone)).collect();
    let known = crate::ORDER.iter().map(|kind| kind.name);
    let mut block = BlockConfig {
        keys,
        zones,
        directives: known.filter(|name| source.occurrences(name).next().is_some()).collect(),
        root: directory.to_owned(),
        bind: None,
        debug: false,
        any_class: false,
    };
    let metrics = Arc::new(Registry::new(1));
    let mut instance = Instance::new(metrics, Arc::clone(&captured.output), directory);
    let stanzas: Vec<&Directive> = source.occurrences(kind.name).collect();
    let result = (kind.setup)(&mut Setup {
        directives: &stanzas,
        block: &mut block,
        instance: &mut instance,
    });
    let render = |errors: Diagnostics| errors.render_lines(&corefile.sources);
    Ok(Configured { plugin: result.map_err(render)?, block, instance })
}

/// Asserts that directives are refused with exactly this error (see [`configure`]).
#[track_caller]
pub(crate) fn refused(keys: &str, directives: &str, expected: &str) {
    match configure(keys, directives) {
        Ok(_) => panic!("accepted: {directives}"),
        Err(error) => assert_eq!(error, expected, "{directives}"),
    }
}

/// Runs the background tasks of an instance until the guard is dropped.
pub(crate) fn run_tasks(instance: &mut Instance) -> Tasks {
    let stop = CancellationToken::new();
    let tasks = instance.take_tasks().into_iter();
    let handles = tasks.map(|task| RUNTIME.spawn((task.make)(stop.clone()))).collect();
    Tasks { stop, handles }
}

/// Running background tasks.
pub(crate) struct Tasks {
    stop: CancellationToken,
    handles: Vec<JoinHandle<()>>,
}

impl Tasks {
    /// Tells the tasks to stop and waits until they have; panics after a minute.
    pub(crate) fn stop(self) {
        self.stop.cancel();
        let ended = async {
            for handle in self.handles {
                handle.await.expect("a task does not panic");
            }
        };
        let ended = async { tokio::time::timeout(Duration::from_secs(60), ended).await };
        RUNTIME.block_on(ended).expect("tasks end when they are told to");
    }
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

/// Waits until something is so; panics after a minute.
#[track_caller]
pub(crate) fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < Duration::from_secs(60), "not within a minute: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The inputs that a fuzz target keeps.
pub(crate) fn corpus(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(target);
    let files = std::fs::read_dir(&folder).expect("the target has a corpus");
    let read = |file: std::io::Result<std::fs::DirEntry>| std::fs::read(file?.path());
    let inputs: Vec<_> = files.map(|file| read(file).expect("its files can be read")).collect();
    assert!(!inputs.is_empty(), "{}", folder.display());
    inputs
}
