//! Which request messages are answered, refused and dropped, byte for byte, over UDP and TCP.

use crate::support::client::{http_get, question, tcp, udp, udp_silence};
use crate::support::server::TestServer;

/// A request and the answer to it, both in hexadecimal with blanks; `-` is no answer.
struct Case {
    what: &'static str,
    request: &'static str,
    answer: &'static str,
}

const CASES: &[Case] = &[
    Case { what: "shorter than a header", request: "abcd 0100 0001 0000 0000 00", answer: "-" },
    Case {
        what: "a response",
        request: "abcd 8100 0001 0000 0000 0000 03777777 00 0001 0001",
        answer: "-",
    },
    Case {
        what: "an update: not implemented, opcode kept, Z cleared",
        request: "abcd 2970 0001 0000 0000 0000 03777777 00 0006 0001",
        answer: "abcd a934 0000 0000 0000 0000",
    },
    Case {
        what: "two questions",
        request: "abcd 0120 0002 0000 0000 0000 03777777 00 0001 0001 03777777 00 0001 0001",
        answer: "abcd 8121 0000 0000 0000 0000",
    },
    Case {
        what: "no question",
        request: "abcd 0100 0000 0000 0000 0000",
        answer: "abcd 8101 0000 0000 0000 0000",
    },
    Case {
        what: "two answers in a question",
        request: "abcd 0100 0001 0002 0000 0000 03777777 00 0001 0001",
        answer: "abcd 8101 0000 0000 0000 0000",
    },
    Case {
        what: "three additional records",
        request: "abcd 0100 0001 0000 0000 0003 03777777 00 0001 0001",
        answer: "abcd 8101 0000 0000 0000 0000",
    },
    Case {
        what: "one question promised, none there",
        request: "abcd 0100 0001 0000 0000 0000",
        answer: "abcd 8102 0000 0000 0000 0000",
    },
    Case {
        what: "a NOTIFY with nothing to notify of: opcode kept, RD and the other flags not",
        request: "abcd 25b0 0001 0000 0000 0000",
        answer: "abcd a002 0000 0000 0000 0000",
    },
    Case {
        what: "a name that is cut",
        request: "abcd 0100 0001 0000 0000 0000 03 7777",
        answer: "abcd 8101 0000 0000 0000 0000",
    },
    Case {
        what: "an OPT record that is cut: the question comes back",
        request: "abcd 0100 0001 0000 0000 0001 03777777 00 0001 0001 00 0029 1000 0000 0000 0004 00",
        answer: "abcd 8101 0001 0000 0000 0000 03777777 00 0001 0001",
    },
    Case {
        what: "a record promised and not there is tolerated",
        request: "abcd 0100 0001 0000 0000 0001 03777777 00 0001 0001",
        answer: "abcd 8105 0001 0000 0000 0000 03777777 00 0001 0001",
    },
    Case {
        what: "bytes behind the last record are ignored",
        request: "abcd 0100 0001 0000 0000 0000 03777777 00 0001 0001 deadbeef",
        answer: "abcd 8105 0001 0000 0000 0000 03777777 00 0001 0001",
    },
    Case {
        what: "the case of the question is kept",
        request: "abcd 0100 0001 0000 0000 0000 03577757 00 0001 0001",
        answer: "abcd 8105 0001 0000 0000 0000 03577757 00 0001 0001",
    },
    Case {
        what: "another class is refused",
        request: "abcd 0100 0001 0000 0000 0000 03777777 00 0010 0003",
        answer: "abcd 8105 0001 0000 0000 0000 03777777 00 0010 0003",
    },
    Case {
        what: "EDNS version 1: BADVERS with a bare OPT",
        request: "abcd 0100 0001 0000 0000 0001 03777777 00 0001 0001 00 0029 1000 0001 8000 0000",
        answer: "abcd 8100 0001 0000 0000 0001 03777777 00 0001 0001 00 0029 0000 0100 0000 0000",
    },
    Case {
        what: "the client's OPT comes back with its size and DO",
        request: "abcd 0100 0001 0000 0000 0001 03777777 00 0001 0001 00 0029 0064 0000 8000 0000",
        answer: "abcd 8105 0001 0000 0000 0001 03777777 00 0001 0001 00 0029 0064 0000 8000 0000",
    },
    Case {
        what: "a cookie is echoed, a client subnet is not",
        request: "abcd 0100 0001 0000 0000 0001 03777777 00 0001 0001 00 0029 04d0 0000 0000 0017 \
                  000a 0008 0102030405060708 0008 0007 0001 1800 c00002",
        answer: "abcd 8105 0001 0000 0000 0001 03777777 00 0001 0001 00 0029 04d0 0000 0000 000c \
                 000a 0008 0102030405060708",
    },
    Case {
        what: "a client subnet of no address family: the question comes back",
        request: "abcd 0100 0001 0000 0000 0001 03777777 00 0001 0001 00 0029 04d0 0000 0000 000b \
                  0008 0007 0007 1800 c00002",
        answer: "abcd 8101 0001 0000 0000 0000 03777777 00 0001 0001",
    },
    Case {
        what: "a report channel that is no name",
        request: "abcd 0100 0001 0000 0000 0001 03777777 00 0001 0001 00 0029 04d0 0000 0000 0006 \
                  0012 0002 0161",
        answer: "abcd 8101 0001 0000 0000 0000 03777777 00 0001 0001",
    },
    Case {
        what: "an empty report channel",
        request: "abcd 0100 0001 0000 0000 0001 03777777 00 0001 0001 00 0029 04d0 0000 0000 0004 \
                  0012 0000",
        answer: "abcd 8101 0001 0000 0000 0000 03777777 00 0001 0001",
    },
    Case {
        what: "a report channel, which is not echoed",
        request: "abcd 0100 0001 0000 0000 0001 03777777 00 0001 0001 00 0029 04d0 0000 0000 0007 \
                  0012 0003 016100",
        answer: "abcd 8105 0001 0000 0000 0001 03777777 00 0001 0001 00 0029 04d0 0000 0000 0000",
    },
    Case {
        what: "a zone version that is cut",
        request: "abcd 0100 0001 0000 0000 0001 03777777 00 0001 0001 00 0029 04d0 0000 0000 0005 \
                  0013 0001 01",
        answer: "abcd 8101 0001 0000 0000 0000 03777777 00 0001 0001",
    },
    Case {
        what: "RD and CD come back, AD does not",
        request: "abcd 0130 0001 0000 0000 0000 03777777 00 0001 0001",
        answer: "abcd 8115 0001 0000 0000 0000 03777777 00 0001 0001",
    },
    Case {
        what: "NOTIFY goes the way of a query, without RD",
        request: "abcd 2100 0001 0000 0000 0000 03777777 00 0006 0001",
        answer: "abcd a005 0001 0000 0000 0000 03777777 00 0006 0001",
    },
    Case {
        what: "the root",
        request: "abcd 0100 0001 0000 0000 0000 00 0002 0001",
        answer: "abcd 8105 0001 0000 0000 0000 00 0002 0001",
    },
];

fn bytes(hexadecimal: &str) -> Vec<u8> {
    let digits: Vec<u8> = hexadecimal.bytes().filter(u8::is_ascii_hexdigit).collect();
    digits
        .chunks(2)
        .map(|pair| {
            u8::from_str_radix(std::str::from_utf8(pair).expect("digits"), 16).expect("digits")
        })
        .collect()
}

/// A block without a plugin that answers: everything that is admitted is REFUSED.
const COREFILE: &str = ".:PORT {\n    root DIR\n}\n";

#[test]
fn every_request_over_udp_is_answered_as_coredns_answers_it() {
    let server = TestServer::start(COREFILE);
    for case in CASES {
        let request = bytes(case.request);
        let answer = match case.answer {
            "-" => udp_silence(server.address, &request),
            _ => udp(server.address, &request),
        };
        let expected = (case.answer != "-").then(|| bytes(case.answer));
        assert_eq!(answer, expected, "{}", case.what);
    }
}

#[test]
fn every_request_over_tcp_is_answered_alike() {
    let server = TestServer::start(COREFILE);
    for case in CASES.iter().filter(|case| case.answer != "-") {
        assert_eq!(
            tcp(server.address, &bytes(case.request)),
            Some(bytes(case.answer)),
            "{}",
            case.what
        );
    }
}

#[test]
fn a_header_without_its_question_is_counted() {
    let mut server = TestServer::start(".:PORT {\n    prometheus 127.0.0.1:HTTP1\n    whoami\n}\n");
    let port = server.program().admin_addresses()[0].1.port();
    // The worker's memory is that of the question before.
    for request in [question(7, "www", 1, None), bytes("abcd 0100 0001 0000 0000 0000")] {
        assert!(udp(server.address, &request).is_some());
    }
    let metrics = http_get(port, "/metrics");
    for line in [
        r#"requests_total{LABELS,proto="udp",family="1",type="other"} 1"#,
        r#"request_size_bytes_sum{LABELS,proto="udp"} 12"#,
        r#"response_size_bytes_sum{LABELS,proto="udp"} 12"#,
        r#"responses_total{LABELS,rcode="SERVFAIL",plugin=""} 1"#,
    ] {
        let labels = format!(r#"server="dns://:{}",zone="dropped",view="""#, server.address.port());
        let line = format!("coredns_dns_{}\n", line.replace("LABELS", &labels));
        assert!(metrics.contains(&line), "no {line} in:\n{metrics}");
    }
}

#[test]
fn a_datagram_over_512_bytes_is_cut_and_malformed() {
    let server = TestServer::start(COREFILE);
    let mut request = question(7, "www", 1, Some(1232));
    // A padding option that ends behind byte 512 (RFC 7830).
    let end = request.len();
    request[end - 2..].copy_from_slice(&600_u16.to_be_bytes());
    request.extend_from_slice(&[0, 12]);
    request.extend_from_slice(&596_u16.to_be_bytes());
    request.resize(request.len() + 596, 0);
    let answer = udp(server.address, &request).expect("an answer");
    assert_eq!(answer[3] & 15, 1, "FORMERR");
    assert_eq!(answer[5], 1, "with the question");
}

#[test]
fn the_answer_leaves_from_the_address_that_was_asked() {
    let server = TestServer::start(COREFILE);
    for last in [1, 2, 77] {
        let address = std::net::SocketAddr::from(([127, 0, 0, last], server.address.port()));
        // The client checks where the answer comes from.
        assert!(udp(address, &question(7, "www", 1, None)).is_some(), "{address}");
    }
}
