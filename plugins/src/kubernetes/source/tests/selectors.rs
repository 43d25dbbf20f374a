//! Label selectors.

use crate::kubernetes::source::selector::{Labels, Selector};

fn labels(text: &str) -> Labels {
    let pairs = text.split(' ').filter_map(|pair| pair.split_once('='));
    pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

#[test]
fn selectors_select() {
    let cases = [
        ("", "a=1", true),
        ("a", "a=1", true),
        ("a", "b=1", false),
        ("!a", "a=1", false),
        ("! a", "b=1", true),
        ("a=1", "a=1", true),
        ("a==1", "a=1", true),
        ("a = 1", "a=2", false),
        ("a=", "a=", true),
        ("a=,b", "a= b=1", true),
        ("a!=1", "a=1", false),
        ("a!=1", "b=1", true),
        ("a in (1, 2)", "a=2", true),
        ("a in (1,2)", "a=3", false),
        ("a in (1,2)", "b=1", false),
        ("a in ()", "a=", true),
        ("a notin (1,2)", "a=1", false),
        ("a notin (1,2)", "a=3", true),
        ("a notin (1,2)", "b=1", true),
        ("a=1,b=2", "a=1 b=2", true),
        ("a=1,b=2", "a=1 b=3", false),
        ("example.org/a in (x),!b", "example.org/a=x", true),
        ("in in (in)", "in=in", true),
    ];
    for (text, object, selected) in cases {
        let selector = Selector::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(selector.matches(&labels(object)), selected, "{text} on {object}");
    }
}

#[test]
fn a_mistake_is_named_with_what_is_allowed() {
    let operators = "one of =, ==, !=, in, notin";
    let next = "',' and one more requirement, or the end";
    let cases = [
        ("a b", format!("found \"b\" in the label selector, want {operators}")),
        ("a>1", format!("found \">\" in the label selector, want {operators}")),
        ("a in 1", "found \"1\" in the label selector, want '('".to_owned()),
        ("a in (1", "found \"the end\" in the label selector, want ',' or ')'".to_owned()),
        ("a,", format!("found \",\" in the label selector, want {next}")),
        ("a=1 b", format!("found \"b\" in the label selector, want {next}")),
    ];
    for (text, expected) in cases {
        assert_eq!(
            Selector::parse(text).map_err(|error| error.to_string()),
            Err(expected),
            "{text}"
        );
    }
    for text in [",", "=", "a=@", "-a", "a/", "a=-1", "!", "a=1=2", "a==", "()"] {
        let fine = text == "a==";
        assert_eq!(Selector::parse(text).is_ok(), fine, "{text}");
    }
}
