//! End to end: the real program in this process, over real sockets on loopback.

#![expect(unreachable_pub, reason = "a test binary has nobody outside to reach for its items")]

mod support;

mod addresses;
mod admin;
mod cluster;
mod command_line;
mod folders;
mod lasting;
mod liveness;
mod messages;
mod mutations;
mod outage;
mod panics;
mod parity;
mod readme;
mod reload;
mod reload_leaks;
mod tcp;
mod tcp_hostile;
mod together;
mod top;
mod upstreams;
mod waiting;
mod workers;
