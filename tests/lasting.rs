//! What a reload does not begin anew: the data of a cluster.

use std::io::{ErrorKind, Read as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use hickory_proto::op::ResponseCode;
use periplus::program::StartError;

use crate::cluster::live::Cluster as _;
use crate::support::client::{answers, ask};
use crate::support::cluster;
use crate::support::done::Done;
use crate::support::peer::Peer;
use crate::support::relay::Relay;
use crate::support::server::{TestServer, free_port};
use crate::support::test_api_server::ScriptedApiServer;

const NAME: &str = "till.shop.svc.cluster.local.";

/// One Service, as a manifest.
fn manifest() -> String {
    cluster::manifest(&cluster::parse("namespace shop\nservice shop/till 10.96.1.1 http:80/TCP\n"))
}

fn corefile(source: &str, ttl: u32, rest: &str) -> String {
    format!(
        ".:PORT {{
    kubernetes cluster.local {{
        {source}
        ttl {ttl}
        startup_timeout 300ms
    }}
    {rest}
}}
"
    )
}

/// Waits until all kinds of objects are read: until then a name that does not exist is SERVFAIL.
fn wait_until_known(server: &TestServer) {
    let begun = Instant::now();
    let denied = || ask(server.address, "nope.shop.svc.cluster.local.", 1).response_code;
    while denied() != ResponseCode::NXDomain || answers(&ask(server.address, NAME, 1)).is_empty() {
        assert!(begun.elapsed() < Duration::from_secs(30), "the cluster is not known");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Reloads with each of the Corefiles while the name is asked for; gives the answers that are not its address.
fn reload_while_asking(server: &mut TestServer, corefiles: &[String]) -> Vec<String> {
    let (address, done) = (server.address, AtomicBool::new(false));
    std::thread::scope(|scope| {
        let asking = scope.spawn(|| {
            let mut wrong = Vec::new();
            while !done.load(Ordering::Relaxed) {
                let message = ask(address, NAME, 1);
                let found = answers(&message);
                if found.len() != 1 || !found[0].ends_with(" A 10.96.1.1") {
                    wrong.push(message.to_string());
                }
            }
            wrong
        });
        let stop = Done(&done);
        for corefile in corefiles {
            server.write_corefile(corefile);
            server.reload().unwrap_or_else(|error| panic!("{error}"));
            std::thread::sleep(Duration::from_millis(5));
        }
        drop(stop);
        asking.join().expect("every question is answered")
    })
}

#[test]
fn a_reload_keeps_the_cluster() {
    let source = "snapshot DIR/cluster.json";
    let files = [("cluster.json", manifest())];
    let files = files.each_ref().map(|(name, text)| (*name, text.as_str()));
    let mut server = TestServer::with_files(&corefile(source, 30, ""), &files);
    wait_until_known(&server);
    // The same data; then in another form, which has to be there before the old one goes.
    let rests = ["whoami", "errors", "cache 30", ""];
    let same = rests.map(|rest| corefile(source, 30, rest));
    let other = [10, 20, 30].map(|ttl| corefile(source, ttl, ""));
    let all: Vec<String> = same.into_iter().chain(other).cycle().take(40).collect();
    assert_eq!(reload_while_asking(&mut server, &all), Vec::<String>::new());
}

#[test]
fn a_reload_during_an_outage_keeps_the_cluster() {
    let api = api_server();
    let (source, kubeconfig) = api.source(api.address().port());
    let files = [("source", kubeconfig.as_str())];
    let mut server = TestServer::with_files(&corefile(source, 30, ""), &files);
    wait_until_known(&server);
    drop(api);
    let rests = ["whoami", "errors", ""].map(|rest| corefile(source, 30, rest));
    assert_eq!(reload_while_asking(&mut server, &rests), Vec::<String>::new());
    // Other data cannot be had now: what there is stays in force.
    server.write_corefile(&corefile(source, 10, ""));
    put_off(&mut server);
    assert!(answers(&ask(server.address, NAME, 1))[0].contains(" 30 IN A "), "the old answer");
    // And metrics speak of it.
    std::thread::sleep(Duration::from_millis(100));
    let metrics = server.program().metrics().expose();
    let synced: Vec<&str> =
        metrics.lines().filter(|line| line.starts_with("periplus_kubernetes_synced")).collect();
    assert!(synced.len() == 3 && synced.iter().all(|line| line.ends_with(" 1")), "{synced:?}");
}

/// Reloads what needs data that is not there.
fn put_off(server: &mut TestServer) {
    let error = server.program().reload().expect_err("the data is not there");
    assert!(matches!(error, StartError::NotPrepared("kubernetes")), "{error}");
    server.program().go_on();
    assert!(server.program().is_put_off());
}

/// An API server with the one Service.
fn api_server() -> ScriptedApiServer {
    let api = ScriptedApiServer::start();
    for object in cluster::parse("namespace shop\nservice shop/till 10.96.1.1 http:80/TCP\n") {
        api.create(&object);
    }
    api
}

/// One that takes connections and says nothing; gives the connections.
fn silent_api_server() -> (String, Receiver<TcpStream>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("a bound socket has an address");
    let (send, connections) = channel();
    std::thread::spawn(move || {
        // The test has ended when nobody takes them.
        listener.incoming().flatten().try_for_each(|connection| send.send(connection))
    });
    (format!("endpoint http://{address}"), connections)
}

#[test]
fn a_list_that_takes_longer_than_the_startup_timeout_is_in_force_in_the_end() {
    let api = api_server();
    let relay = Relay::to(api.address());
    let source = format!("endpoint http://127.0.0.1:{}", relay.port);
    let text = |ttl| corefile(&source, ttl, "reload 2s 1s");
    let mut peer = Peer::start(Path::new(env!("CARGO_BIN_EXE_periplus")), &text(30), &[]);
    peer.wait_for(NAME, &[0]);
    // Far more than the 300 ms of the Corefile, and longer than the configuration is left alone.
    relay.slow_down(Duration::from_secs(3));
    peer.write_corefile(&text(10));
    let begun = Instant::now();
    loop {
        let found = answers(&ask(peer.address, NAME, 1));
        assert_eq!(found.len(), 1, "what was there stays");
        if found[0].contains(" 10 IN A ") {
            break;
        }
        assert!(begun.elapsed() < Duration::from_secs(60), "never:\n{}", peer.last_words());
        std::thread::sleep(Duration::from_millis(20));
    }
    let said = peer.said();
    assert_eq!(said.matches("Reload put off").count(), 1, "{said}");
    assert!(!said.contains("Restart failed"), "{said}");
}

/// A program that a kubeconfig names for its credentials, and that never ends by itself.
#[test]
fn sigterm_ends_a_process_whose_credentials_never_come() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let number = directory.path().join("number");
    let kubeconfig = format!(
        "apiVersion: v1
kind: Config
current-context: c
clusters: [{{name: c, cluster: {{server: 'http://127.0.0.1:9'}}}}]
contexts: [{{name: c, context: {{cluster: c, user: u}}}}]
users: [{{name: u, user: {{exec: {{apiVersion: client.authentication.k8s.io/v1, command: sh, args: [-c, 'echo $$ > {}; exec sleep 3600']}}}}}}]
",
        number.display()
    );
    let text = corefile("kubeconfig DIR/kubeconfig", 30, "");
    let files = [("kubeconfig", kubeconfig.as_str())];
    let mut peer = Peer::start(Path::new(env!("CARGO_BIN_EXE_periplus")), &text, &files);
    let begun = Instant::now();
    let number = loop {
        let text = std::fs::read_to_string(&number).unwrap_or_default();
        if text.ends_with('\n') {
            break text;
        }
        assert!(begun.elapsed() < Duration::from_secs(60), "{}", peer.last_words());
        std::thread::sleep(Duration::from_millis(20));
    };
    peer.signal("TERM");
    let begun = Instant::now();
    while peer.is_running() && begun.elapsed() < Duration::from_secs(30) {
        std::thread::sleep(Duration::from_millis(20));
    }
    let ended = !peer.is_running();
    let killed = std::process::Command::new("kill").args(["-9", number.trim()]).status();
    assert!(killed.is_ok_and(|status| status.success()), "the program still waits");
    assert!(ended, "{}", peer.last_words());
}

#[test]
fn sigterm_ends_a_process_that_waits_for_data() {
    let api = api_server();
    let (silent, _connections) = silent_api_server();
    let text = |source: &str| {
        corefile(source, 30, "reload 2s 1s").replace("startup_timeout 300ms", "startup_timeout 1h")
    };
    let source = format!("endpoint {}", api.url());
    let mut peer = Peer::start(Path::new(env!("CARGO_BIN_EXE_periplus")), &text(&source), &[]);
    peer.wait_for(NAME, &[0]);
    peer.write_corefile(&text(&silent));
    let wait = |peer: &mut Peer, what: &str, until: fn(&mut Peer) -> bool| {
        let begun = Instant::now();
        while !until(peer) {
            assert!(begun.elapsed() < Duration::from_secs(60), "{what}:\n{}", peer.last_words());
            std::thread::sleep(Duration::from_millis(20));
        }
    };
    wait(&mut peer, "no reload", |peer| peer.said().contains("] Reloading"));
    peer.signal("TERM");
    wait(&mut peer, "it does not end", |peer| !peer.is_running());
}

#[test]
fn what_a_reload_waited_for_ends_when_the_corefile_goes_back() {
    let (silent, connections) = silent_api_server();
    let files = [("cluster.json", manifest())];
    let files = files.each_ref().map(|(name, text)| (*name, text.as_str()));
    let before = corefile("snapshot DIR/cluster.json", 30, "");
    let mut server = TestServer::with_files(&before, &files);
    wait_until_known(&server);
    server.write_corefile(&corefile(&silent, 30, ""));
    put_off(&mut server);
    let mut connection = connections.recv_timeout(Duration::from_secs(30)).expect("it is asked");
    connection.set_read_timeout(Some(Duration::from_secs(60))).expect("a time-out can be set");
    connection.peek(&mut [0]).expect("the request comes");
    // Another text that needs the same goes on with what has begun.
    server.write_corefile(&corefile(&silent, 30, "whoami"));
    server.program().reload_if_changed();
    server.program().reload_if_changed();
    assert!(server.program().is_put_off());
    connection.set_nonblocking(true).expect("a socket can be set");
    let mut all = Vec::new();
    let error = connection.read_to_end(&mut all).expect_err("it is still open");
    assert_eq!(error.kind(), ErrorKind::WouldBlock);

    server.write_corefile(&before);
    server.program().reload_if_changed();
    assert!(!server.program().is_put_off());
    connection.set_nonblocking(false).expect("a socket can be set");
    connection.set_read_timeout(Some(Duration::from_secs(30))).expect("a time-out can be set");
    let closed = connection.read_to_end(&mut all);
    assert!(closed.is_ok_and(|_| !all.is_empty()), "nobody waits for an answer any more");
}

#[test]
fn a_block_without_data_costs_no_other_block_its_data() {
    let files = [("cluster.json", manifest())];
    let files = files.each_ref().map(|(name, text)| (*name, text.as_str()));
    let (silent, _connections) = silent_api_server();
    let nobody = format!("foo.test:PORT {{\n    kubernetes {{\n        {silent}\n    }}\n}}\n");
    let text = |source: &str, ttl| corefile(source, ttl, "") + &nobody;
    let mut server = TestServer::with_files(&text("snapshot DIR/cluster.json", 30), &files);
    wait_until_known(&server);
    server.write_corefile(&text(&silent, 10));
    put_off(&mut server);
    assert!(answers(&ask(server.address, NAME, 1))[0].contains(" 30 IN A "), "the old answer");
    server.write_corefile(&text("snapshot DIR/cluster.json", 10));
    server.reload().expect("the other block is no worse than before");
    assert!(answers(&ask(server.address, NAME, 1))[0].contains(" 10 IN A "), "the new answer");
}

#[test]
fn a_kubeconfig_that_was_missing_for_a_moment_is_read_when_it_is_back() {
    let api = api_server();
    let (source, kubeconfig) = api.source(api.address().port());
    let mut server = TestServer::start(&corefile(&format!("endpoint {}", api.url()), 30, ""));
    wait_until_known(&server);
    server.write_corefile(&corefile(source, 30, ""));
    server.program().reload_if_changed();
    assert!(!server.program().is_put_off(), "there is no file");
    std::fs::write(server.directory.path().join("source"), kubeconfig).expect("a file");
    server.program().reload_if_changed();
    assert!(server.program().is_put_off(), "there is one");
}

#[test]
fn what_knows_nothing_keeps_nobody_waiting() {
    let api = api_server();
    let nobody = format!("endpoint http://127.0.0.1:{}", free_port());
    let mut server = TestServer::start(&corefile(&nobody, 30, ""));
    server.write_corefile(&corefile(&nobody, 20, ""));
    server.program().reload().expect("the configuration before is no better");
    server.write_corefile(&corefile(&format!("endpoint {}", api.url()), 20, ""));
    server.program().reload().expect("the configuration before is worse");
    wait_until_known(&server);
}
