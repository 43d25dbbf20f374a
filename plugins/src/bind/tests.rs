use std::net::Ipv4Addr;

use periplus_core::interfaces::interface_addresses;

use crate::testing::{configure, refused};

/// The listen addresses of a block for two zones and one port.
fn listeners(directives: &str) -> Vec<String> {
    let block = configure("a.org:53 b.org:53", directives).unwrap().block;
    block.listeners().iter().map(ToString::to_string).collect()
}

#[test]
fn addresses_accumulate_and_exceptions_hold_for_their_line() {
    let cases: &[(&str, &[&str])] = &[
        ("bind 127.0.0.1", &["dns://127.0.0.1:53"]),
        ("bind 127.0.0.1 ::1", &["dns://127.0.0.1:53", "dns://[::1]:53"]),
        ("bind 127.0.0.1\nbind 127.0.0.2", &["dns://127.0.0.1:53", "dns://127.0.0.2:53"]),
        ("bind 127.0.0.1 127.0.0.1\nbind 127.0.0.1", &["dns://127.0.0.1:53"]),
        ("bind 0.0.0.0 ::", &["dns://0.0.0.0:53"]),
        ("bind 127.0.0.1 ::1 {\nexcept ::1\n}", &["dns://127.0.0.1:53"]),
        (
            "bind 127.0.0.1 ::1 {\nexcept ::1\n}\nbind ::1",
            &["dns://127.0.0.1:53", "dns://[::1]:53"],
        ),
        ("bind 127.0.0.1 {\nexcept 127.0.0.1\n}", &[]),
    ];
    for (directives, expected) in cases {
        assert_eq!(listeners(directives), *expected, "{directives}");
    }
}

#[test]
fn the_name_of_an_interface_stands_for_all_its_addresses() {
    let all = interface_addresses().unwrap();
    let loopback = all.iter().find(|found| found.address == Ipv4Addr::LOCALHOST).unwrap();
    let name = &loopback.interface;
    let count = all.iter().filter(|found| found.interface == *name).count();
    let bound = listeners(&format!("bind {name} 127.0.0.1"));
    assert_eq!(bound.len(), count);
    assert!(bound.contains(&"dns://127.0.0.1:53".to_owned()));
    assert_eq!(listeners(&format!("bind {name} {{\nexcept 127.0.0.1\n}}")).len(), count - 1);
    assert!(listeners(&format!("bind {name} {{\nexcept {name}\n}}")).is_empty());
}

#[test]
fn the_directive_is_read_or_refused() {
    let cases = [
        (
            "bind",
            "Corefile:2:1: Wrong argument count or unexpected line ending after 'bind' (add an address or the name of an interface)",
        ),
        (
            "bind 1.2.3.invalid 127.0.0.1 nowhere0",
            "Corefile:2:6: not a valid IP address or interface name: \"1.2.3.invalid\"\n\
             Corefile:2:30: not a valid IP address or interface name: \"nowhere0\"",
        ),
        (
            "bind ::1 {\nexcept\nexept ::1\n}",
            "Corefile:3:1: Wrong argument count or unexpected line ending after 'except' (add an address or the name of an interface)\n\
             Corefile:4:1: unknown property 'exept' (did you mean 'except'?)",
        ),
    ];
    for (directives, expected) in cases {
        refused(".", directives, expected);
    }
}
