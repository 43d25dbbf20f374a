//! The loudest clients and names over real sockets, through reloads.

use std::time::{Duration, Instant};

use crate::support::client::{ask, question, tcp, wait_for_page};
use crate::support::server::TestServer;

const CLUSTER: &str = "\
apiVersion: v1
kind: Namespace
metadata: {name: shop}
---
apiVersion: v1
kind: Pod
metadata: {name: till, namespace: shop}
status: {phase: Running, podIP: 127.0.0.1}
";

fn corefile(options: &str, other: &str) -> String {
    format!(
        ".:PORT {{
    {options}
    ready 127.0.0.1:HTTP1
    kubernetes cluster.local {{
        snapshot DIR/cluster.yaml
        pods verified
    }}
    whoami
}}
other.test:PORT {{
    {other}
    whoami
}}
"
    )
}

/// The lines of the lists, once there are so many.
fn lists(server: &mut TestServer, count: usize) -> Vec<String> {
    let begun = Instant::now();
    loop {
        let text = server.program().metrics().expose();
        let lines: Vec<String> = text
            .lines()
            .filter(|line| line.starts_with("periplus_top"))
            .map(str::to_owned)
            .collect();
        if lines.len() == count {
            return lines;
        }
        assert!(begun.elapsed() < Duration::from_secs(30), "not {count} lines: {lines:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn all_transports_and_blocks_count_into_one_set_of_lists() {
    let files = [("cluster.yaml", CLUSTER)];
    let mut server = TestServer::with_files(&corefile("top 3", "top 3"), &files);
    let address = server.address;
    let pages = server.program().admin_addresses();
    wait_for_page(pages.first().expect("an admin listener").1.port(), "/ready");
    (0..3).for_each(|_| drop(ask(address, "a.other.test", 1)));
    (0..2).for_each(|_| drop(tcp(address, &question(1, "A.example", 1, None))));
    ask(address, "nothing.shop.svc.cluster.local", 1);
    let expected = [
        r#"periplus_top_clients{client="127.0.0.1",namespace="shop"} 6"#,
        r#"periplus_top_names{name="a.other.test."} 3"#,
        r#"periplus_top_names{name="a.example."} 2"#,
        r#"periplus_top_names{name="nothing.shop.svc.cluster.local."} 1"#,
        r#"periplus_top_namespaces{namespace="shop"} 6"#,
        r#"periplus_top_nxdomain_names{name="nothing.shop.svc.cluster.local."} 1"#,
        "periplus_top_nxdomain_queries 1",
        "periplus_top_queries 6",
    ];
    assert_eq!(lists(&mut server, expected.len()), expected);
}

#[test]
fn blocks_with_different_options_are_refused() {
    let refused = TestServer::try_start(&corefile("top", "top 3"), &[("cluster.yaml", CLUSTER)]);
    let error = refused.map(drop).expect_err("the lists would have two lengths").to_string();
    assert!(error.contains("'top' has other options in another server block"), "{error}");
}

#[test]
fn lists_come_and_go_with_reloads() {
    let files = [("cluster.yaml", CLUSTER)];
    let mut server = TestServer::with_files(&corefile("", ""), &files);
    let address = server.address;
    ask(address, "before.example", 1);
    assert_eq!(lists(&mut server, 0), [""; 0]);

    server.write_corefile(&corefile("top", ""));
    server.program().reload().expect("the file is good");
    lists(&mut server, 2);
    ask(address, "first.example", 1);
    lists(&mut server, 5);
    // A reload that fails takes nothing away.
    server.write_corefile(&corefile("top 4", "topp"));
    server.program().reload().expect_err("there is no such plugin");
    ask(address, "first.example", 1);
    let names = |lines: Vec<String>| lines.into_iter().find(|line| line.contains("top_names{"));
    let name = names(lists(&mut server, 5));
    assert_eq!(name.as_deref(), Some(r#"periplus_top_names{name="first.example."} 2"#));
    // Another configuration begins anew, and the one before does not take its lists along.
    server.write_corefile(&corefile("top 4", ""));
    server.program().reload().expect("the file is good");
    lists(&mut server, 2);
    ask(address, "second.example", 1);
    let name = names(lists(&mut server, 5));
    assert_eq!(name.as_deref(), Some(r#"periplus_top_names{name="second.example."} 1"#));

    server.write_corefile(&corefile("", ""));
    server.program().reload().expect("the file is good");
    ask(address, "after.example", 1);
    assert_eq!(lists(&mut server, 0), [""; 0]);
}
