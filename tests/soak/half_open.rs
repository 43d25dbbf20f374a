//! Peers that are gone without a word, as behind a firewall that forgot them or a node that lost power.

use std::fs;
use std::io::Write;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use crate::Length;
use crate::load::{Names, Stream, clients, run as load};
use crate::server::{Launch, Server, names};
use crate::support::client::{question, read, tcp, write};
use crate::upstream::Upstream;
use crate::wire::Wire;

/// Ten seconds until an idle connection is closed, and as many until the kernel gives up on what nobody acknowledges; else it would take
/// minutes.
const MOST: Duration = Duration::from_secs(30);

/// Connections whose wire is cut at every point of their life.
pub(crate) fn run(length: Length) -> String {
    let wire = Wire::new();
    wire.here(|| cut_off(length, &wire))
}

fn cut_off(length: Length, wire: &Wire) -> String {
    let (count, rate) = if length == Length::Long { (1500, 2000.0) } else { (150, 200.0) };
    let upstream = Upstream::slow(Duration::from_secs(1));
    let server = Server::start(Launch {
        block: &format!("    errors\n    forward . {}", upstream.address),
        ..Launch::default()
    });
    let before = server.descriptors();
    let address = SocketAddr::new(wire.near(), server.address.port());
    let (known, slow) = (question(1, &names()[0], 1, None), question(2, "example.net", 1, None));
    let connections: Vec<TcpStream> = wire.beyond(|| {
        let open = |number: usize| {
            let mut stream = TcpStream::connect(address).expect("the server listens");
            stream.set_read_timeout(Some(Duration::from_secs(5))).expect("a time-out can be set");
            match number % 3 {
                // Asked and answered; in the middle of a question; owed an answer.
                0 => {
                    write(&mut stream, &known);
                    assert!(read(&mut stream).is_some(), "the wire is whole");
                }
                1 => stream.write_all(&[0, 40, 1]).expect("the server reads"),
                _ => write(&mut stream, &slow),
            }
            stream
        };
        (0..count).map(open).collect()
    });
    wire.cut();
    let begun = Instant::now();
    assert_eq!(kernel_connections(address.port(), wire.far()), count);

    let mut streams = [Stream::new(&clients(1, 50), server.address, rate, Names::Known(names()))];
    let (mut gone, mut over_tcp) = (None, 0);
    load(&mut streams, MOST, Duration::from_secs(2), |_| {
        assert!(tcp(server.address, &known).is_some(), "others are served over TCP too");
        over_tcp += 1;
        if gone.is_none() && kernel_connections(address.port(), wire.far()) == 0 {
            gone = Some(begun.elapsed());
        }
    });
    drop(connections);
    let [Stream { tally, .. }] = &streams;
    let after = server.descriptors();
    let found = format!(
        "{count} connections cut: none left in the process nor in the kernel after {}; meanwhile {} of {} questions of others lost over UDP, 0 of {over_tcp} over TCP",
        gone.map_or("all that time".to_owned(), |gone| format!("{} s", gone.as_secs())),
        tally.lost(),
        tally.sent,
    );
    println!("{found}");
    assert!(gone.is_some(), "{} are left", kernel_connections(address.port(), wire.far()));
    assert!(after <= before + 5, "{after} descriptors, {before} before");
    assert_eq!(tally.lost(), 0);
    found
}

/// What the kernel holds for connections of a port with a peer, whether a process has them or not.
fn kernel_connections(port: u16, peer: IpAddr) -> usize {
    // proc(5): `sl local_address rem_address`, addresses as the machine holds them, ports in hexadecimal.
    let IpAddr::V4(peer) = peer else { return 0 };
    let peer = format!("{:08X}:", u32::from_ne_bytes(peer.octets()));
    let port = format!(":{port:04X}");
    let tables =
        ["/proc/thread-self/net/tcp", "/proc/thread-self/net/tcp6"].map(fs::read_to_string);
    let tables = tables.map(Result::unwrap_or_default);
    let lines = tables.iter().flat_map(|table| table.lines().skip(1));
    let fields = lines.map(|line| line.split_ascii_whitespace().collect::<Vec<_>>());
    let is_one = |fields: &Vec<&str>| {
        let [_, local, remote, ..] = fields[..] else { return false };
        // In the table of IPv6 the address is mapped: it ends alike.
        local.ends_with(&port) && remote.contains(&peer)
    };
    fields.filter(is_one).count()
}
