//! The TO words of a stanza.

use std::net::SocketAddr;
use std::path::Path;

use periplus_core::corefile::{Diagnostic, Word, shown};
use periplus_core::name::NameBuf;

use super::resolv_conf;

/// The port of plain DNS.
const PORT: u16 = 53;
/// Schemes that CoreDNS's `forward` has and this one has not yet.
const NOT_YET: [&str; 2] = ["tls", "https"];
/// Schemes that CoreDNS knows but refuses here.
const REFUSED: [&str; 4] = ["grpc", "quic", "https3", "unix"];

/// What one TO word stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Destination {
    /// An address, or those of a file; none if the file names none.
    Addresses(Vec<SocketAddr>),
    /// A host name, whose addresses are looked up once the server runs.
    Host(Host),
}

/// A host name and a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Host {
    /// The name.
    pub(super) name: String,
    /// The port for all its addresses.
    pub(super) port: u16,
}

/// Reads `[dns://]ADDRESS[:PORT]`, a file name, or `[dns://]HOST[:PORT]`. Relative file names begin at `directory`.
pub(super) fn read(word: &Word, directory: &Path) -> Result<Destination, Diagnostic> {
    let rest = without_scheme(word)?;
    let (host, port) = split_port(rest);
    let host = host.trim_matches(['[', ']']);
    if let Some(mut address) = resolv_conf::address(host, PORT) {
        if let Some(port) = port {
            address.set_port(read_port(word, port)?);
        }
        return Ok(Destination::Addresses(vec![address]));
    }
    let path = directory.join(rest);
    if rest.contains('/') || path.is_file() {
        return match resolv_conf::read(&path) {
            Ok(addresses) => Ok(Destination::Addresses(addresses)),
            Err(error) => {
                Err(word.error(format!("not an IP address or file \"{}\": {error}", shown(rest))))
            }
        };
    }
    if !is_host_name(host) {
        let text = shown(&word.text);
        return Err(word
            .error(format!("not an IP address, file, or valid domain: \"{text}\""))
            .with_help("write an address such as 10.0.0.10, 10.0.0.10:5353 or [2001:db8::1]:53, or a file such as /etc/resolv.conf"));
    }
    let port = port.map_or(Ok(PORT), |port| read_port(word, port))?;
    Ok(Destination::Host(Host { name: host.to_owned(), port }))
}

/// Reads `ADDRESS[:PORT]`, as `resolver` takes it.
pub(super) fn read_address(word: &Word) -> Result<SocketAddr, Diagnostic> {
    let (host, port) = split_port(&word.text);
    let mut address =
        resolv_conf::address(host.trim_matches(['[', ']']), PORT).ok_or_else(|| {
            word.error(format!(
                "resolver must be an IP address or IP:port: \"{}\"",
                shown(&word.text)
            ))
        })?;
    if let Some(port) = port {
        address.set_port(read_port(word, port)?);
    }
    Ok(address)
}

fn without_scheme(word: &Word) -> Result<&str, Diagnostic> {
    let text = word.text.as_str();
    let Some((scheme, rest)) = text.split_once("://") else { return Ok(text) };
    let problem = if scheme == "dns" {
        if !rest.is_empty() {
            return Ok(rest);
        }
        word.error(format!("invalid address: \"{}\"", shown(text)))
    } else if NOT_YET.contains(&scheme) {
        word.error(format!(
            "'{scheme}://' upstreams are in CoreDNS, but Periplus does not have them yet"
        ))
        .with_help("plain DNS over UDP and TCP is there: write the address without a scheme")
    } else if REFUSED.contains(&scheme) {
        word.error(format!(
            "'{scheme}' is not supported as a destination protocol in forward: {}",
            shown(text)
        ))
    } else {
        word.error(format!(
            "'{}' is not supported as a destination protocol in forward",
            shown(scheme)
        ))
        .with_note("allowed here: dns")
    };
    Err(problem)
}

/// The port after the last colon, if what stands before is not the beginning of a bare IPv6 address.
fn split_port(text: &str) -> (&str, Option<&str>) {
    match text.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') || host.ends_with(']') => (host, Some(port)),
        _ => (text, None),
    }
}

fn read_port(word: &Word, text: &str) -> Result<u16, Diagnostic> {
    match text.parse() {
        Ok(port) if port > 0 => Ok(port),
        _ => Err(word
            .error(format!("'{}' is not a port", shown(text)))
            .with_note("allowed here: 1 to 65535")),
    }
}

/// Letters, digits, hyphens and underscores in labels; the last label is no number, which a mistyped address has.
fn is_host_name(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let last = text.trim_end_matches('.').rsplit('.').next().unwrap_or_default();
    text.bytes().all(allowed)
        && last.bytes().any(|byte| !byte.is_ascii_digit())
        && NameBuf::parse(text).is_ok()
}
