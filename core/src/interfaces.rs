//! The network interfaces of this machine and their addresses.

use std::io;
use std::net::IpAddr;

/// One address of one interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InterfaceAddress {
    /// The interface's name.
    pub interface: String,
    /// The address.
    pub address: IpAddr,
    /// Number of the interface of an IPv6 link-local address, otherwise 0.
    pub scope: u32,
}

/// All addresses, in the system's order.
pub fn interface_addresses() -> io::Result<Vec<InterfaceAddress>> {
    let mut found = Vec::new();
    for entry in nix::ifaddrs::getifaddrs()? {
        let Some(storage) = &entry.address else { continue };
        let (address, scope) = match (storage.as_sockaddr_in(), storage.as_sockaddr_in6()) {
            (Some(v4), _) => (IpAddr::V4(v4.ip()), 0),
            (_, Some(v6)) => (IpAddr::V6(v6.ip()), v6.scope_id()),
            _ => continue,
        };
        found.push(InterfaceAddress { interface: entry.interface_name, address, scope });
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn the_loopback_address_is_found() {
        let found = interface_addresses().expect("interfaces can be listed");
        assert!(found.iter().any(|entry| entry.address == Ipv4Addr::LOCALHOST), "{found:?}");
    }
}
