//! What holds for every resolv.conf: asked of random ones by the fuzzer, and by the tests of those that it keeps.

use std::fmt::Write as _;
use std::net::SocketAddr;

use super::resolv_conf::parse;

/// The servers written out again are the same servers; an error names the first line that has one.
pub fn holds(file: &[u8]) {
    let text = String::from_utf8_lossy(file);
    match parse(&text) {
        Ok(servers) => {
            assert!(servers.len() <= text.lines().count());
            let mut again = String::new();
            for server in &servers {
                assert_eq!(server.port(), 53);
                let _ = match server {
                    SocketAddr::V6(v6) if v6.scope_id() != 0 => {
                        writeln!(again, "nameserver {}%{}", v6.ip(), v6.scope_id())
                    }
                    _ => writeln!(again, "nameserver {}", server.ip()),
                };
            }
            assert_eq!(parse(&again), Ok(servers));
        }
        Err((line, _)) => {
            let before: Vec<&str> = text.lines().take(line - 1).collect();
            assert!(parse(&before.join("\n")).is_ok());
            let at_fault = text.lines().nth(line - 1).expect("the line is in the file");
            assert!(matches!(parse(at_fault), Err((1, _))));
        }
    }
}

#[test]
fn the_corpus_keeps_to_it() {
    crate::testing::corpus("resolv_conf").iter().for_each(|input| holds(input));
}
