//! The lines that `log` writes for the same questions.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Instant;

use super::compare::difference;
use super::{LONG, SHORT, Server, ask, questions, variants};
use crate::support::cluster::objects;
use crate::support::peer::coredns;
use crate::support::real_api_server::RealApiServer;
use crate::support::upstream::Upstream;

/// Lines by the id of the question, without the client's port and how long it took.
fn lines(text: &str) -> BTreeMap<u16, String> {
    let lines = text.lines().filter_map(|line| {
        let (_, rest) = line.strip_prefix("[INFO] 127.0.0.1:")?.split_once(" - ")?;
        let (rest, seconds) = rest.rsplit_once(' ')?;
        seconds.ends_with('s').then_some(())?;
        Some((rest.split(' ').next()?.parse().ok()?, rest.to_owned()))
    });
    lines.collect()
}

/// What a server has written, once the line of the last question is there.
fn written(server: &Server, last: u16) -> BTreeMap<u16, String> {
    let begun = Instant::now();
    loop {
        let lines = lines(&server.peer.said());
        if lines.contains_key(&last) || begun.elapsed() > LONG {
            return lines;
        }
        std::thread::sleep(SHORT);
    }
}

/// The line without the size of the request: the third word from the end of what is quoted.
fn without_size(line: &str) -> Option<String> {
    let (asked, answered) = line.rsplit_once('"')?;
    let mut words: Vec<&str> = asked.split(' ').collect();
    words.remove(words.len().checked_sub(3)?);
    Some(format!("{} {answered}", words.join(" ")))
}

#[test]
fn the_lines_of_log_are_those_of_coredns_or_it_is_skipped() {
    let Some(binary) = coredns("the comparison of logs with CoreDNS") else { return };
    let Some(api) = RealApiServer::shared("the comparison of logs with CoreDNS") else { return };
    api.fill();
    let variant = variants::logged();
    let upstream = Upstream::start();
    let ours = Path::new(env!("CARGO_BIN_EXE_periplus"));
    let mut pair = [binary.as_path(), ours]
        .map(|binary| Server::start(binary, &variant, &api.kubeconfig, upstream.address));
    // Where the answers differ, the lines do.
    let (mut alike, mut rewritten) = (BTreeMap::new(), BTreeSet::new());
    for question in questions::all(&variant, &objects()) {
        let [theirs, ours] = ask(&question, &mut pair, [SHORT, SHORT]);
        let id = question.message.first_chunk().map(|id| u16::from_be_bytes(*id));
        if let Some(id) = id
            && theirs.is_some()
            && difference(theirs.as_deref(), ours.as_deref(), false).is_none()
            // What an upstream said of an external name is cut before it is logged, and again before it is sent.
            && !question.what.starts_with("e-big.shop.svc.cluster.local. TYPE1")
        {
            // CoreDNS measures the request after it has taken options out, or what its library would write.
            let is_plain = question.message.get(4..12) == Some(&[0, 1, 0, 0, 0, 0, 0, 0]);
            if !is_plain || question.what.starts_with("a question without a ") {
                rewritten.insert(id);
            }
            alike.insert(id, question.what);
        }
    }
    let last = *alike.keys().next_back().expect("most answers are alike");
    let [theirs, ours] = pair.each_ref().map(|server| written(server, last));
    let differs = |id: &u16| {
        let line = |lines: &BTreeMap<u16, String>| match rewritten.contains(id) {
            true => lines.get(id).and_then(|line| without_size(line)),
            false => lines.get(id).cloned(),
        };
        line(&theirs) != line(&ours)
    };
    let differences: Vec<String> = alike
        .iter()
        .filter(|(id, _)| differs(id))
        .map(|(id, what)| format!("{what}\n  {:?}\n  {:?}", theirs.get(id), ours.get(id)))
        .collect();
    eprintln!("{} lines compared", alike.len());
    assert!(alike.len() > 10_000 && theirs.len() > 10_000);
    let shown = &differences[..differences.len().min(40)];
    assert!(shown.is_empty(), "{} differ:\n{}", differences.len(), shown.join("\n"));
}
