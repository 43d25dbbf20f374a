//! The name servers of a file in the format of resolv.conf(5).

use std::fs::File;
use std::io::{self, Read};
use std::net::{IpAddr, SocketAddr, SocketAddrV6, ToSocketAddrs};
use std::path::Path;

/// The port of servers named in such a file.
const PORT: u16 = 53;
/// Larger files are something else. The format knows a few lines.
const MOST_BYTES: u64 = 64 * 1024;

/// The servers named in a file, in order. The error names the file and the line.
pub(super) fn read(path: &Path) -> Result<Vec<SocketAddr>, String> {
    let text = read_text(path).map_err(|error| format!("open {}: {error}", path.display()))?;
    parse(&text).map_err(|(line, error)| format!("{}:{line}: {error}", path.display()))
}

fn read_text(path: &Path) -> io::Result<String> {
    let mut bytes = Vec::new();
    File::open(path)?.take(MOST_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MOST_BYTES {
        return Err(io::Error::other(format!("larger than {MOST_BYTES} bytes")));
    }
    // Comments may be written in any encoding.
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// The servers in a text. Lines other than `nameserver` do not matter here; the error comes with its line number.
pub(super) fn parse(text: &str) -> Result<Vec<SocketAddr>, (usize, String)> {
    let mut servers = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let mut words = line.split_whitespace();
        if words.next() != Some("nameserver") {
            continue;
        }
        // Without an address the line says nothing, as in CoreDNS.
        let Some(word) = words.next() else { continue };
        match address(word, PORT) {
            Some(address) => servers.push(address),
            None => return Err((index + 1, format!("nameserver '{word}' is not an IP address"))),
        }
    }
    Ok(servers)
}

/// An IP address, which may have a zone if it is of version 6 (`fe80::1%eth0`, RFC 4007 section 11).
pub(super) fn address(text: &str, port: u16) -> Option<SocketAddr> {
    let Some((address, zone)) = text.split_once('%') else {
        return text.parse().ok().map(|address: IpAddr| SocketAddr::new(address, port));
    };
    let address = address.parse().ok()?;
    let scope = zone.parse().ok().or_else(|| interface_index(text));
    if scope.is_none() {
        tracing::warn!("plugin/forward: there is no network interface '{zone}' for {text}");
    }
    Some(SocketAddrV6::new(address, port, 0, scope.unwrap_or(0)).into())
}

/// The index of the interface in a zoned address. The system's resolver knows it without asking anybody.
fn interface_index(zoned: &str) -> Option<u32> {
    match (zoned, PORT).to_socket_addrs().ok()?.next()? {
        SocketAddr::V6(address) => Some(address.scope_id()),
        SocketAddr::V4(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn servers(text: &str) -> Result<Vec<String>, (usize, String)> {
        Ok(parse(text)?.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn name_servers_are_taken_in_order_and_all_else_is_passed_over() {
        let text = "# nameserver 192.0.2.9\n; nameserver 192.0.2.8\nsearch a.example b.example\n\
                    options ndots:5\nnameserver 192.0.2.1\n\n  nameserver\t2001:db8::1   # second\nnameserver\n\
                    nameserver 192.0.2.2 192.0.2.3\nsortlist 10.0.0.0";
        assert_eq!(servers(text).unwrap(), ["192.0.2.1:53", "[2001:db8::1]:53", "192.0.2.2:53"]);
        assert!(servers("").unwrap().is_empty());
        assert!(servers("\n\u{fffd}\u{0}\n").unwrap().is_empty());
    }

    #[test]
    fn a_line_that_names_no_address_is_an_error_with_its_number() {
        for (text, line, word) in [
            ("nameserver dns.example", 1, "dns.example"),
            ("nameserver 192.0.2.1\n\nnameserver 192.0.2.300\n", 3, "192.0.2.300"),
            ("nameserver 192.0.2.1:5353", 1, "192.0.2.1:5353"),
            ("nameserver 192.0.2.1%eth0", 1, "192.0.2.1%eth0"),
            ("nameserver [2001:db8::1]", 1, "[2001:db8::1]"),
        ] {
            let error = format!("nameserver '{word}' is not an IP address");
            assert_eq!(servers(text), Err((line, error)), "{text}");
        }
    }

    #[test]
    fn a_zone_is_kept_as_the_index_of_its_interface() {
        assert_eq!(servers("nameserver fe80::1%3").unwrap(), ["[fe80::1%3]:53"]);
        // Unknown interfaces are a warning: the other servers are of use.
        assert_eq!(servers("nameserver fe80::1%no-such-interface").unwrap(), ["[fe80::1]:53"]);
    }

    #[test]
    fn errors_name_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("resolv.conf");
        let missing = read(&path).unwrap_err();
        assert!(
            missing.starts_with(&format!("open {}: No such file", path.display())),
            "{missing}"
        );
        std::fs::write(&path, "search x\nnameserver y\n").unwrap();
        assert_eq!(
            read(&path).unwrap_err(),
            format!("{}:2: nameserver 'y' is not an IP address", path.display())
        );
        std::fs::write(&path, vec![b'#'; MOST_BYTES as usize + 1]).unwrap();
        assert!(read(&path).unwrap_err().ends_with("larger than 65536 bytes"));
        std::fs::write(&path, b"# \xff\nnameserver ::1\n").unwrap();
        assert_eq!(read(&path).unwrap(), ["[::1]:53".parse().unwrap()]);
    }
}
