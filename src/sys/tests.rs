//! Batches over loopback. `.ci/memory` runs these with AddressSanitizer.

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use super::{
    BATCH, Batch, Inbox, REQUEST_SIZE, ReturnPath, send_connected, send_late, want_local_address,
};

const PATIENCE: Duration = Duration::from_secs(5);

/// Addresses to serve on, to ask, and to ask from: both families, one address and all of them.
fn ways() -> Vec<(SocketAddr, IpAddr, IpAddr)> {
    let v4 = |last| IpAddr::from(Ipv4Addr::new(127, 0, 0, last));
    let v6 = IpAddr::from(Ipv6Addr::LOCALHOST);
    let mut ways = vec![
        (SocketAddr::new(v4(1), 0), v4(1), v4(1)),
        (SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), 0), v4(2), v4(3)),
    ];
    // Containers may be without IPv6.
    if UdpSocket::bind((v6, 0)).is_ok() {
        let any = SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), 0);
        ways.extend([(SocketAddr::new(v6, 0), v6, v6), (any, v6, v6), (any, v4(2), v4(1))]);
    }
    ways
}

/// A server's socket, and a client's that is connected to it: it hears only what comes from the address that it asked.
fn sockets((serve, ask, from): (SocketAddr, IpAddr, IpAddr)) -> (UdpSocket, UdpSocket) {
    let server = UdpSocket::bind(serve).unwrap();
    want_local_address(&server, serve.is_ipv6()).unwrap();
    server.set_read_timeout(Some(PATIENCE)).unwrap();
    let client = UdpSocket::bind((from, 0)).unwrap();
    client.connect((ask, server.local_addr().unwrap().port())).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    (server, client)
}

/// A datagram that tells its length and number.
fn datagram(length: usize, number: usize) -> Vec<u8> {
    (0..length).map(|at| (at * 7 + number) as u8).collect()
}

const SIZES: [usize; 12] = [0, 1, 2, 3, 12, 63, 255, 511, 512, 513, 1400, 9000];

#[test]
fn batches_of_all_sizes_come_whole_and_go_back_to_who_sent_them() {
    for way in ways() {
        let (server, client) = sockets(way);
        let mut batch = Batch::new();
        for size in 1..=BATCH + 3 {
            let lengths: Vec<usize> =
                (0..size).map(|one| SIZES[(one + size) % SIZES.len()]).collect();
            for (number, length) in lengths.iter().enumerate() {
                client.send(&datagram(*length, number)).unwrap();
            }
            let mut taken = 0;
            while taken < size {
                let count = batch.receive(&server).unwrap();
                assert!((1..=BATCH).contains(&count), "{count}");
                let mut responses = Vec::new();
                for index in 0..count {
                    let (request, peer, local) = batch.request(index);
                    let number = taken + index;
                    let mut expected = datagram(lengths[number], number);
                    expected.truncate(REQUEST_SIZE);
                    assert_eq!(request, expected);
                    assert_eq!(peer, Some(client.local_addr().unwrap()));
                    assert_eq!(local, Some(way.1));
                    let start = responses.len();
                    responses.extend(datagram(SIZES[number % SIZES.len()], number));
                    // Every fifth stays without an answer.
                    if number % 5 != 4 {
                        batch.queue(index, start..responses.len());
                    }
                }
                // A worker's batch may have been moved since it was filled.
                let mut moved = batch;
                assert_eq!(moved.send(&server, &responses), 0);
                batch = moved;
                taken += count;
            }
            for number in (0..size).filter(|number| number % 5 != 4) {
                let mut response = vec![0; 10_000];
                let length = client.recv(&mut response).unwrap();
                assert_eq!(response[..length], datagram(SIZES[number % SIZES.len()], number));
            }
        }
    }
}

#[test]
fn an_answer_can_be_sent_when_its_batch_is_gone() {
    for way in ways() {
        let (server, client) = sockets(way);
        let clients: Vec<UdpSocket> = (0..5)
            .map(|_| {
                let another = UdpSocket::bind((way.2, 0)).unwrap();
                another.connect(client.peer_addr().unwrap()).unwrap();
                another.set_read_timeout(Some(PATIENCE)).unwrap();
                another
            })
            .collect();
        let mut paths: Vec<(Vec<u8>, ReturnPath)> = Vec::new();
        for (number, client) in clients.iter().enumerate() {
            client.send(&datagram(20, number)).unwrap();
            let mut batch = Batch::new();
            assert_eq!(batch.receive(&server).unwrap(), 1);
            paths.push((batch.request(0).0.to_vec(), batch.return_path(0)));
        }
        // From the last to the first, on another thread.
        let sender = server.try_clone().unwrap();
        std::thread::spawn(move || {
            for (request, path) in paths.iter().rev() {
                path.send(&sender, request).unwrap();
            }
        })
        .join()
        .unwrap();
        for (number, client) in clients.iter().enumerate() {
            let mut response = [0; 64];
            let length = client.recv(&mut response).unwrap();
            assert_eq!(response[..length], datagram(20, number));
        }
    }
}

#[test]
fn a_datagram_that_cannot_be_sent_harms_no_other() {
    for way in ways() {
        let (server, client) = sockets(way);
        for number in 0..4 {
            client.send(&datagram(30, number)).unwrap();
        }
        let mut batch = Batch::new();
        let mut taken = 0;
        while taken < 4 {
            let count = batch.receive(&server).unwrap();
            // The second of four is longer than a datagram can be.
            let responses = vec![7; 100_000];
            for index in 0..count {
                batch.queue(
                    index,
                    if taken + index == 1 { 0..100_000 } else { 0..taken + index + 1 },
                );
            }
            let is_second = (taken..taken + count).contains(&1);
            assert_eq!(batch.send(&server, &responses), usize::from(is_second));
            taken += count;
        }
        for length in [1, 3, 4] {
            assert_eq!(client.recv(&mut [0; 64]).unwrap(), length);
        }
        assert_eq!(batch.send(&server, &[]), 0, "nothing is queued any more");
    }
}

#[test]
fn waiting_ends_with_the_sockets_time_out() {
    for way in ways() {
        let (server, client) = sockets(way);
        server.set_read_timeout(Some(Duration::from_millis(10))).unwrap();
        let mut batch = Batch::new();
        for _ in 0..2 {
            let error = batch.receive(&server).unwrap_err().kind();
            assert!(matches!(error, ErrorKind::WouldBlock | ErrorKind::TimedOut), "{error}");
        }
        // It can be used after that as before.
        client.send(b"hello").unwrap();
        assert_eq!(batch.receive(&server).unwrap(), 1);
        assert_eq!(batch.request(0).0, b"hello");
    }
}

#[test]
fn without_packet_information_requests_have_no_local_address_and_are_answered() {
    let server = UdpSocket::bind("127.0.0.1:0").unwrap();
    server.set_read_timeout(Some(PATIENCE)).unwrap();
    let client = UdpSocket::bind("127.0.0.1:0").unwrap();
    client.connect(server.local_addr().unwrap()).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut batch = Batch::default();
    for number in 0..3 {
        client.send(&datagram(100, number)).unwrap();
        assert_eq!(batch.receive(&server).unwrap(), 1);
        assert_eq!(batch.request(0), (&datagram(100, number)[..], client.local_addr().ok(), None));
        batch.queue(0, 1..4);
        assert_eq!(batch.send(&server, b"xyesx"), 0);
        let mut response = [0; 8];
        assert_eq!(client.recv(&mut response).unwrap(), 3);
        assert_eq!(response[..3], *b"yes");
    }
}

#[test]
fn connected_sockets_carry_datagrams_of_all_sizes_in_batches() {
    for way in ways() {
        let (server, client) = sockets(way);
        let mut inbox = Inbox::new();
        for size in [1, 2, Inbox::BATCH - 1, Inbox::BATCH, Inbox::BATCH + 1, BATCH] {
            let datagrams: Vec<Vec<u8>> =
                (0..size).map(|one| datagram(SIZES[(one + size) % SIZES.len()], one)).collect();
            // Small ones by the dozen, so that the socket's buffer has room for all.
            let (sent, error) = send_connected(&client, datagrams.iter().map(Vec::as_slice));
            assert!(error.is_none(), "{error:?}");
            assert_eq!(sent, size);
            let mut taken = 0;
            while taken < size {
                let count = inbox.receive(&server).unwrap();
                for index in 0..count {
                    assert_eq!(inbox.datagram(index), datagrams[taken + index]);
                }
                taken += count;
            }
            assert_eq!(inbox.receive(&server).unwrap_err().kind(), ErrorKind::WouldBlock);
        }
    }
}

#[test]
fn the_largest_datagram_fits_and_a_larger_one_stops_what_comes_after_it() {
    for way in ways() {
        let (server, client) = sockets(way);
        let most = datagram(65_507, 1);
        let too_long = vec![0; 70_000];
        let (sent, error) = send_connected(&client, [&most[..], &too_long, &most].into_iter());
        assert_eq!(sent, 1);
        assert!(error.is_some());
        let mut inbox = Inbox::default();
        assert_eq!(inbox.receive(&server).unwrap(), 1);
        assert!(inbox.datagram(0) == most);
        assert_eq!(send_connected(&client, std::iter::empty()).0, 0);
    }
}

#[test]
fn late_answers_go_out_together_and_one_that_cannot_harms_no_other() {
    for way in ways() {
        let (server, client) = sockets(way);
        let mut batch = Batch::new();
        let mut answers: Vec<(ReturnPath, _)> = Vec::new();
        let size = 2 * BATCH + 5;
        for number in 0..size {
            client.send(&datagram(30, number)).unwrap();
            assert_eq!(batch.receive(&server).unwrap(), 1);
            // The fourth is longer than a datagram can be.
            let range = if number == 3 { 0..90_000 } else { 0..number };
            answers.push((batch.return_path(0), range));
        }
        let bytes = vec![7; 90_000];
        send_late(&server, &mut answers, &bytes);
        for length in (0..size).filter(|length| *length != 3) {
            assert_eq!(client.recv(&mut [0; 256]).unwrap(), length);
        }
        send_late(&server, &mut [], &bytes);
    }
}
