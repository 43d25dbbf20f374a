//! End to end: the real program in this process, over real sockets on loopback.

#![expect(unreachable_pub, reason = "a test binary has nobody outside to reach for its items")]

mod support;

mod admin;
mod cluster;
mod command_line;
mod folders;
mod messages;
mod outage;
mod parity;
mod readme;
mod reload;
mod tcp;
mod together;
mod waiting;
