//! Batches over loopback. `.ci/memory` runs these with AddressSanitizer.

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use super::{
    BATCH, Batch, Inbox, REQUEST_SIZE, ReturnPath, SmallBlocks, dropped_datagrams,
    give_back_memory, receive_buffer_filled, send_connected, send_late, want_local_address,
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

/// Two sockets connected to each other; the first one does not block.
fn connected() -> (UdpSocket, UdpSocket) {
    let one = UdpSocket::bind("127.0.0.1:0").unwrap();
    let other = UdpSocket::bind("127.0.0.1:0").unwrap();
    one.connect(other.local_addr().unwrap()).unwrap();
    other.connect(one.local_addr().unwrap()).unwrap();
    one.set_nonblocking(true).unwrap();
    other.set_read_timeout(Some(PATIENCE)).unwrap();
    (one, other)
}

#[test]
fn a_connected_socket_sends_and_receives_batches_of_all_sizes() {
    let (one, other) = connected();
    let mut inbox = Inbox::default();
    assert_eq!(inbox.receive(&one).unwrap_err().kind(), ErrorKind::WouldBlock);
    for size in 1..=BATCH + 3 {
        let datagrams: Vec<Vec<u8>> = (0..size)
            .map(|number| datagram(SIZES[(number + size) % SIZES.len()].max(1), number))
            .collect();
        let mut sent = 0;
        while sent < size {
            let rest = datagrams[sent..].iter().map(Vec::as_slice);
            let (count, error) = send_connected(&one, rest);
            assert!((1..=size).contains(&count) && error.is_none(), "{count} {error:?}");
            sent += count;
        }
        for expected in &datagrams {
            let mut received = vec![0; 10_000];
            let length = other.recv(&mut received).unwrap();
            assert_eq!(received[..length], **expected);
            other.send(&received[..length]).unwrap();
        }
        let mut taken = 0;
        while taken < size {
            let count = inbox.receive(&one).unwrap();
            assert!((1..=Inbox::BATCH).contains(&count), "{count}");
            for index in 0..count {
                assert_eq!(inbox.datagram(index), datagrams[taken + index]);
            }
            taken += count;
        }
    }
}

#[test]
fn the_largest_datagram_is_received_whole() {
    let (one, other) = connected();
    let largest = datagram(65_507, 1);
    other.send(&largest).unwrap();
    let mut inbox = Inbox::new();
    assert_eq!(inbox.receive(&one).unwrap(), 1);
    assert!(inbox.datagram(0) == largest);
}

#[test]
fn what_the_system_does_not_send_is_told_and_what_came_before_is_sent() {
    let (one, other) = connected();
    let too_long = vec![0; 70_000];
    let datagrams = [&b"first"[..], &too_long, b"third"];
    let mut sent = 0;
    let mut errors = 0;
    while sent < datagrams.len() {
        let (count, error) = send_connected(&one, datagrams[sent..].iter().copied());
        sent += count + usize::from(error.is_some());
        errors += usize::from(error.is_some());
    }
    assert_eq!(errors, 1);
    for expected in [&b"first"[..], b"third"] {
        let mut received = [0; 64];
        let length = other.recv(&mut received).unwrap();
        assert_eq!(&received[..length], expected);
    }
}

#[test]
fn late_answers_of_several_batches_go_out_together() {
    for way in ways() {
        let (server, client) = sockets(way);
        for count in [0, 1, BATCH, 2 * BATCH + 5] {
            let mut answers = Vec::new();
            let mut bytes = Vec::new();
            for number in 0..count {
                client.send(&datagram(20, number)).unwrap();
                let mut batch = Batch::new();
                assert_eq!(batch.receive(&server).unwrap(), 1);
                let start = bytes.len();
                bytes.extend_from_slice(batch.request(0).0);
                answers.push((batch.return_path(0), start..bytes.len()));
            }
            if count > 2 {
                // The second one is longer than a datagram can be: only that one is lost.
                bytes.resize(100_000, 0);
                answers[1].1 = 0..100_000;
            }
            assert_eq!(send_late(&server, &mut answers, &bytes), usize::from(count > 2));
            for number in (0..count).filter(|number| count <= 2 || *number != 1) {
                let mut response = [0; 64];
                let length = client.recv(&mut response).unwrap();
                assert_eq!(response[..length], datagram(20, number));
            }
        }
    }
}

#[test]
fn taking_what_is_there_does_not_wait() {
    let (server, client) = sockets(ways()[0]);
    let mut batch = Batch::new();
    let begun = std::time::Instant::now();
    assert_eq!(batch.receive_now(&server).unwrap_err().kind(), ErrorKind::WouldBlock);
    assert!(begun.elapsed() < PATIENCE);
    client.send(b"hello").unwrap();
    assert_eq!(batch.receive_now(&server).unwrap(), 1);
    assert_eq!(batch.request(0).0, b"hello");
}

#[test]
fn datagrams_that_find_no_room_are_counted() {
    let (server, client) =
        (UdpSocket::bind("127.0.0.1:0").unwrap(), UdpSocket::bind("127.0.0.1:0").unwrap());
    let address = server.local_addr().unwrap();
    assert_eq!((dropped_datagrams(&server), receive_buffer_filled(&server)), (0, 0.0));
    // The largest buffer that a system gives by default holds some thousands.
    for _ in 0..100_000 {
        client.send_to(&[0; 400], address).unwrap();
        if dropped_datagrams(&server) > 0 {
            assert!(receive_buffer_filled(&server) > 0.9);
            return;
        }
    }
    panic!("100,000 datagrams found room");
}

#[test]
fn memory_can_be_given_back_at_any_time() {
    let kept: Vec<Vec<u8>> = (0..1000).map(|size| vec![7; size * 10]).collect();
    let mut small_blocks = SmallBlocks::default();
    for _ in 0..2 {
        give_back_memory();
        small_blocks.follow();
    }
    assert!(kept.iter().flatten().all(|byte| *byte == 7));
}
