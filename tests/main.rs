//! End to end: the real program in this process, over real sockets on loopback.

mod support;

mod command_line;
mod folders;
mod messages;
mod readme;
mod reload;
mod tcp;
