use super::Sql;
use proptest::prelude::*;

/// `text` is true for properties `a=1,b=x`.
#[track_caller]
fn is(text: &str, properties: &str) -> bool {
    let sql = Sql::parse(text).unwrap_or_else(|e| panic!("{text}: {e}"));
    sql.matches(properties.split(',').filter_map(|pair| pair.split_once('=')))
}

#[track_caller]
fn check(text: &str, yes: &[&str], no: &[&str]) {
    for properties in yes {
        assert!(is(text, properties), "{text} should be true for {properties}");
    }
    for properties in no {
        assert!(!is(text, properties), "{text} should not be true for {properties}");
    }
}

#[track_caller]
fn refused(text: &str, at: usize, why: &str) {
    let error = Sql::parse(text).expect_err(text);
    assert!(error.at == at && error.why.contains(why), "{error}");
}

#[test]
fn comparisons() {
    check("a = 1", &["a=1", "a=+1"], &["a=2", "", "b=1"]);
    check("a <> 1", &["a=2"], &["a=1", ""]);
    check("a > 5 and a<=7", &["a=6", "a=7"], &["a=5", "a=8", "a=x", ""]);
    check("5 < a", &["a=6"], &["a=5"]);
    check("a >= -1.5", &["a=-1.5", "a=1e3", "a= 2 "], &["a=-2", "a=one"]);
    check("a = 'it''s'", &["a=it's"], &["a=its"]);
    check("a = TRUE", &["a=true", "a=TRUE"], &["a=false", "a=1"]);
    check("a = b", &["a=x,b=x"], &["a=x,b=y", "a=x"]);
    check("a < b", &["a=9,b=10"], &["a=10,b=9", "a=x,b=y"]);
    check("a > 3000000000", &["a=3000000001"], &["a=5"]);
}

#[test]
fn lists_ranges_texts_and_null() {
    check("a in ('x', 'y')", &["a=x", "a=y"], &["a=z", ""]);
    check("a NOT IN ('x', 'y')", &["a=z"], &["a=x", ""]);
    check("a between 1 and 3", &["a=1", "a=3"], &["a=0", "a=4", ""]);
    check("a not between 1 and 3", &["a=0", "a=4"], &["a=1", "a=3", ""]);
    check("a is null", &["", "b=1"], &["a=1"]);
    check("a IS NOT NULL", &["a=1"], &[""]);
    check("a contains 'bc'", &["a=abcd"], &["a=acb", ""]);
    check("a not contains 'bc'", &["a=acb"], &["a=abc", ""]);
    check("a startswith 'bc' or a endswith 'bc'", &["a=bcd", "a=abc"], &["a=abcd"]);
    check("a NOT STARTSWITH 'b' AND a NOT ENDSWITH 'b'", &["a=aba"], &["a=ba", "a=ab"]);
    check("a contains ''", &[], &["a=x", ""]);
}

#[test]
fn logic_is_three_valued_and_binds_as_usual() {
    check("a = 1 or b = 1 and c = 1", &["a=1", "b=1,c=1"], &["b=1", "c=1"]);
    check("(a = 1 or b = 1) and c = 1", &["a=1,c=1"], &["a=1"]);
    check("not a = 1", &[], &["a=1"]);
    check("not (a = 1)", &["a=2"], &["a=1", ""]);
    check("not (a = 1 and b = 1)", &["a=1,b=2", "a=2,b=1", "b=2"], &["a=1,b=1", ""]);
    check("TRUE", &[""], &[]);
    check("FALSE or NULL", &[], &[""]);
    // What cannot be compared makes the whole condition untrue, even where another part would be enough.
    check("a > 1 or b = 1", &["a=2", "b=1"], &["a=x,b=1"]);
    // A property alone is a text, and a text is not true.
    check("a", &[], &["a=true", "a=1", ""]);
    check("not a", &["a=true"], &[""]);
}

#[test]
fn words_comments_and_numbers() {
    check("/* what */ a = 1 -- that\n and b = 2", &["a=1,b=2"], &["a=1"]);
    check("_a$1 = .5", &["_a$1=0.5"], &[]);
    check("a = 5E1 and b = 7L", &["a=50,b=7"], &["a=50,b=8"]);
    check("a = - - 5", &["a=5"], &[]);
    check("a = +5", &["a=5"], &[]);
}

#[test]
fn refusals_say_where_and_why() {
    refused("", 0, "the end is not expected");
    refused("a = ", 4, "the end is not expected");
    refused("a > 'x'", 7, "only numbers and properties");
    refused("(a > 1) > 2", 11, "only numbers and properties");
    refused("a = NULL", 8, "IS NULL");
    refused("TRUE = 1", 8, "true and false");
    refused("5", 1, "no condition");
    refused("a = 1 garbage", 6, "the name garbage is not expected");
    refused("a = 'x", 4, "closing quote");
    refused("a /* = 1", 2, "comment has no end");
    refused("a ~ 1", 2, "'~' means nothing");
    refused("a in (1)", 6, "a text in quotes is expected, not the number 1");
    refused("'a' in ('x')", 4, "IN wants a property");
    refused("a between 3 and 1", 17, "greater than the second");
    refused("a = 99999999999999999999", 4, "beyond 64 bits");
    refused("a > 0.0", 4, "too large or too small");
    refused(&format!("{}a = 1{}", "(".repeat(65), ")".repeat(65)), 65, "nested more than 64");
    refused(&vec!["a = 1"; 1_000].join(" or "), 4_614, "more than 2048 parts");
    refused(&"x".repeat(16_385), 16_384, "the limit is 16384");
}

proptest! {
    /// Whatever comes, there is an answer and no panic.
    #[test]
    fn any_text_is_parsed_or_refused(
        words in proptest::collection::vec(proptest::sample::select(vec![
            "a", "b", "1", "2.5", "'x'", "(", ")", "and", "or", "not", "=", "<>", "<", ">=", "is", "null", "between",
            "in", ",", "contains", "-", "+", "true", "--", "/*", "'", "é",
        ]), 0..24),
    ) {
        if let Ok(sql) = Sql::parse(&words.join(" ")) {
            sql.matches([("a", "1"), ("b", "x")].into_iter());
        }
    }
}

/// What Apache makes of 1,500 conditions made at random, by `tests/golden/Sql.java`.
#[test]
fn as_apache_does() {
    let recorded = include_str!("../../testdata/sql92.tsv");
    let mut wrong = Vec::new();
    for line in recorded.lines() {
        let [text, properties, result] = line.split('\t').collect::<Vec<_>>()[..] else { panic!("{line}") };
        let pairs = properties.split(';').filter_map(|pair| pair.split_once('='));
        let ours = match Sql::parse(text) {
            Err(_) => "refused",
            Ok(sql) if sql.matches(pairs) => "true",
            Ok(_) => "false",
        };
        if ours != result {
            wrong.push(format!("{line}: {ours}"));
        }
    }
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));
    assert!(recorded.lines().count() > 2_000);
}
