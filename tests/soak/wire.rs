//! A network namespace beside this one, and a wire to it that can be cut.

use std::fs::File;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::AsFd;
use std::process::Command;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// Nobody's hardware address: what is sent there is lost without a word.
const NOWHERE: &str = "02:00:00:00:00:fe";

/// Both are gone when it is dropped.
pub(crate) struct Wire {
    /// The namespace, and its end of the wire.
    far: String,
    /// This end.
    near: String,
    subnet: u8,
}

impl Wire {
    /// Makes both, with addresses of the network that is for tests (RFC 2544).
    pub(crate) fn new() -> Wire {
        let (number, subnet) = (std::process::id() % 100_000, fastrand::u8(..));
        let wire =
            Wire { far: format!("soak-far-{number}"), near: format!("soak{number}"), subnet };
        let Wire { far, near, .. } = &wire;
        ip(&format!("netns add {far}"));
        ip(&format!("link add {near} type veth peer name {far} netns {far}"));
        ip(&format!("addr add {}/30 dev {near}", wire.near()));
        ip(&format!("link set {near} up"));
        ip(&format!("-n {far} addr add {}/30 dev {far}", wire.far()));
        ip(&format!("-n {far} link set {far} up"));
        wire
    }

    /// The address of this end.
    pub(crate) fn near(&self) -> IpAddr {
        Ipv4Addr::new(198, 18, self.subnet, 1).into()
    }

    /// The address of the other end.
    pub(crate) fn far(&self) -> IpAddr {
        Ipv4Addr::new(198, 18, self.subnet, 2).into()
    }

    /// Runs something in the namespace: sockets that it makes belong there for good.
    pub(crate) fn beyond<T: Send>(&self, run: impl FnOnce() -> T + Send) -> T {
        let namespace = File::open(format!("/run/netns/{}", self.far)).expect("it was made");
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))
                    .expect("root may enter it");
                run()
            });
            thread.join().expect("it runs")
        })
    }

    /// From now on nothing gets through, and neither end is told.
    pub(crate) fn cut(&self) {
        let Wire { far, near, .. } = self;
        ip(&format!("neigh replace {} lladdr {NOWHERE} dev {near} nud permanent", self.far()));
        ip(&format!(
            "-n {far} neigh replace {} lladdr {NOWHERE} dev {far} nud permanent",
            self.near()
        ));
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        // Takes the wire away with it, once the last socket there is closed; so this end goes first.
        let _ = Command::new("ip").args(["link", "del", &self.near]).status();
        let _ = Command::new("ip").args(["netns", "del", &self.far]).status();
    }
}

/// Runs iproute2's `ip`.
fn ip(arguments: &str) {
    let status = Command::new("ip").args(arguments.split(' ')).status();
    assert!(status.is_ok_and(|status| status.success()), "ip {arguments}");
}
