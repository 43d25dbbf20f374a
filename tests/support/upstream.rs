//! An upstream server that answers from a script, over UDP and TCP.

use std::collections::HashMap;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use periplus_core::codes::RecordType;

use super::client::{read, write};
use super::cluster::expand;
use super::server::free_port;

/// How often its threads look whether the test is over.
const TICK: Duration = Duration::from_millis(50);
const DO: u16 = 0x8000;

/// A running upstream; it stops when it is dropped.
pub struct Upstream {
    pub address: SocketAddr,
    stop: Arc<AtomicBool>,
}

/// Names in lower case, without the last dot.
#[derive(Default)]
struct Script {
    records: HashMap<String, Vec<Line>>,
    flags: HashMap<String, Vec<String>>,
    rcodes: Vec<(String, u8)>,
}

/// A record: the owner as the script spells it.
struct Line {
    owner: String,
    ttl: u32,
    rtype: u16,
    rdata: Vec<u8>,
}

impl Upstream {
    /// Starts with the script in `tests/data`.
    pub fn start() -> Upstream {
        let script = Arc::new(Script::parse(include_str!("../data/upstream.txt")));
        let port = free_port();
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let stop = Arc::new(AtomicBool::new(false));
        let udp = UdpSocket::bind(address).expect("the port is free");
        udp.set_read_timeout(Some(TICK)).expect("a time-out can be set");
        let tcp = TcpListener::bind(address).expect("the port is free");
        {
            let (script, stop) = (Arc::clone(&script), Arc::clone(&stop));
            std::thread::spawn(move || {
                let mut buffer = [0; 4096];
                while !stop.load(Ordering::Relaxed) {
                    let Ok((length, client)) = udp.recv_from(&mut buffer) else { continue };
                    if let Some(answer) = script.answer(&buffer[..length], true) {
                        let _ = udp.send_to(&answer, client);
                    }
                }
            });
        }
        let ended = Arc::clone(&stop);
        std::thread::spawn(move || {
            for mut stream in tcp.incoming().flatten() {
                if ended.load(Ordering::Relaxed) {
                    return;
                }
                let script = Arc::clone(&script);
                std::thread::spawn(move || {
                    let _ = stream.set_read_timeout(Some(Duration::from_secs(30)));
                    while let Some(answer) =
                        read(&mut stream).and_then(|request| script.answer(&request, false))
                    {
                        write(&mut stream, &answer);
                    }
                });
            }
        });
        Upstream { address, stop }
    }

    /// The names that it knows something about.
    pub fn names() -> Vec<String> {
        let script = Script::parse(include_str!("../data/upstream.txt"));
        let mut names: Vec<String> =
            script.records.into_keys().map(|name| format!("{name}.")).collect();
        names.extend(script.rcodes.into_iter().map(|(zone, _)| format!("x.{zone}.")));
        names.sort();
        names.dedup();
        names
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = std::net::TcpStream::connect(self.address);
    }
}

impl Script {
    fn parse(text: &str) -> Script {
        let mut script = Script::default();
        for line in text.lines().filter(|line| !line.starts_with('#') && !line.trim().is_empty()) {
            let words: Vec<&str> = line.split_whitespace().collect();
            let name = words[0].trim_end_matches('.').to_ascii_lowercase();
            match words[1] {
                "FLAG" => script.flags.entry(name).or_default().push(words[2].to_owned()),
                "RCODE" => script.rcodes.push((name, words[2].parse().expect("a number"))),
                ttl => {
                    let rtype = RecordType::from_mnemonic(words[2]).expect("a record type").0;
                    let lines = script.records.entry(name).or_default();
                    for text in expand(&words[3..].join(" ")) {
                        let (owner, ttl) = (words[0].to_owned(), ttl.parse().expect("a TTL"));
                        lines.push(Line { owner, ttl, rtype, rdata: rdata(rtype, &text) });
                    }
                }
            }
        }
        script
    }

    /// The answer to a message, `None` if it is not a question.
    fn answer(&self, request: &[u8], udp: bool) -> Option<Vec<u8>> {
        let (asked, end) = labels(request, 12)?;
        let qtype = u16::from_be_bytes([*request.get(end)?, *request.get(end + 1)?]);
        let edns = edns(request, end + 4);
        let name = asked.to_ascii_lowercase();
        let flags = self.flags.get(&name).map_or(&[][..], Vec::as_slice);
        let has = |flag: &str| flags.iter().any(|text| text == flag);
        let below = |zone: &str| name == zone || name.ends_with(&format!(".{zone}"));

        let mut answer: Vec<(String, &Line)> = Vec::new();
        let mut rcode =
            self.rcodes.iter().find(|(zone, _)| below(zone)).map_or(0, |(_, rcode)| *rcode);
        let mut current = asked.clone();
        for _ in 0..8 {
            let Some(lines) = self.records.get(&current.to_ascii_lowercase()) else {
                rcode = if rcode == 0 { 3 } else { rcode };
                break;
            };
            // The owner is the asked name; behind an alias it is as the script spells it.
            let owner =
                |line: &Line| if current == asked { asked.clone() } else { line.owner.clone() };
            let wanted = |line: &&Line| line.rtype == qtype || qtype == RecordType::ANY.0;
            let found: Vec<&Line> = lines.iter().filter(wanted).collect();
            answer.extend(found.iter().map(|line| (owner(line), *line)));
            let alias = lines.iter().find(|line| line.rtype == RecordType::CNAME.0);
            let Some(alias) = alias.filter(|_| found.is_empty()) else { break };
            answer.push((owner(alias), alias));
            current = labels(&alias.rdata, 0).expect("RDATA of an alias is a name").0;
        }
        let negative = rcode == 3
            || rcode == 0 && !answer.iter().any(|(_, line)| line.rtype == qtype || qtype == 255);
        let soa = (negative && !has("nosoa")).then(|| soa(&name));

        let recursion = if has("nora") { 0 } else { 0x0080 };
        let request_flags = u16::from_be_bytes([request[2], request[3]]);
        let mut header = 0x8000 | request_flags & 0x7910 | recursion | u16::from(rcode);
        header |= if has("aa") { 0x0400 } else { 0 } | if has("ad") { 0x0020 } else { 0 };

        let limit = if udp { edns.map_or(512, |(size, _)| size.max(512)) } else { u16::MAX };
        let opt = edns.filter(|_| !has("noedns")).map(|(_, do_bit)| {
            let size = flags
                .iter()
                .find_map(|flag| flag.strip_prefix("size="))
                .map_or(1232, |n| n.parse().expect("a size"));
            opt(size, do_bit, has("ede"))
        });
        let mut message = request[..2].to_vec();
        message.extend_from_slice(&header.to_be_bytes());
        message.extend_from_slice(&[0, 1, 0, 0, 0, 0, 0, 0]);
        message.extend_from_slice(&request[12..end + 4]);
        let room = usize::from(limit) - opt.as_ref().map_or(0, Vec::len);
        let mut count = 0_u16;
        for (owner, line) in &answer {
            let owner = if has("compressed") { vec![0xc0, 12] } else { encode(owner) };
            let length = u16::try_from(line.rdata.len()).expect("a short record").to_be_bytes();
            let head =
                [&line.rtype.to_be_bytes()[..], &[0, 1], &line.ttl.to_be_bytes(), &length].concat();
            let record = [owner, head, line.rdata.clone()].concat();
            if message.len() + record.len() > room {
                message[2] |= 0x02;
                break;
            }
            message.extend_from_slice(&record);
            count += 1;
        }
        message[6..8].copy_from_slice(&count.to_be_bytes());
        if let Some(soa) = soa.filter(|soa| message.len() + soa.len() <= room) {
            message.extend_from_slice(&soa);
            message[9] = 1;
        }
        if let Some(opt) = opt {
            message.extend_from_slice(&opt);
            message[11] = 1;
        }
        Some(message)
    }
}

/// The SOA record of a negative answer: that of upstream.test, or of the root.
fn soa(name: &str) -> Vec<u8> {
    let zone = if name.ends_with("upstream.test") { "upstream.test" } else { "" };
    let rdata =
        rdata(RecordType::SOA.0, &format!("ns1.{zone} hostmaster.{zone} 7 3600 600 86400 60"));
    let length = u16::try_from(rdata.len()).expect("a short record").to_be_bytes();
    [encode(zone), vec![0, 6, 0, 1], 120_u32.to_be_bytes().to_vec(), length.to_vec(), rdata]
        .concat()
}

fn opt(size: u16, flags: u16, explained: bool) -> Vec<u8> {
    // Extended DNS Errors (RFC 8914): code 3, "Stale Answer".
    let option: &[u8] =
        if explained { &[0, 15, 0, 7, 0, 3, b's', b't', b'a', b'l', b'e'] } else { &[] };
    let length = u16::try_from(option.len()).expect("a short option").to_be_bytes();
    let head =
        [&[0, 0, 41][..], &size.to_be_bytes(), &[0, 0], &(flags & DO).to_be_bytes(), &length];
    [head.concat(), option.to_vec()].concat()
}

/// Size and flags of the OPT record, if that is what follows the question.
fn edns(request: &[u8], at: usize) -> Option<(u16, u16)> {
    match request.get(at..at + 11)? {
        [0, 0, 41, a, b, _, _, c, d, ..] => {
            Some((u16::from_be_bytes([*a, *b]), u16::from_be_bytes([*c, *d])))
        }
        _ => None,
    }
}

fn rdata(rtype: u16, text: &str) -> Vec<u8> {
    let words: Vec<&str> = text.split_whitespace().collect();
    let number = |word: &str| word.parse::<u16>().expect("a number").to_be_bytes();
    match RecordType(rtype) {
        RecordType::A => text.parse::<Ipv4Addr>().expect("an address").octets().to_vec(),
        RecordType::AAAA => text.parse::<Ipv6Addr>().expect("an address").octets().to_vec(),
        RecordType::NS | RecordType::CNAME | RecordType::PTR => encode(text),
        RecordType::TXT => {
            [&[u8::try_from(text.len()).expect("a short text")], text.as_bytes()].concat()
        }
        RecordType::MX => [number(words[0]).to_vec(), encode(words[1])].concat(),
        RecordType::SRV => [
            number(words[0]).to_vec(),
            number(words[1]).to_vec(),
            number(words[2]).to_vec(),
            encode(words[3]),
        ]
        .concat(),
        RecordType::SOA => {
            let numbers = words[2..]
                .iter()
                .flat_map(|word| word.parse::<u32>().expect("a number").to_be_bytes());
            [encode(words[0]), encode(words[1]), numbers.collect()].concat()
        }
        _ => (0..text.len())
            .step_by(2)
            .map(|at| u8::from_str_radix(&text[at..at + 2], 16).expect("digits"))
            .collect(),
    }
}

fn encode(name: &str) -> Vec<u8> {
    let mut wire = Vec::new();
    for label in name.split('.').filter(|label| !label.is_empty()) {
        wire.push(u8::try_from(label.len()).expect("a short label"));
        // Bytes that are no ASCII are carried as characters of the same number.
        wire.extend(label.chars().map(|byte| byte as u8));
    }
    wire.push(0);
    wire
}

/// A name without the last dot, and where it ends.
fn labels(message: &[u8], mut at: usize) -> Option<(String, usize)> {
    let mut labels = Vec::new();
    loop {
        let length = usize::from(*message.get(at)?);
        let label = message.get(at + 1..at + 1 + length)?;
        at += 1 + length;
        if length == 0 {
            return Some((labels.join("."), at));
        }
        labels.push(label.iter().map(|byte| char::from(*byte)).collect::<String>());
    }
}
