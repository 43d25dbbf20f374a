//! What a reload does not begin anew: the data of a cluster.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use periplus::program::StartError;

use crate::cluster::live::Cluster as _;
use crate::support::client::{answers, ask};
use crate::support::cluster;
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

fn wait_until_known(server: &TestServer) {
    let begun = Instant::now();
    while answers(&ask(server.address, NAME, 1)).is_empty() {
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
        for corefile in corefiles {
            server.write_corefile(corefile);
            if let Err(error) = server.program().reload() {
                done.store(true, Ordering::Relaxed);
                panic!("{error}");
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        done.store(true, Ordering::Relaxed);
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
    let api = ScriptedApiServer::start();
    for object in cluster::parse("namespace shop\nservice shop/till 10.96.1.1 http:80/TCP\n") {
        api.create(&object);
    }
    let (source, kubeconfig) = api.source(api.address().port());
    let files = [("source", kubeconfig.as_str())];
    let mut server = TestServer::with_files(&corefile(source, 30, ""), &files);
    wait_until_known(&server);
    drop(api);
    let rests = ["whoami", "errors", ""].map(|rest| corefile(source, 30, rest));
    assert_eq!(reload_while_asking(&mut server, &rests), Vec::<String>::new());
    // Other data cannot be had now: what there is stays in force.
    server.write_corefile(&corefile(source, 10, ""));
    let error = server.program().reload().expect_err("the API server is away");
    assert!(matches!(error, StartError::NotPrepared("kubernetes", _)), "{error}");
    assert!(answers(&ask(server.address, NAME, 1))[0].contains(" 30 IN A "), "the old answer");
}

#[test]
fn what_knows_nothing_keeps_nobody_waiting() {
    let api = ScriptedApiServer::start();
    for object in cluster::parse("namespace shop\nservice shop/till 10.96.1.1 http:80/TCP\n") {
        api.create(&object);
    }
    let nobody = format!("endpoint http://127.0.0.1:{}", free_port());
    let mut server = TestServer::start(&corefile(&nobody, 30, ""));
    server.write_corefile(&corefile(&nobody, 20, ""));
    server.program().reload().expect("the configuration before is no better");
    server.write_corefile(&corefile(&format!("endpoint {}", api.url()), 20, ""));
    server.program().reload().expect("the configuration before is worse");
    wait_until_known(&server);
}
