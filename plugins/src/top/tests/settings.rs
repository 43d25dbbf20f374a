//! Corefile text in, settings or an error out.

use periplus_core::corefile::{Directive, parse};

use crate::testing::refused;
use crate::top::settings::Settings;

#[test]
fn the_directive_is_read() {
    // Window in seconds, clients, names, names that do not exist, namespaces.
    let table = [
        ("top", [60, 10, 10, 10, 10]),
        ("top 3", [60, 3, 3, 3, 3]),
        ("top {\n}", [60, 10, 10, 10, 10]),
        ("top 5 {\nwindow 30s\nnames 24\n}", [30, 5, 24, 5, 5]),
        ("top {\nclients 1\nnamespaces 2\nnxdomain 0\nwindow 10m\n}", [600, 1, 10, 0, 2]),
        ("top 0 {\nclients 7\n}", [60, 7, 0, 0, 0]),
    ];
    for (text, expected) in table {
        let directory = std::path::Path::new(".");
        let corefile = parse("Corefile", &format!(". {{\n{text}\n}}\n"), directory)
            .unwrap_or_else(|_| panic!("{text}"));
        let directive: &Directive = &corefile.blocks[0].directives[0];
        let read = Settings::parse(directive).unwrap_or_else(|_| panic!("{text}"));
        let window = read.window.as_secs() as usize;
        let found = [window, read.clients, read.names, read.nxdomain, read.namespaces];
        assert_eq!(found, expected, "{text}");
    }
}

#[test]
fn what_is_wrong_is_refused() {
    let table = [
        ("top 25", "Corefile:2:5: 25 is out of range for a number of entries"),
        ("top many", "Corefile:2:5: 'many' is not a number of entries"),
        (
            "top 1 2",
            "Corefile:2:7: Wrong argument count or unexpected line ending after '2' (nothing may follow '1' here)",
        ),
        ("top\ntop", "Corefile:3:1: this plugin can only be used once per Server Block"),
        (
            "top {\nclients\nnames 25\nwindow 1h\nclient 3\nnxdomain 1 2\n}",
            "Corefile:3:1: Wrong argument count or unexpected line ending after 'clients' (add a number of entries)\n\
             Corefile:4:7: 25 is out of range for a number of entries\n\
             Corefile:5:8: duration '1h' is out of range\n\
             Corefile:6:1: unknown property 'client' (did you mean 'clients'?)\n\
             Corefile:7:12: Wrong argument count or unexpected line ending after '2' (nothing may follow '1' here)",
        ),
        ("top {\nwindow 500ms\n}", "Corefile:3:8: duration '500ms' is out of range"),
    ];
    for (directives, expected) in table {
        refused(".", directives, expected);
    }
}
