//! Text and the model it gives.

use super::{model, parse, warnings};

#[test]
fn words_are_split_as_coredns_splits_them() {
    let cases = [
        // White space, of any kind Unicode knows, separates.
        (". {\n whoami\n}", "[.] {[whoami]}"),
        (". {\n\twhoami\t a \u{a0}b\u{2003}c\n}", "[.] {[whoami][a][b][c]}"),
        ("\u{feff}. {\n whoami\n}", "[.] {[whoami]}"),
        (". {\r\n whoami a\r\n}\r\n", "[.] {[whoami][a]}"),
        (". {\n who\rami\n}", "[.] {[whoami]}"),
        // Quotes open a word only at its start, and end it whatever follows.
        (". {\n x \"a b\" c\n}", "[.] {[x][a b][c]}"),
        (". {\n x foo\"bar\"\n}", "[.] {[x][foo\"bar\"]}"),
        (". {\n x \"a\"b\n}", "[.] {[x][a][b]}"),
        (". {\n x \"\" b\n}", "[.] {[x][][b]}"),
        (". {\n x \"#a\" b\n}", "[.] {[x][#a][b]}"),
        // Only a quote is escaped; all else keeps its backslash.
        (
            r#". {
            x "a \"b\" c" d
        }"#,
            r#"[.] {[x][a "b" c][d]}"#,
        ),
        (
            r#". {
            x "\\" "\n" "\\\" b" \" a\b
        }"#,
            r#"[.] {[x][\\][\n][\\" b][\"][a\b]}"#,
        ),
        // Quotes may span lines; what follows is on the line of the closing quote.
        (". {\n x \"a\nb\" c\n y\n}", "[.] {[x][a\nb][c] [y]}"),
        (". {\n x \"a\r\nb\"\n}", "[.] {[x][a\r\nb]}"),
        // Comments.
        ("# c\n. { # c\n # } c\n whoami # c\n} # c", "[.] {[whoami]}"),
        (". {\n whoami#x foo\n}", "[.] {[whoami][foo]}"),
        (". {\n x #\"a\n y\n}", "[.] {[x] [y]}"),
        // Braces count only as whole words.
        ("example.org{ {\n x {y} }z\n}", "[example.org{] {[x][{y}][}z]}"),
        (". {\n x {}\n}", "[.] {[x][{}]}"),
        // Quoted structure is plain text.
        (". {\n x \"{\" \"}\"\n \"import\" y\n}", "[.] {[x][{][}] [import][y]}"),
        ("\"(a)\" \"b,\" {\n x\n}", "[(a)][b,] {[x]}"),
    ];
    for (text, expected) in cases {
        assert_eq!(model(text), expected, "{text:?}");
    }
}

#[test]
fn blocks_are_read_as_coredns_reads_them() {
    let cases = [
        ("", ""),
        ("# nothing\n", ""),
        // Keys.
        ("a.org b.org {\n x\n}", "[a.org][b.org] {[x]}"),
        ("a.org, b.org {\n x\n}", "[a.org][b.org] {[x]}"),
        ("a.org,\nb.org {\n x\n}", "[a.org][b.org] {[x]}"),
        ("a.org , b.org {\n x\n}", "[a.org][b.org] {[x]}"),
        ("a.org\n{\n x\n}", "[a.org] {[x]}"),
        ("a.org {\n}\nb.org {\n}", "[a.org] {}; [b.org] {}"),
        ("a.org {\n} b.org {\n}", "[a.org] {}; [b.org] {}"),
        // Without braces all the rest belongs to one block.
        ("a.org", "[a.org] {}"),
        ("a.org b.org", "[a.org][b.org] {}"),
        ("a.org\nwhoami\nlog . x\n", "[a.org] {[whoami] [log][.][x]}"),
        ("a.org\nx {\n y\n}\nz", "[a.org] {[x] {[y]} [z]}"),
        // Directives and their blocks.
        (". {\n x {\n }\n}", "[.] {[x] {}}"),
        (". {\n x {\n y 1\n z\n }\n x 2\n}", "[.] {[x] {[y][1] [z]} [x][2]}"),
        (". {\n x {\n y {\n z 1\n }\n a\n }\n}", "[.] {[x] {[y] {[z][1]} [a]}}"),
        (". { x\n}", "[.] {[x]}"),
        (". {\n x { y 1\n z }\n}", "[.] {[x] {[y][1] [z]}}"),
        (". {\n x { y { z } }\n}", "[.] {[x] {[y] {[z]}}}"),
        (". {\n import_x\n x import\n}", "[.] {[import_x] [x][import]}"),
    ];
    for (text, expected) in cases {
        assert_eq!(model(text), expected, "{text:?}");
    }
}

#[test]
fn what_is_accepted_but_hardly_meant_is_warned_about() {
    let cases = [
        (". {\n}", ""),
        (
            "a.org{\n whoami\n}\nb.org {\n}",
            "Corefile:3:1: this '}' has no opening brace and ends the server block\n\
             Corefile:1:1: 'a.org{' is read as the name of a zone (write a space before the '{')",
        ),
        (
            "a.org {\n}\n. {\n x {\n y\n }\n",
            "Corefile:6:2: the closing brace of the last server block is missing",
        ),
        (". {\n}\n}\n# end", "Corefile:3:1: this '}' has no opening brace and is ignored"),
        (
            ".\nx\n}\n}",
            "Corefile:3:1: this '}' has no opening brace and ends the server block\n\
             Corefile:4:1: this '}' has no opening brace and is ignored",
        ),
        ("{\n whoami\n}", "Corefile:1:1: this server block has no key and is ignored"),
        ("{$EMPTY} {\n whoami\n}", "Corefile:1:1: this server block has no key and is ignored"),
        (
            ".\nx \"abc\n}",
            "Corefile:2:3: this quote is never closed \
             (close it with '\"'; inside quotes, write '\\\"' for a quote)",
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(warnings(text), expected, "{text:?}");
    }
}

#[test]
fn an_unclosed_quote_ends_with_the_text() {
    assert_eq!(model(".\nx \"abc\\"), "[.] {[x][abc]}");
    assert_eq!(model(".\nx \""), "[.] {[x]}");
}

#[test]
fn words_know_their_places() {
    let corefile = parse(". {\n\tx  ä \"b\nc\" d {\n  y\n }\n}").expect("the text is good");
    let x = &corefile.blocks[0].directives[0];
    let place = |span| corefile.sources.place(span);
    assert_eq!(place(x.name.span), "Corefile:2:2");
    let places: Vec<String> = x.arguments.iter().map(|word| place(word.span)).collect();
    assert_eq!(places, ["Corefile:2:5", "Corefile:2:7", "Corefile:3:4"]);
    assert_eq!(place(x.brace.expect("there is a body")), "Corefile:3:6");
    assert_eq!(place(x.lines()[0].name.span), "Corefile:4:3");
    assert_eq!(place(x.end), "Corefile:5:2");
}
