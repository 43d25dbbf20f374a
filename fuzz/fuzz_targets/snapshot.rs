#![no_main]

use libfuzzer_sys::fuzz_target;

// The property stands beside what it is about, which is private.
fuzz_target!(|input: &[u8]| periplus_plugins::kubernetes::source::snapshot_property::holds(input));
