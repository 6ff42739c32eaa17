use proptest::prelude::*;

use super::*;
use crate::rules::Authority;

fn parse(text: &str, authority: Option<&str>) -> Result<Template, TemplateError> {
    let authority = authority.map(|text| AuthorityPattern::parse(text).unwrap());
    Template::parse(text, authority.as_ref())
}

fn problem(text: &str, authority: Option<&str>) -> String {
    parse(text, authority).unwrap_err().to_string()
}

#[test]
fn placeholders_are_filled_from_the_request() {
    let template = parse("https://{authority}", Some("*.a.run.app")).unwrap();
    let audience = template.derive(Some("profiles.a.run.app"), None).unwrap();
    assert_eq!(audience.as_str(), "https://profiles.a.run.app");
    assert!(!template.needs_path());

    let template = parse("https://x.cloudfunctions.net/{path_segment}", None).unwrap();
    let audience = template.derive(None, Some("r%2Fs")).unwrap();
    assert_eq!(audience.as_str(), "https://x.cloudfunctions.net/r%2Fs");
    assert!(template.needs_path());
}

#[test]
fn what_is_derived_is_validated_like_any_other() {
    let template = parse("https://x.net/{path_segment}", None).unwrap();
    assert!(matches!(
        template.derive(None, Some(&"a".repeat(2048))),
        Err(AudienceError::TooLong(_))
    ));
    assert!(matches!(
        template.derive(None, Some("a\nb")),
        Err(AudienceError::ControlCharacter(_))
    ));
    assert!(matches!(
        template.derive(None, Some("{a}")),
        Err(AudienceError::Bracket(_))
    ));
}

#[test]
fn a_client_must_not_choose_the_audience() {
    let open = |pattern| problem("https://{authority}", Some(pattern));
    for pattern in [
        "*",
        "*.app",
        "*run.app",
        "a.run.*",
        "localhost",
        "*.app:8443",
    ] {
        assert!(
            open(pattern).contains("at least two literal labels"),
            "{pattern}"
        );
        assert!(
            open(pattern).contains(&format!("{pattern:?} lets a client")),
            "{pattern}"
        );
    }
    assert!(problem("https://{authority}", None).contains("needs an `authority` beside it"));
    for text in [
        "https://{path_segment}",
        "https://x{path_segment}",
        "https://x.net{path_segment}",
        "https://x.net:{path_segment}/",
        "https://x.net?{path_segment}",
        "https://{authority}/{path_segment}",
        "https:///{path_segment}",
        "{path_segment}.apps.googleusercontent.com",
    ] {
        assert!(
            problem(text, Some("*.a.run.app")).contains("elsewhere than behind a literal host"),
            "{text}"
        );
    }
}

#[test]
fn what_is_wrong_names_what_to_write_instead() {
    assert_eq!(
        problem("https://{host}", None),
        r#""https://{host}" has {host} in it; templates know {authority} and {path_segment}"#
    );
    for text in [
        "https://{authority",
        "https://authority}",
        "https://{authority}}",
    ] {
        assert!(
            problem(text, Some("*.a.run.app")).contains("without its other half"),
            "{text}"
        );
    }
    assert_eq!(
        problem("{authority}", Some("*.a.run.app")),
        r#""{authority}" has no scheme; write "https://{authority}""#
    );
    assert_eq!(
        problem("grpc://{authority}", Some("*.a.run.app")),
        r#""grpc://{authority}" begins with "grpc://"; write "https://{authority}""#
    );
}

proptest! {
    #[test]
    fn a_derived_audience_ends_with_what_the_operator_wrote(
        pattern in "(\\*|[ab*]{1,3}\\.\\*)(-[ab]|[ab])?\\.[ab]{1,2}\\.[ab]{1,2}",
        request in "[ab.-]{1,12}\\.[ab]{1,2}\\.[ab]{1,2}",
    ) {
        let pattern = AuthorityPattern::parse(&pattern).unwrap();
        let template = Template::parse("https://{authority}", Some(&pattern)).unwrap();
        let Some(authority) = Authority::parse(request).filter(|authority| pattern.matches(authority)) else {
            return Ok(());
        };
        let audience = template.derive(Some(authority.as_str()), None).unwrap();
        let suffix = format!(".{}", pattern.literal_labels());
        prop_assert!(audience.as_str().ends_with(&suffix), "{} {}", audience, suffix);
    }
}
