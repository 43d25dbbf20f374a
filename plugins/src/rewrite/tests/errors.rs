//! What is refused, and in which words.

use periplus_core::corefile::{Diagnostics, parse};

use super::super::setup::read_rule;
use crate::testing::{configure, refused};

#[test]
fn a_wrong_rule_is_refused_with_what_would_be_right() {
    let cases = [
        (
            "rewrite",
            "Corefile:2:1: Wrong argument count or unexpected line ending after 'rewrite' (add continue, stop or a rule type)",
        ),
        (
            "rewrite stop",
            "Corefile:2:9: Wrong argument count or unexpected line ending after 'stop' (add a rule type)",
        ),
        (
            "rewrite continue",
            "Corefile:2:9: Wrong argument count or unexpected line ending after 'continue' (add a rule type)",
        ),
        ("rewrite nme a b", "Corefile:2:9: invalid rule type \"nme\" (did you mean 'name'?)"),
        ("rewrite stop nam a b", "Corefile:2:14: invalid rule type \"nam\" (did you mean 'name'?)"),
        (
            "rewrite answer name a b",
            "Corefile:2:9: response rewrites must begin with a name rule (write 'answer' after the name rule whose response it changes)",
        ),
        (
            "rewrite name a",
            "Corefile:2:14: Wrong argument count or unexpected line ending after 'a' (add a name)",
        ),
        ("rewrite name a..b c", "Corefile:2:14: 'a..b' is not a domain name: empty label"),
        (
            "rewrite name .a.test b.test",
            "Corefile:2:14: '.a.test' is not a domain name: empty label (use the match 'suffix' for the end of a name)",
        ),
        ("rewrite name a \\400", "Corefile:2:16: '\\400' is not a domain name: bad escape"),
        (
            "rewrite name sufix a b",
            "Corefile:2:14: name rule supports only exact, prefix, suffix, substring, and regex name matching, received: sufix (did you mean 'suffix'?)",
        ),
        (
            "rewrite name a.test b.test answer auto",
            "Corefile:2:14: name rule supports only exact, prefix, suffix, substring, and regex name matching, received: a.test (the match must be given when more than two words follow 'name')",
        ),
        ("rewrite name regex a{0 b", "Corefile:2:20: invalid regex matching pattern: a{0"),
        (
            "rewrite name regex (a) {1}{2}",
            "Corefile:2:24: the rewrite regex pattern ({1}{2}) uses more subexpressions than its corresponding matching regex pattern ((a))",
        ),
        (
            "rewrite name exact a b extra",
            "Corefile:2:24: exceeded the number of arguments for a non-answer rule argument for exact rule",
        ),
        (
            "rewrite name suffix a b answer",
            "Corefile:2:25: Wrong argument count or unexpected line ending after 'answer' (add auto, name or value)",
        ),
        (
            "rewrite name suffix a b answer none",
            "Corefile:2:32: invalid type \"none\" for answer rule for suffix rule (did you mean 'name'?)",
        ),
        (
            "rewrite name suffix a b answer name x",
            "Corefile:2:37: Wrong argument count or unexpected line ending after 'x' (add a replacement)",
        ),
        (
            "rewrite name suffix a b answer name ( x",
            "Corefile:2:37: invalid regex matching pattern: (",
        ),
        (
            "rewrite name suffix a b answer auto name x y",
            "Corefile:2:37: auto name answer rule cannot be combined with explicit name answer rules",
        ),
        (
            "rewrite type A",
            "Corefile:2:14: Wrong argument count or unexpected line ending after 'A' (add a record type)",
        ),
        ("rewrite type A AAAAA", "Corefile:2:16: invalid type \"AAAAA\" (did you mean 'AAAA'?)"),
        (
            "rewrite type TXT A MX",
            "Corefile:2:20: Wrong argument count or unexpected line ending after 'MX' (nothing may follow 'A' here)",
        ),
        ("rewrite class IN XX", "Corefile:2:18: invalid class \"XX\""),
        (
            "rewrite ttl a.test",
            "Corefile:2:13: Wrong argument count or unexpected line ending after 'a.test' (add a TTL)",
        ),
        ("rewrite ttl a.test x", "Corefile:2:20: invalid TTL 'x' for a ttl rule"),
        ("rewrite ttl a.test 10-5", "Corefile:2:20: invalid TTL '10-5' for a ttl rule"),
        ("rewrite ttl a.test -", "Corefile:2:20: invalid TTL '-' for a ttl rule"),
        ("rewrite ttl a.test 1-2-3", "Corefile:2:20: invalid TTL '1-2-3' for a ttl rule"),
        ("rewrite ttl a.test +1", "Corefile:2:20: invalid TTL '+1' for a ttl rule"),
        ("rewrite ttl a.test 4294967296", "Corefile:2:20: invalid TTL '4294967296' for a ttl rule"),
        (
            "rewrite ttl all a.test 5",
            "Corefile:2:13: ttl rule supports only exact, prefix, suffix, substring, and regex name matching, received: all",
        ),
        (
            "rewrite ttl exact a.test 5 6",
            "Corefile:2:28: Wrong argument count or unexpected line ending after '6' (nothing may follow '5' here)",
        ),
        (
            "rewrite rcode a.test SERVFAIL",
            "Corefile:2:22: Wrong argument count or unexpected line ending after 'SERVFAIL' (add a response code)",
        ),
        (
            "rewrite rcode a.test SERVFIAL NOERROR",
            "Corefile:2:22: invalid matching RCODE 'SERVFIAL' for a rcode rule (did you mean 'SERVFAIL'?)",
        ),
        (
            "rewrite rcode a.test 2 24",
            "Corefile:2:24: invalid replacement RCODE '24' for a rcode rule",
        ),
        (
            "rewrite rcode all a.test 2 0",
            "Corefile:2:15: rcode rule supports only exact, prefix, suffix, substring, and regex name matching, received: all",
        ),
        (
            "rewrite rcode exact a.test 2 0 1",
            "Corefile:2:32: Wrong argument count or unexpected line ending after '1' (nothing may follow '0' here)",
        ),
        (
            "rewrite cname a",
            "Corefile:2:15: Wrong argument count or unexpected line ending after 'a' (add a name)",
        ),
        ("rewrite cname all a b", "Corefile:2:15: unknown cname rewrite type: all"),
        ("rewrite cname regex ( b", "Corefile:2:21: invalid regex matching pattern: ("),
        (
            "rewrite edns0",
            "Corefile:2:9: Wrong argument count or unexpected line ending after 'edns0' (add local, nsid or subnet)",
        ),
        (
            "rewrite edns0 local",
            "Corefile:2:15: Wrong argument count or unexpected line ending after 'local' (add append, replace, set or unset)",
        ),
        ("rewrite edns0 local add 1 x", "Corefile:2:21: invalid action: \"add\""),
        (
            "rewrite edns0 locl set 1 x",
            "Corefile:2:15: invalid rule type \"locl\" (did you mean 'local'?)",
        ),
        ("rewrite edns0 local set 65536 x", "Corefile:2:25: '65536' is not an option code"),
        (
            "rewrite edns0 local set 1",
            "Corefile:2:25: Wrong argument count or unexpected line ending after '1' (add the option's data)",
        ),
        ("rewrite edns0 local set 1 0xabc", "Corefile:2:27: '0xabc' is not hexadecimal data"),
        (
            "rewrite edns0 local set 1 {client}",
            "Corefile:2:27: unsupported variable name \"{client}\" (did you mean '{client_ip}'?)",
        ),
        ("rewrite edns0 local set 1 {/x}", "Corefile:2:27: unsupported variable name \"{/x}\""),
        ("rewrite edns0 local set 1 x y", "Corefile:2:29: unexpected 'y'"),
        (
            "rewrite edns0 local set 1 x revert y",
            "Corefile:2:36: Wrong argument count or unexpected line ending after 'y' (nothing may follow 'revert' here)",
        ),
        (
            "rewrite edns0 local unset 1 revert",
            "Corefile:2:29: Wrong argument count or unexpected line ending after 'revert' (nothing may follow '1' here)",
        ),
        (
            "rewrite edns0 nsid set revret",
            "Corefile:2:24: unexpected 'revret' (did you mean 'revert'?)",
        ),
        (
            "rewrite edns0 subnet set 24",
            "Corefile:2:26: Wrong argument count or unexpected line ending after '24' (add a number of IPv6 bits)",
        ),
        ("rewrite edns0 subnet set 33 56", "Corefile:2:26: '33' is not a number of IPv4 bits"),
        ("rewrite edns0 subnet set 24 129", "Corefile:2:29: '129' is not a number of IPv6 bits"),
        (
            "rewrite edns0 subnet unset 24 56",
            "Corefile:2:28: Wrong argument count or unexpected line ending after '24' (nothing may follow 'unset' here)",
        ),
        (
            "rewrite name a b {\nanswer auto\n}",
            "Corefile:2:18: Unexpected token '{' after 'rewrite' (a block may follow 'rewrite' itself or one word after it)",
        ),
        (
            "rewrite stop {\nname a b {\n}\n}",
            "Corefile:3:10: Unexpected token '{' after 'name' ('name' takes no block)",
        ),
        (
            "rewrite { }",
            "Corefile:2:1: Wrong argument count or unexpected line ending after 'rewrite' (add continue, stop or a rule type)",
        ),
        (
            "rewrite nme a b\nrewrite ttl a x",
            "Corefile:2:9: invalid rule type \"nme\" (did you mean 'name'?)\nCorefile:3:15: invalid TTL 'x' for a ttl rule",
        ),
    ];
    for (rules, expected) in cases {
        refused(".", rules, expected);
    }
}

#[test]
fn what_is_allowed_stands_below_the_word() {
    let cases = [
        (
            "rewrite nme a b",
            "allowed here: continue, stop, name, type, class, edns0, ttl, rcode, cname",
        ),
        ("rewrite stop nme a b", "allowed here: name, type, class, edns0, ttl, rcode, cname"),
        ("rewrite name same a b", "allowed here: exact, prefix, suffix, substring, regex"),
        ("rewrite name suffix a b answer all", "allowed here: auto, name, value"),
        ("rewrite name regex (a {1}", "unclosed group"),
        ("rewrite name regex (a) {1}{2}", "this has 1"),
        ("rewrite type A X", "all other types are known by mnemonic or as TYPE and a number, too"),
        (
            "rewrite ttl a x",
            "allowed here: seconds as N, MIN-MAX, MIN- or -MAX, with MIN not above MAX",
        ),
        ("rewrite rcode a x 0", "or a number from 0 to 23"),
        (
            "rewrite edns0 local set 99999 x",
            "allowed here: 0 to 65535, decimal or after 0x, 0o or 0b",
        ),
        ("rewrite edns0 subnet set 33 0", "allowed here: 0 to 32, decimal or after 0x, 0o or 0b"),
    ];
    for (rules, expected) in cases {
        let text = format!(". {{\n{rules}\n}}");
        let corefile = parse("Corefile", &text, std::path::Path::new(".")).ok().unwrap();
        let error = read_rule(&corefile.blocks[0].directives[0]).err().unwrap();
        let rendered = Diagnostics::from(error).render(&corefile.sources);
        assert!(rendered.contains(expected), "{rendered}");
    }
}

#[test]
fn a_regular_expression_is_bounded() {
    let long = format!("rewrite ttl regex {} 5", "a".repeat(10_001));
    refused(".", &long, "Corefile:2:19: regex pattern too long: 10001 > 10000");
    let big = r"rewrite ttl regex ((\pL{100}){100}){100} 5";
    refused(
        ".",
        big,
        r"Corefile:2:19: regex pattern needs too much memory: ((\pL{100}){100}){100}",
    );
}

#[test]
fn a_rule_may_be_written_in_any_of_these_ways() {
    for rules in [
        "rewrite NAME EXACT a b",
        "rewrite STOP Type a TYPE28",
        "rewrite class CH in",
        "rewrite stop {\nname suffix .a .b\nanswer auto\nanswer value (.*) {1}\n}",
        "rewrite {\nname a b\n}",
        "rewrite name {\na b\n}",
        "rewrite continue {\nttl regex (.*)\\.coredns\\.rocks 15\n}",
        "rewrite rcode a BADSIG 16",
        "rewrite edns0 LOCAL Set 0XFFEE 0x",
        "rewrite edns0 local set 0b11 {qname} revert",
        "rewrite edns0 local set 0o17 {a/b/c}",
        "rewrite name suffix .arpa .arpa answer name auto answer value (.*)\\.consul\\. {1}.rocks.",
    ] {
        assert!(configure(".", rules).is_ok(), "{rules}");
    }
}
