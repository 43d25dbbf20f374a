//! Two network namespaces, and a wire between them that can be cut.

use std::fs::File;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::AsFd;
use std::process::Command;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// Nobody's hardware address: what is sent there is lost without a word.
const NOWHERE: &str = "02:00:00:00:00:fe";

/// All of it is gone when it is dropped.
pub(crate) struct Wire {
    /// The namespaces; each one's end of the wire has its name.
    near: String,
    far: String,
}

impl Wire {
    /// Makes them.
    pub(crate) fn new() -> Wire {
        let number = std::process::id() % 100_000;
        let wire = Wire { near: format!("soak-near-{number}"), far: format!("soak-far-{number}") };
        let Wire { near, far } = &wire;
        ip(&format!("netns add {near}"));
        ip(&format!("netns add {far}"));
        ip(&format!("-n {near} link add {near} type veth peer name {far} netns {far}"));
        for (name, address) in [(near, wire.near()), (far, wire.far())] {
            ip(&format!("-n {name} addr add {address}/30 dev {name}"));
            ip(&format!("-n {name} link set {name} up"));
            ip(&format!("-n {name} link set lo up"));
        }
        wire
    }

    /// The address of this end. The network is for tests (RFC 2544), and nobody else is in the namespaces.
    pub(crate) fn near(&self) -> IpAddr {
        Ipv4Addr::new(198, 18, 0, 1).into()
    }

    /// The address of the other end.
    pub(crate) fn far(&self) -> IpAddr {
        Ipv4Addr::new(198, 18, 0, 2).into()
    }

    /// Runs something at this end: threads and processes that it starts, and sockets that it makes, belong there for good.
    pub(crate) fn here<T: Send>(&self, run: impl FnOnce() -> T + Send) -> T {
        within(&self.near, run)
    }

    /// The same at the other end.
    pub(crate) fn beyond<T: Send>(&self, run: impl FnOnce() -> T + Send) -> T {
        within(&self.far, run)
    }

    /// From now on nothing gets through, and neither end is told.
    pub(crate) fn cut(&self) {
        for (name, other) in [(&self.near, self.far()), (&self.far, self.near())] {
            ip(&format!(
                "-n {name} neigh replace {other} lladdr {NOWHERE} dev {name} nud permanent"
            ));
        }
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        for name in [&self.near, &self.far] {
            let _ = Command::new("ip").args(["netns", "del", name]).status();
        }
    }
}

fn within<T: Send>(name: &str, run: impl FnOnce() -> T + Send) -> T {
    let namespace = File::open(format!("/run/netns/{name}")).expect("it was made");
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))
                .expect("root may enter it");
            run()
        });
        thread.join().expect("it runs")
    })
}

/// Runs iproute2's `ip`.
fn ip(arguments: &str) {
    let status = Command::new("ip").args(arguments.split(' ')).status();
    assert!(status.is_ok_and(|status| status.success()), "ip {arguments}");
}
