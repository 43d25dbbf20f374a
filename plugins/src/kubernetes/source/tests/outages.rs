//! Long outages and odd recoveries, with the times of service on a clock that runs as fast as it can.
//!
//! The clock stands still while anything can be done, and jumps to the next timer otherwise. The kernel's loopback does not wait for it: so
//! that it is not outrun, time passes in small steps with a little real time each, and each bound leaves room for a kernel that is late.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::{Running, Timing, namespace, service, settings_for, start_with};
use crate::kubernetes::objects::{Change, Resource};
use crate::kubernetes::source::state::SourceState;
use crate::kubernetes::source::testing::{Fault, Outage, TestApiServer, Verb};

/// One step of the clock. Its real time is a hundredth of it.
const TICK: Duration = Duration::from_millis(50);
const HOUR: Duration = Duration::from_secs(3600);
/// What the README promises: after this time without the cause, the data is current again.
const RECOVERY: Duration = Duration::from_secs(60);

/// Lets time pass.
async fn pass(time: Duration) {
    let end = Instant::now() + time;
    while Instant::now() < end {
        tick().await;
    }
}

async fn tick() {
    sleep(TICK).await;
    std::thread::sleep(TICK / 100);
}

/// What is known to the source, by name.
fn objects(source: &Running) -> BTreeMap<String, Change> {
    source.recorder.now().objects
}

fn addresses(source: &Running) -> Vec<String> {
    let text = |(name, change): (&String, &Change)| match change {
        Change::Service(service) => format!("{name} {:?}", service.kind),
        _ => name.clone(),
    };
    objects(source).iter().map(text).collect()
}

/// Waits until something is so, and says how long that took.
async fn within(
    most: Duration,
    what: &str,
    source: &Running,
    mut is_so: impl FnMut() -> bool,
) -> Duration {
    let begun = Instant::now();
    while !is_so() {
        assert!(
            begun.elapsed() < most,
            "not within {most:?}: {what}; there is {:?}; {:?}",
            addresses(source),
            source.state.remarks()
        );
        tick().await;
    }
    begun.elapsed()
}

async fn synced(server: &TestApiServer) -> Running {
    let source = start_with(settings_for(server), Timing::default());
    within(RECOVERY, "the first lists are read", &source, || source.state.synced()).await;
    // Watches run.
    pass(Duration::from_secs(1)).await;
    source
}

fn failures(source: &Running) -> f64 {
    let text = source.registry.expose();
    let lines = text.lines().filter(|line| {
        line.starts_with("periplus_kubernetes_watch_failures_total{resource=\"services\"")
    });
    lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
}

fn gauge(source: &Running, server: &TestApiServer, metric: &str) -> f64 {
    let labels = format!("{{resource=\"services\",origin=\"{}\"}}", server.url());
    source.sample(&format!("periplus_kubernetes_{metric}{labels}")).unwrap_or(f64::NAN)
}

fn running_tasks() -> usize {
    tokio::runtime::Handle::current().metrics().num_alive_tasks()
}

#[tokio::test(start_paused = true)]
async fn an_hour_of_refused_connections() {
    hour(Outage::Refused, "refused").await;
}

#[tokio::test(start_paused = true)]
async fn an_hour_of_broken_connections() {
    hour(Outage::Reset, "request failed").await;
}

#[tokio::test(start_paused = true)]
async fn an_hour_of_silence() {
    hour(Outage::Silent, "nothing from the API server").await;
}

#[tokio::test(start_paused = true)]
async fn an_hour_of_errors() {
    hour(Outage::Status(503), "503 Service Unavailable: away").await;
}

#[tokio::test(start_paused = true)]
async fn an_hour_of_a_server_that_asks_for_a_day() {
    hour(Outage::Busy(86400), "429 Too Many Requests: too many requests").await;
}

/// The API server is away for an hour, while much happens to its objects.
async fn hour(outage: Outage, remark: &str) {
    let server = TestApiServer::start().await;
    server.send_bookmarks(Some(RECOVERY));
    server.put("namespaces", namespace("a"));
    for (name, address) in [("changed", "10.0.0.1"), ("gone", "10.0.0.2"), ("same", "10.0.0.3")] {
        server.put("services", service("a", name, address));
    }
    let source = synced(&server).await;
    let (before, changes) = (objects(&source), source.recorder.now().changes.len());

    server.set_outage(Some(outage));
    server.put("services", service("a", "changed", "10.0.0.9"));
    server.put("services", service("a", "new", "10.0.0.4"));
    server.delete("services", "a/gone");
    let begun = Instant::now();
    let (mut count, mut last, mut gaps) = (failures(&source), begun, Vec::new());
    let mut tasks = 0;
    while begun.elapsed() < HOUR {
        // Faster than elsewhere: whether a try fails for its cause or because the kernel was late is all the same here.
        sleep(TICK * 10).await;
        std::thread::sleep(TICK / 500);
        let now = failures(&source);
        if now > count {
            gaps.push(last.elapsed().as_secs_f64());
            (count, last) = (now, Instant::now());
        }
        assert_eq!(source.recorder.now().changes.len(), changes, "after {:?}", begun.elapsed());
        if begun.elapsed() < HOUR / 6 {
            tasks = tasks.max(running_tasks());
        }
    }
    assert_eq!(objects(&source), before);

    // Who asks is told how old the data is.
    assert!(source.state.synced(), "it stays ready");
    let remarks = source.state.remarks();
    for resource in source.state.resources() {
        let of_it = format!("{}: ", resource.resource().name());
        let of_it = remarks.iter().find(|remark| remark.starts_with(&of_it)).expect("a remark");
        assert!(of_it.contains(remark), "{of_it}");
        let number = |after: &str| -> u64 {
            let text = of_it.split(after).nth(1).and_then(|text| text.split('s').next());
            text.and_then(|text| text.parse().ok()).unwrap_or_else(|| panic!("{of_it}"))
        };
        assert!(number("(since ") > 3500, "{of_it}");
        assert!(number("data of ") >= 3600 - 60, "{of_it}");
    }
    assert!(gauge(&source, &server, "watch_age_seconds") >= 3600.0 - 60.0);
    assert_eq!(gauge(&source, &server, "failing"), 1.0);
    assert_eq!(gauge(&source, &server, "synced"), 1.0);

    // The tries are neither too rare nor too many, and not in step.
    let mut late = gaps[gaps.len() / 2..].to_vec();
    late.sort_by(f64::total_cmp);
    // One in ten may have met a kernel that was late, and one in ten may have come after such a one.
    let (least, most) = (late[late.len() / 10], late[late.len() * 9 / 10]);
    let attempt = if outage == Outage::Silent { 30.0 } else { 0.0 };
    let (shortest, longest) =
        if matches!(outage, Outage::Busy(_)) { (24.0, 30.0) } else { (7.5, 15.0) };
    eprintln!("{outage:?}: {} tries, {least:.1} to {most:.1} s apart", gaps.len());
    assert!(least >= attempt + shortest - 1.0, "{gaps:?}");
    assert!(most <= attempt + longest + 2.0, "{gaps:?}");
    assert!(most - least > 2.0, "without chance: {gaps:?}");

    // Nothing piles up with the tries, of which there are dozens at least.
    assert!(running_tasks() <= 2 * tasks, "{} tasks, after {tasks} at most", running_tasks());

    server.set_outage(None);
    let expected = ["Namespace a", "Service a/changed", "Service a/new", "Service a/same"];
    let time = within(RECOVERY, "the data is current", &source, || {
        let objects = objects(&source);
        objects.keys().eq(expected.iter())
            && objects["Service a/changed"] != before["Service a/changed"]
    })
    .await;
    eprintln!("{outage:?}: current {time:.1?} after the end");
    assert_eq!(source.recorder.now().changes.len(), changes + 3, "only differences");
    within(RECOVERY, "nothing fails", &source, || source.state.remarks().is_empty()).await;
    within(RECOVERY, "the age is small", &source, || {
        gauge(&source, &server, "watch_age_seconds") < 60.0
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn an_outage_fills_no_log() {
    let resources = [Resource::Services];
    let state = SourceState::new("test".to_owned(), &resources, Duration::from_secs(50));
    let services = state.of(Resource::Services).expect("it is read");
    let mut lines = Vec::new();
    for second in 0..3600 {
        let text = format!("request failed: cause {}", second % 20);
        if services.fails(text) {
            lines.push(second);
        }
        sleep(Duration::from_secs(1)).await;
    }
    assert_eq!(lines[..8], [0, 1, 2, 3, 4, 5, 6, 7], "each cause is told, but not all of many");
    assert_eq!(lines[8..], [607, 1207, 1807, 2407, 3007], "and that it goes on, every ten minutes");
    assert_eq!(services.works().map(|time| time.as_secs()), Some(3600));
    assert!(services.fails("request failed: cause 0".to_owned()), "another outage is told again");
}

/// What happens to an API server with an older version of its data.
#[derive(Clone, Copy, Debug)]
enum Restored {
    /// It says that what is asked for is still to come.
    Speaks,
    /// It says nothing to who asks for what is still to come.
    Hangs,
    /// It has overtaken by changes of other objects before it is asked.
    Overtook,
}

#[tokio::test(start_paused = true)]
async fn a_backup_is_current_a_minute_after_its_server_is_back() {
    each_outage(Restored::Speaks).await;
}

#[tokio::test(start_paused = true)]
async fn a_backup_of_a_silent_server_is_current_as_soon() {
    each_outage(Restored::Hangs).await;
}

#[tokio::test(start_paused = true)]
async fn a_backup_that_overtook_is_current_as_soon() {
    each_outage(Restored::Overtook).await;
}

async fn each_outage(restored: Restored) {
    for outage in [None, Some(Outage::Refused), Some(Outage::Status(503)), Some(Outage::Silent)] {
        restore(restored, outage).await;
    }
}

async fn restore(restored: Restored, outage: Option<Outage>) {
    let server = TestApiServer::start().await;
    server.send_bookmarks(Some(RECOVERY));
    server.set_patience(match restored {
        Restored::Hangs => None,
        _ => Some(Duration::from_secs(3)),
    });
    server.put("services", service("a", "changed", "10.0.0.1"));
    server.put("services", service("a", "deleted", "10.0.0.2"));
    server.put("services", service("a", "same", "10.0.0.3"));
    let mut backup = server.back_up();
    let source = synced(&server).await;
    let before = objects(&source);
    server.put("services", service("a", "changed", "10.0.0.9"));
    server.put("services", service("a", "lost", "10.0.0.4"));
    server.delete("services", "a/deleted");
    server.put("namespaces", namespace("lost"));
    let later = ["Namespace lost", "Service a/changed", "Service a/lost", "Service a/same"];
    within(RECOVERY, "the changes are there", &source, || objects(&source).keys().eq(later)).await;
    // A suspicion before leads to a question instead of a list.
    server.cut_watches();
    pass(Duration::from_secs(5)).await;

    server.set_outage(outage);
    if outage.is_some() {
        sleep(HOUR).await;
    }
    assert!(objects(&source).keys().eq(later), "{:?}", addresses(&source));
    if matches!(restored, Restored::Overtook) {
        backup.skip_versions(100);
    }
    server.restore(backup);
    server.set_outage(None);
    if matches!(restored, Restored::Overtook) && outage.is_none() {
        // Nobody can tell: it was away for less than a moment.
        return;
    }
    let changes = source.recorder.now().changes.len();
    let (begun, asked) = (Instant::now(), server.count(Verb::List, "services"));
    within(RECOVERY, "a list is asked for", &source, || {
        server.count(Verb::List, "services") > asked
    })
    .await;
    // What the outage has taught does not hold up the second list: 3 s until the first is refused, and far less than the longest wait.
    let most = if matches!(restored, Restored::Hangs) { RECOVERY } else { RECOVERY / 6 };
    let services = |objects: BTreeMap<String, Change>| {
        objects.into_iter().filter(|(name, _)| name.starts_with("Service")).collect::<Vec<_>>()
    };
    let expected = services(before.clone());
    within(most, "the Services that were restored are there", &source, || {
        services(objects(&source)) == expected
    })
    .await;
    // The other kinds come in their own time.
    within(RECOVERY, "what was restored is there", &source, || objects(&source) == before).await;
    let time = begun.elapsed();
    assert!(time < RECOVERY, "{restored:?} after {outage:?}: {time:?}");
    eprintln!("{restored:?} after {outage:?}: current {time:.1?} after the end");
    let made = source.recorder.now().changes[changes..].len();
    assert_eq!(made, 4, "only differences: {:?}", source.recorder.now().changes);
    server.put("services", service("a", "new", "10.0.0.5"));
    within(RECOVERY, "what comes then is there", &source, || {
        objects(&source).contains_key("Service a/new")
    })
    .await;
}

/// The connection is there, but nothing comes, whatever happens; new connections are as they should be.
#[tokio::test(start_paused = true)]
async fn a_watch_that_says_nothing_is_given_up() {
    let server = TestApiServer::start().await;
    server.send_bookmarks(Some(RECOVERY));
    server.put("services", service("a", "one", "10.0.0.1"));
    let source = synced(&server).await;
    // At its beginning, in its middle, shortly before its end.
    for (round, phase) in [0, 10, 20, 29].into_iter().enumerate() {
        let watches = server.requests().len();
        within(RECOVERY * 2, "another watch begins", &source, || server.requests().len() > watches)
            .await;
        pass(Duration::from_secs(phase)).await;
        server.freeze_watches();
        let name = format!("s{round}");
        server.put("services", service("a", &name, "10.0.0.2"));
        let name = format!("Service a/{name}");
        let time = within(Duration::from_secs(50), "the change is there", &source, || {
            objects(&source).contains_key(&name)
        })
        .await;
        eprintln!("frozen {phase} s after its beginning: current {time:.1?} later");
    }
}

/// A restarted server does not know the versions from before.
#[tokio::test(start_paused = true)]
async fn a_restart_without_history_takes_nothing_away() {
    let server = TestApiServer::start().await;
    server.send_bookmarks(Some(RECOVERY));
    for name in ["gone", "same"] {
        server.put("services", service("a", name, "10.0.0.1"));
    }
    let source = synced(&server).await;
    server.set_outage(Some(Outage::Refused));
    server.delete("services", "a/gone");
    server.compact();
    sleep(HOUR).await;
    let changes = source.recorder.now().changes.len();
    // Not ready yet: first errors, then requests to come later.
    for outage in [Outage::Status(503), Outage::Busy(1)] {
        server.set_outage(Some(outage));
        pass(Duration::from_secs(20)).await;
    }
    assert_eq!(source.recorder.now().changes.len(), changes);
    server.set_outage(None);
    within(RECOVERY, "what is gone is gone", &source, || {
        objects(&source).keys().eq(["Service a/same"])
    })
    .await;
    let made = source.recorder.now().changes.split_off(changes);
    assert!(matches!(made[..], [Change::ServiceGone(_)]), "{made:?}");
    // Versions that the server has forgotten, without any other sign. At the first suspicion a list is read, then watches meet 410 Gone.
    for round in 0..3 {
        server.put("services", service("a", "new", &format!("10.0.1.{round}")));
        server.compact();
        server.cut_watches();
        within(RECOVERY, "what is new is there", &source, || {
            addresses(&source).iter().any(|text| text.contains(&format!("[10.0.1.{round}]")))
        })
        .await;
        assert!(objects(&source).keys().eq(["Service a/new", "Service a/same"]));
    }
}

#[tokio::test(start_paused = true)]
async fn an_hour_of_watches_that_end_after_an_event() {
    unsteady_hour(Fault::Bookmark(None)).await;
}

#[tokio::test(start_paused = true)]
async fn an_hour_of_watches_that_are_cut_after_an_event() {
    unsteady_hour(Fault::BookmarkAndCut).await;
}

#[tokio::test(start_paused = true)]
async fn an_hour_of_watches_of_an_older_version() {
    unsteady_hour(Fault::Bookmark(Some(1))).await;
}

/// All works but for the watches, each of which says something and is over. Nobody is asked more often than when nothing works.
async fn unsteady_hour(fault: Fault) {
    let server = TestApiServer::start().await;
    server.send_bookmarks(Some(RECOVERY));
    server.put("services", service("a", "one", "10.0.0.1"));
    server.fault(Verb::Watch, "services", usize::MAX, fault.clone());
    let source = start_with(settings_for(&server), Timing::default());
    let asked = || {
        let urls = server.requests();
        urls.iter().filter(|url| url.contains("/services?")).count()
    };
    let begun = Instant::now();
    while begun.elapsed() < HOUR {
        sleep(TICK * 10).await;
        std::thread::sleep(TICK / 500);
        // A watch, and a list or a question before it, for each wait of 7.5 s at least; the first waits are shorter.
        let most = 2.0 * (begun.elapsed().as_secs_f64() / 7.5 + 10.0);
        assert!(asked() as f64 <= most, "{} requests in {:?}", asked(), begun.elapsed());
    }
    eprintln!("{fault:?}: {} requests", asked());
    assert!(objects(&source).keys().eq(["Service a/one"]));
    // What happens is there no later than after an outage.
    server.put("services", service("a", "two", "10.0.0.2"));
    server.forgive();
    within(RECOVERY, "what came is there", &source, || {
        objects(&source).keys().eq(["Service a/one", "Service a/two"])
    })
    .await;
    // One bad watch after good ones costs no more than the first one did.
    pass(RECOVERY * 2).await;
    server.cut_watches();
    server.put("services", service("a", "three", "10.0.0.3"));
    within(RECOVERY / 10, "what came is there at once", &source, || {
        objects(&source).contains_key("Service a/three")
    })
    .await;
}
