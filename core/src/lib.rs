//! core

pub mod corefile;
