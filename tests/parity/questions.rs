//! The questions: every name form, type, spelling, EDNS and header variant.

use std::collections::BTreeSet;

use periplus_core::codes::RecordType;
use serde_json::Value;

use super::variants::{Depth, Variant};
use crate::cluster::rows::reverse;
use crate::support::client::question;
use crate::support::upstream::Upstream;
use crate::support::wire::first_question;

/// A message to send, and what is special about it.
pub struct Question {
    pub what: String,
    pub message: Vec<u8>,
    pub tcp: bool,
}

impl Question {
    /// Name in lower case, type and class, as far as they can be read.
    pub fn asked(&self) -> Option<(String, RecordType, u16)> {
        let (name, qtype, class) = first_question(&self.message)?;
        Some((name.to_ascii_lowercase(), qtype, class))
    }
}

/// Types with code of their own somewhere, then others, known and unknown, questions and pseudo-records.
const TYPES: &[u16] = &[
    1, 28, 33, 12, 2, 6, 16, 5, 255, 15, 65, 64, 35, 39, 43, 46, 48, 257, 13, 0, 41, 99, 249, 250,
    251, 252, 253, 65280, 65535,
];
/// How many of them are asked at every name, and how many if only names matter.
const MAIN_TYPES: usize = 9;
const FEW_TYPES: usize = 7;
/// One name in so many is asked for every type.
const EVERY: usize = 12;

/// OPT records: what they show, and their bytes.
const EDNS: &[(&str, &str)] = &[
    ("size 0", "00 0029 0000 00000000 0000"),
    ("size 100", "00 0029 0064 00000000 0000"),
    ("size 512", "00 0029 0200 00000000 0000"),
    ("size 1232", "00 0029 04d0 00000000 0000"),
    ("size 4096", "00 0029 1000 00000000 0000"),
    ("size 65535", "00 0029 ffff 00000000 0000"),
    ("DO", "00 0029 04d0 00008000 0000"),
    ("all flags", "00 0029 04d0 0000ffff 0000"),
    ("version 1", "00 0029 04d0 00010000 0000"),
    ("version 255 and DO", "00 0029 04d0 00ff8000 0000"),
    ("an extended rcode", "00 0029 04d0 01000000 0000"),
    ("client cookie", "00 0029 04d0 00000000 000c 000a0008 0102030405060708"),
    ("short cookie", "00 0029 04d0 00000000 0007 000a0003 010203"),
    ("NSID", "00 0029 04d0 00000000 0004 00030000"),
    ("client subnet", "00 0029 04d0 00000000 000b 00080007 00011800 c00002"),
    ("bad client subnet", "00 0029 04d0 00000000 0008 00080004 00094000"),
    ("padding", "00 0029 04d0 00000000 0014 000c0010 00000000000000000000000000000000"),
    ("keepalive", "00 0029 04d0 00000000 0004 000b0000"),
    ("expire", "00 0029 04d0 00000000 0004 00090000"),
    ("unknown option", "00 0029 04d0 00000000 0006 fde90002 abcd"),
    (
        "several options",
        "00 0029 04d0 00008000 0016 00030000 000a0008 0102030405060708 fde90002 abcd",
    ),
    ("an option that is cut", "00 0029 04d0 00000000 0004 000a0008"),
    ("an option of one byte", "00 0029 04d0 00000000 0001 00"),
    ("an owner that is not the root", "0177 00 0029 04d0 00000000 0000"),
    ("RDATA that is missing", "00 0029 04d0 00000000 0009"),
    ("TSIG instead of OPT", "00 00fa 00ff 00000000 0010 00 000000000000 0000 0000 0000 0000 00"),
    ("an A record instead of OPT", "00 0001 0001 00000000 0004 7f000001"),
];

/// Whole messages in hexadecimal, `ID` being the id.
const MESSAGES: &[(&str, &str)] = &[
    ("empty", ""),
    ("one byte", "ID"),
    ("eleven bytes", "ID 0100 0001 0000 0000 00"),
    ("header only", "ID 0100 0001 0000 0000 0000"),
    ("header without a question", "ID 0100 0000 0000 0000 0000"),
    ("a response", "ID 8100 0001 0000 0000 0000 03777777 00 0001 0001"),
    ("two questions", "ID 0100 0002 0000 0000 0000 03777777 00 0001 0001 03777777 00 0001 0001"),
    (
        "an answer in the question",
        "ID 0100 0001 0001 0000 0000 03777777 00 0001 0001 c00c 0001 0001 00000000 0004 7f000001",
    ),
    (
        "a record in the authority section",
        "ID 0100 0001 0000 0001 0000 03777777 00 0001 0001 c00c 0001 0001 00000000 0004 7f000001",
    ),
    (
        "two additional records",
        "ID 0100 0001 0000 0000 0002 03777777 00 0001 0001 00 0029 04d0 00000000 0000 00 0029 1000 00008000 0000",
    ),
    (
        "three additional records",
        "ID 0100 0001 0000 0000 0003 03777777 00 0001 0001 00 0029 04d0 00000000 0000 00 0029 04d0 00000000 0000 00 0029 04d0 00000000 0000",
    ),
    ("a record counted and missing", "ID 0100 0001 0000 0000 0001 03777777 00 0001 0001"),
    (
        "a record not counted",
        "ID 0100 0001 0000 0000 0000 03777777 00 0001 0001 00 0029 04d0 00000000 0000",
    ),
    ("bytes behind", "ID 0100 0001 0000 0000 0000 03777777 00 0001 0001 deadbeef"),
    ("a name that is cut", "ID 0100 0001 0000 0000 0000 0377"),
    ("a name without an end", "ID 0100 0001 0000 0000 0000 03777777"),
    ("a question without a class", "ID 0100 0001 0000 0000 0000 03777777 00 0001"),
    ("a question without a type", "ID 0100 0001 0000 0000 0000 03777777 00"),
    ("a pointer to itself", "ID 0100 0001 0000 0000 0000 c00c 0001 0001"),
    ("a pointer forwards", "ID 0100 0001 0000 0000 0000 c00e 03777777 00 0001 0001"),
    ("a pointer into the header", "ID 0100 0001 0000 0000 0000 c004 0001 0001"),
    ("a label of 64 octets", "ID 0100 0001 0000 0000 0000 40 00 0001 0001"),
    ("an extended label", "ID 0100 0001 0000 0000 0000 81 00 0001 0001"),
    (
        "an empty label in the middle",
        "ID 0100 0001 0000 0000 0000 03777777 00 03777777 00 0001 0001",
    ),
    ("a dot in a label", "ID 0100 0001 0000 0000 0000 03772e77 00 0001 0001"),
    ("a zero octet in a label", "ID 0100 0001 0000 0000 0000 03770077 00 0001 0001"),
    ("high octets in a label", "ID 0100 0001 0000 0000 0000 03ffc3a4 04746573 74 00 0001 0001"),
    (
        "a dot in a service's name",
        "ID 0100 0001 0000 0000 0000 0974696c6c2e73686f70 03737663 07636c7573746572 056c6f63616c 00 0001 0001",
    ),
    ("class CH", "ID 0100 0001 0000 0000 0000 0776657273696f6e 0462696e64 00 0010 0003"),
    (
        "class CH at a name that is kept for class IN",
        "ID 0100 0001 0000 0000 0000 03777777 08757073747265616d 0474657374 00 0001 0003",
    ),
    (
        "class ANY",
        "ID 0100 0001 0000 0000 0000 0474696c6c 0473686f70 03737663 07636c7573746572 056c6f63616c 00 0001 00ff",
    ),
    (
        "class NONE",
        "ID 0100 0001 0000 0000 0000 0474696c6c 0473686f70 03737663 07636c7573746572 056c6f63616c 00 0001 00fe",
    ),
    (
        "class 0",
        "ID 0100 0001 0000 0000 0000 0474696c6c 0473686f70 03737663 07636c7573746572 056c6f63616c 00 0001 0000",
    ),
];

/// All questions to a variant about these objects.
pub fn all(variant: &Variant, objects: &[Value]) -> Vec<Question> {
    let depth = variant.depth;
    let mut names = names(objects);
    names.extend(variant.names.iter().map(|name| (*name).to_owned()));
    let mut questions = Vec::new();
    let mut random = fastrand::Rng::with_seed(20);
    for (index, name) in names.iter().enumerate() {
        let types = match depth {
            Depth::Everything if index % EVERY == 0 || STRUCTURE.contains(&name.as_str()) => TYPES,
            Depth::Everything => &TYPES[..MAIN_TYPES],
            Depth::Detailed | Depth::Names => &TYPES[..FEW_TYPES],
        };
        questions.extend(types.iter().map(|qtype| plain(name, *qtype)));
        // One spelling for one type: over all names each meets each.
        questions.push(plain(&mixed(name, &mut random), TYPES[index % FEW_TYPES]));
    }
    if depth != Depth::Names {
        detailed(&mut questions);
    }
    if depth == Depth::Everything {
        mutated(&mut questions);
    }
    // An id of its own each, so that no answer is taken for another one.
    for (index, question) in questions.iter_mut().enumerate() {
        let id = u16::try_from(index % 0xffff).expect("below 65,535").to_be_bytes();
        let length = question.message.len().min(2);
        question.message[..length].copy_from_slice(&id[..length]);
    }
    questions
}

fn plain(name: &str, qtype: u16) -> Question {
    Question {
        what: format!("{name} TYPE{qtype}"),
        message: question(0, name, qtype, None),
        tcp: false,
    }
}

/// Every other letter's case changed at random (draft-vixie-dnsext-dns0x20).
fn mixed(name: &str, random: &mut fastrand::Rng) -> String {
    name.chars()
        .map(|letter| if random.bool() { letter.to_ascii_uppercase() } else { letter })
        .collect()
}

/// Names that stand for one kind of answer each.
const SAMPLES: &[&str] = &[
    "till.shop.svc.cluster.local.",
    "TiLL.shop.SVC.cluster.LocaL.",
    "_http._tcp.h-dual.shop.svc.cluster.local.",
    "h-many.shop.svc.cluster.local.",
    "_http._tcp.h-many.shop.svc.cluster.local.",
    "e-www.shop.svc.cluster.local.",
    "e-big.shop.svc.cluster.local.",
    "missing.shop.svc.cluster.local.",
    "cluster.local.",
    "1.1.96.10.in-addr.arpa.",
    "9.9.20.172.in-addr.arpa.",
    "9.9.9.9.in-addr.arpa.",
    "www.upstream.test.",
    "alias2.upstream.test.",
    "big.upstream.test.",
    "bigtxt.upstream.test.",
    "explained.upstream.test.",
    "plain.upstream.test.",
    "secure.upstream.test.",
    "smalledns.upstream.test.",
    "compressed.upstream.test.",
    "nx.upstream.test.",
    "txtonly.upstream.test.",
    "x.servfail.test.",
    "x.refused.test.",
    ".",
];

/// EDNS, header flags and TCP at the samples.
fn detailed(questions: &mut Vec<Question>) {
    for name in SAMPLES {
        for qtype in [1, 28, 33, 12, 16, 6, 2, 255] {
            let base = question(0, name, qtype, None);
            for (what, opt) in EDNS {
                let mut message = [&base[..], &bytes(opt)].concat();
                message[11] = 1;
                push(questions, format!("{name} TYPE{qtype} {what}"), message);
            }
            for flags in [
                0x0000_u16,
                0x0110,
                0x0120,
                0x0140,
                0x0130,
                0x0180,
                0x0300,
                0x0500,
                0x010f,
                0x0103,
                0x0ff0 & 0x07f0,
            ] {
                let mut message = base.clone();
                message[2..4].copy_from_slice(&flags.to_be_bytes());
                push(questions, format!("{name} TYPE{qtype} flags {flags:04x}"), message);
            }
            push(questions, format!("{name} TYPE{qtype}"), base);
        }
        for opcode in 1..16_u16 {
            let mut message = question(0, name, 1, None);
            message[2..4].copy_from_slice(&(opcode << 11 | 0x0170).to_be_bytes());
            push(questions, format!("{name} opcode {opcode}"), message);
        }
    }
    // Kept by the cache, for the message of another class.
    questions.push(plain("www.upstream.test.", 1));
    for (what, text) in MESSAGES {
        push(questions, (*what).to_owned(), bytes(&text.replace("ID", "0000")));
    }
    // Longer than the 512 octets that are read of a datagram; over TCP there is no such limit.
    for length in [400_u16, 470, 490, 600, 1400, 4000] {
        let mut message = question(0, "till.shop.svc.cluster.local.", 1, Some(1232));
        let end = message.len();
        message[end - 2..].copy_from_slice(&(length + 4).to_be_bytes());
        message.extend_from_slice(&[0, 12]);
        message.extend_from_slice(&length.to_be_bytes());
        message.resize(message.len() + usize::from(length), 0);
        push(questions, format!("padding of {length} octets"), message);
    }
}

/// The message over UDP and over TCP.
fn push(questions: &mut Vec<Question>, what: String, message: Vec<u8>) {
    questions.push(Question { what: what.clone(), message: message.clone(), tcp: false });
    questions.push(Question { what: format!("{what} over TCP"), message, tcp: true });
}

/// Good messages with a few octets changed, cut or doubled; the same ones in every run.
fn mutated(questions: &mut Vec<Question>) {
    let mut random = fastrand::Rng::with_seed(4);
    for round in 0..800 {
        let name = SAMPLES[random.usize(..SAMPLES.len())];
        let edns = random.bool().then_some(1232);
        let mut message = question(0, name, TYPES[random.usize(..TYPES.len())], edns);
        for _ in 0..random.usize(1..4) {
            let at = random.usize(2..message.len());
            match random.u8(..8) {
                0 => message.truncate(at.max(3)),
                1 => message.insert(at, random.u8(..)),
                2 => drop(message.remove(at)),
                3 => message[at] ^= 1 << random.u8(..8),
                4 if at > 12 => {
                    message[at] = [0, 1, 0x3f, 0x40, 0x80, 0xc0, 0xff, b'.'][random.usize(..8)]
                }
                _ => message[at] = random.u8(..),
            }
            if message.len() < 4 {
                break;
            }
        }
        questions.push(Question {
            what: format!("mutation {round} of {name}"),
            message,
            tcp: false,
        });
    }
}

fn bytes(hexadecimal: &str) -> Vec<u8> {
    let digits: Vec<u8> = hexadecimal.bytes().filter(u8::is_ascii_hexdigit).collect();
    let text = |pair: &[u8]| String::from_utf8_lossy(pair).into_owned();
    digits.chunks(2).map(|pair| u8::from_str_radix(&text(pair), 16).expect("digits")).collect()
}

/// Every name that the objects make, names beside them, and names of the upstream server.
fn names(objects: &[Value]) -> BTreeSet<String> {
    let mut names: BTreeSet<String> = STRUCTURE.iter().map(|name| (*name).to_owned()).collect();
    names.extend(Upstream::names());
    for object in objects {
        let name = object["metadata"]["name"].as_str().expect("an object has a name");
        let namespace = object["metadata"]["namespace"].as_str().unwrap_or_default();
        match object["kind"].as_str() {
            Some("Namespace") => {
                names.extend(["svc", "pod"].map(|kind| format!("{name}.{kind}.cluster.local.")));
                names.insert(format!("10-1-2-3.{name}.pod.cluster.local."));
            }
            Some("Service") => {
                service_names(object, &format!("{name}.{namespace}.svc.cluster.local."), &mut names)
            }
            Some("EndpointSlice") => {
                let service = object["metadata"]["labels"]["kubernetes.io/service-name"]
                    .as_str()
                    .unwrap_or("missing");
                slice_names(
                    object,
                    &format!("{service}.{namespace}.svc.cluster.local."),
                    &mut names,
                );
            }
            Some("Pod") => {
                for address in object["status"]["podIPs"].as_array().into_iter().flatten() {
                    let address = address["ip"].as_str().expect("an address is a text");
                    names.insert(reverse(address.parse().expect("an address")));
                    let dashed = address.replace(['.', ':'], "-");
                    let below = [namespace, "missing", "bare"]
                        .map(|namespace| format!("{dashed}.{namespace}.pod.cluster.local."));
                    names.extend(below);
                    names.insert(format!("{dashed}0.{namespace}.pod.cluster.local."));
                    names.insert(format!("_p._t.{dashed}.{namespace}.pod.cluster.local."));
                }
            }
            _ => {}
        }
    }
    names
}

fn service_names(service: &Value, full: &str, names: &mut BTreeSet<String>) {
    let below = ["", "missing.", "_tcp.", "_._tcp.", "_http._tcp.", "http.udp."];
    names.extend(below.map(|labels| format!("{labels}{full}")));
    // As a resolver with a search list asks.
    names.insert(format!("{full}shop.svc.cluster.local."));
    for port in service["spec"]["ports"].as_array().into_iter().flatten() {
        let name = port["name"].as_str().unwrap_or_default();
        let protocol = port["protocol"].as_str().unwrap_or("TCP").to_lowercase();
        names.insert(format!("_{name}._{protocol}.{full}"));
        names.insert(format!("_{name}._{protocol}.x.{full}"));
    }
    for address in
        service["spec"]["clusterIPs"].as_array().into_iter().flatten().filter_map(Value::as_str)
    {
        names.extend(address.parse().ok().map(reverse));
    }
}

fn slice_names(slice: &Value, full: &str, names: &mut BTreeSet<String>) {
    // The endpoints of a large slice are all alike.
    for endpoint in slice["endpoints"].as_array().into_iter().flatten().take(4) {
        let address = endpoint["addresses"][0].as_str().expect("an address is a text");
        names.extend(address.parse().ok().map(reverse));
        let dashed = address.replace(['.', ':'], "-");
        let labels = [
            Some(dashed.as_str()),
            endpoint["hostname"].as_str(),
            endpoint["targetRef"]["name"].as_str(),
        ];
        for label in labels.into_iter().flatten().filter(|label| label.len() < 64) {
            names.insert(format!("{label}.{full}"));
            names.insert(format!("_http._tcp.{label}.{full}"));
        }
        names.insert(format!("{dashed}0.{full}"));
    }
    for port in slice["ports"].as_array().into_iter().flatten() {
        let name = port["name"].as_str().unwrap_or_default();
        names.insert(format!("_{name}._tcp.{full}"));
    }
}

/// Names that no object makes.
const STRUCTURE: &[&str] = &[
    ".",
    "local.",
    "cluster.local.",
    "svc.cluster.local.",
    "pod.cluster.local.",
    "dns.cluster.local.",
    "ns.dns.cluster.local.",
    "ns.dns.CLUSTER.local.",
    "x.ns.dns.cluster.local.",
    "dns-version.cluster.local.",
    "x.dns-version.cluster.local.",
    "ns.dns.cluster.local.cluster.local.",
    "ns.dns.cluster.local.x.cluster.local.",
    "ns.dns.x.cluster.local.",
    "x.2.0.1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.6.9.0.0.0.1.0.0.0.0.d.f.ip6.arpa.",
    "x.cluster.local.",
    "x.y.cluster.local.",
    "x.y.z.cluster.local.",
    "missing.svc.cluster.local.",
    "missing.pod.cluster.local.",
    "x.missing.svc.cluster.local.",
    "*.svc.cluster.local.",
    "*.*.svc.cluster.local.",
    "any.any.svc.cluster.local.",
    "x.shop.pod.cluster.local.",
    "1-2-3.shop.pod.cluster.local.",
    "01-2-3-4.shop.pod.cluster.local.",
    "1-2-3-256.shop.pod.cluster.local.",
    "1-2-3-4-5.shop.pod.cluster.local.",
    "--.shop.pod.cluster.local.",
    "---.shop.pod.cluster.local.",
    "----.shop.pod.cluster.local.",
    "--1.shop.pod.cluster.local.",
    "1--.shop.pod.cluster.local.",
    "-.shop.pod.cluster.local.",
    "1-2-3--4.shop.pod.cluster.local.",
    "1--2--3.shop.pod.cluster.local.",
    "--ffff-1-2-3-4.shop.pod.cluster.local.",
    "--ffff-102-304.shop.pod.cluster.local.",
    "fd00-0-0-0-0-0-0-1.shop.pod.cluster.local.",
    "FD00--00a1.shop.pod.cluster.local.",
    "g000--1.shop.pod.cluster.local.",
    "fe80--1%eth0.shop.pod.cluster.local.",
    "in-addr.arpa.",
    "10.in-addr.arpa.",
    "96.10.in-addr.arpa.",
    "1.96.10.in-addr.arpa.",
    "x.1.96.10.in-addr.arpa.",
    "01.1.96.10.in-addr.arpa.",
    "256.1.96.10.in-addr.arpa.",
    "-1.1.96.10.in-addr.arpa.",
    "1.1.1.96.10.in-addr.arpa.",
    "99.99.96.10.in-addr.arpa.",
    "1.0.96.10.in-addr.arpa.",
    "ip6.arpa.",
    "d.f.ip6.arpa.",
    "0.1.2.ip6.arpa.",
    "arpa.",
    "xn--abc.shop.svc.cluster.local.",
    "under_score.shop.svc.cluster.local.",
    "with space.shop.svc.cluster.local.",
    "semi;colon\"quote.shop.svc.cluster.local.",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab.shop.svc.cluster.local.",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.cluster.local.",
    "a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.svc.cluster.local.",
    "notcluster.local.",
    "cluster.local.test.",
    "www.example.com.",
    "nosuch.test.",
    "4.3.2.192.in-addr.arpa.",
];
