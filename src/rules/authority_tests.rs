use proptest::prelude::*;

use super::*;

fn normalised(text: &str) -> Option<String> {
    Authority::parse(text).map(|authority| authority.as_str().to_owned())
}

fn pattern(text: &str) -> AuthorityPattern {
    AuthorityPattern::parse(text).unwrap()
}

fn matches(rule: &str, request: &str) -> bool {
    Authority::parse(request).is_some_and(|authority| pattern(rule).matches(&authority))
}

#[test]
fn case_usual_ports_and_one_dot_do_not_matter() {
    for (sent, meant) in [
        ("Profiles.Run.App", "profiles.run.app"),
        ("profiles.run.app:443", "profiles.run.app"),
        ("profiles.run.app:80", "profiles.run.app"),
        ("profiles.run.app.", "profiles.run.app"),
        ("profiles.run.app.:443", "profiles.run.app"),
        ("profiles.run.app.:8443", "profiles.run.app:8443"),
        ("localhost:8080", "localhost:8080"),
        ("10.0.0.1", "10.0.0.1"),
        (
            "tag---profiles-abc-uc.a.run.app",
            "tag---profiles-abc-uc.a.run.app",
        ),
    ] {
        assert_eq!(normalised(sent).as_deref(), Some(meant), "{sent}");
        assert!(matches(meant, sent), "{sent}");
        assert!(matches(sent, meant), "{sent}");
    }
}

#[test]
fn evil_authorities_match_nothing() {
    let long_label = format!("{}.run.app", "a".repeat(64));
    let long_host = format!("{}run.app", "abc.".repeat(62));
    for evil in [
        "",
        ".",
        "..",
        ".run.app",
        "a..run.app",
        "a.run.app..",
        "user@a.run.app",
        "user:pw@a.run.app",
        "a.run.app:443:443",
        "a.run.app:",
        "a.run.app:0",
        "a.run.app:0443",
        "a.run.app:+443",
        "a.run.app:65536",
        "a.run.app:99999999999",
        "a.run.app:44 3",
        "a.run.app:٤٤٣",
        "[::1]",
        "[::1]:80",
        "[a.run.app]",
        "%61.run.app",
        "a%2erun.app",
        "a.run.app,b.run.app",
        "a.run.app b",
        " a.run.app",
        "a.run.app\t",
        "a.run.app/",
        "a.run.app/x",
        "a.run.app?x",
        "a.run.app#x",
        "a\\.run.app",
        "evil.com\0.run.app",
        "-a.run.app",
        "a-.run.app",
        "a.-b.run.app",
        "a_b.run.app",
        "*.run.app",
        "ä.run.app",
        "\u{212a}.run.app",
        "a.run.app。",
        "https://a.run.app",
        ":443",
        &long_label,
        &long_host,
    ] {
        assert_eq!(normalised(evil), None, "{evil:?}");
    }
}

#[test]
fn a_star_is_one_or_more_characters_that_leave_valid_labels() {
    assert!(matches("*.a.run.app", "profiles-abc-uc.a.run.app"));
    assert!(matches("*.a.run.app", "two.labels.a.run.app:443"));
    assert!(!matches("*.a.run.app", "a.run.app"));
    assert!(!matches("*.a.run.app", ".a.run.app"));
    assert!(!matches("*.a.run.app", "profiles.a.run.app.evil.com"));
    assert!(!matches("*.a.run.app", "profilesxa.run.app"));
    assert!(!matches("*.a.run.app", "evil.com/.a.run.app"));
    assert!(matches("profiles-*.run.app", "profiles-abc-uc.a.run.app"));
    assert!(!matches("profiles-*.run.app", "profiles-.run.app"));
    assert!(matches("*-uc.*.run.app", "profiles-uc.a.run.app"));
    assert!(matches("*", "anything.example.com") && !matches("*", "anything.example.com:8080"));
}

#[test]
fn another_port_matches_only_a_pattern_that_names_it() {
    assert!(!matches("*.run.app", "a.run.app:8443"));
    assert!(matches("*.run.app:8443", "a.run.app:8443"));
    assert!(!matches("*.run.app:8443", "a.run.app") && !matches("*.run.app:8443", "a.run.app:443"));
    assert!(matches("*.run.app:443", "a.run.app:80"));
}

#[test]
fn only_whole_labels_behind_the_last_star_are_literal() {
    for (rule, labels) in [
        ("*.a.run.app", "a.run.app"),
        ("*run.app", "app"),
        ("profiles-*-uc.a.run.app", "a.run.app"),
        ("a.run.*", ""),
        ("*", ""),
        ("*.Example.com:8443", "example.com"),
        ("profiles.run.app", "profiles.run.app"),
    ] {
        assert_eq!(pattern(rule).literal_labels(), labels, "{rule}");
    }
}

#[test]
fn what_is_wrong_names_what_to_write_instead() {
    let problem = |text| AuthorityPattern::parse(text).unwrap_err().to_string();
    assert_eq!(
        problem("https://a.run.app/x"),
        r#""https://a.run.app/x" is a URL; write only its host, "a.run.app""#
    );
    assert_eq!(
        problem("a.run.app/x/y"),
        r#""a.run.app/x/y" has a path in it; write "authority: a.run.app" and "path: /x/y""#
    );
    assert_eq!(
        problem("a.run.app:*"),
        r#""a.run.app:*" has the port "*"; write a number from 1 to 65535, or leave it out for 80 and 443"#
    );
    for text in [
        "a_b.run.app",
        "-*.run.app",
        "*..run.app",
        "[::1]:80",
        "user@a.run.app",
        ".run.app",
        "a b",
    ] {
        assert!(
            problem(text).starts_with(&format!("{text:?} is no host; write labels")),
            "{text}"
        );
    }
    assert!(problem("").starts_with("is empty"));
}

proptest! {
    #[test]
    fn normalising_twice_is_normalising_once(text in "\\PC{0,20}|[a-zA-Z0-9.:-]{0,20}|[ab.]{1,6}(:(80|443|8080))?") {
        if let Some(once) = normalised(&text) {
            prop_assert_eq!(normalised(&once), Some(once.clone()));
            prop_assert!(once.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b".-:".contains(&b)));
        }
    }

    #[test]
    fn whatever_matches_ends_with_the_literal_labels(
        rule in "[ab*]{1,3}(\\.[ab*]{1,3}){0,3}",
        request in "[ab]{1,3}(\\.[ab]{1,3}){0,4}",
    ) {
        let rule = pattern(&rule);
        let request = Authority::parse(request).unwrap();
        if rule.matches(&request) {
            let labels = rule.literal_labels();
            let end = format!(".{labels}");
            let ends = request.as_str().ends_with(&end);
            prop_assert!(request.as_str() == labels || labels.is_empty() || ends);
        }
    }
}

#[test]
fn a_pattern_is_told_as_it_was_written_and_its_host_is_compared_without_the_port() {
    assert_eq!(pattern("*.Run.App:8443").as_str(), "*.Run.App:8443");
    let matches_host =
        |host: &str| pattern("*.run.app:8443").matches_host(&Authority::parse(host).unwrap());
    assert!(matches_host("a.run.app") && matches_host("a.run.app:9000"));
    assert!(!matches_host("run.app") && !matches_host("a.example.com"));
}
