use crate::testing::{configure, refused};

#[test]
fn the_block_is_marked() {
    let configured = configure(".", "debug").unwrap();
    assert!(configured.block.debug);
    assert!(configured.plugin.is_none());
    assert!(!configure(".", "whoami").unwrap().block.debug);
}

#[test]
fn nothing_can_be_configured() {
    refused(
        ".",
        "debug on {\n}",
        "Corefile:2:7: Wrong argument count or unexpected line ending after 'on' (nothing may follow 'debug' here)\n\
         Corefile:2:10: Unexpected token '{' after 'debug' ('debug' takes no block)",
    );
}
