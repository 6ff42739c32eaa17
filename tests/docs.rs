//! What the documents point at is there: files, headings, and the tests that show what they claim.

#![expect(
    clippy::unwrap_used,
    reason = "here a panic is how a broken link is reported"
)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// `[text](target)`, outside of code.
struct Link {
    text: String,
    target: String,
}

fn documents() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    for folder in [
        root.to_owned(),
        root.join("docs"),
        root.join("docs/bench"),
        root.join("docs/soak"),
        root.join("js"),
    ] {
        let Ok(entries) = fs::read_dir(folder) else {
            continue;
        };
        let paths = entries.map(|entry| entry.unwrap().path());
        found.extend(
            paths.filter(|path| path.extension().is_some_and(|extension| extension == "md")),
        );
    }
    found.sort();
    found
}

/// The text without its fenced blocks.
fn prose(text: &str) -> String {
    let mut is_code = false;
    let lines = text.lines().filter(|line| {
        let is_fence = line.trim_start().starts_with("```");
        is_code ^= is_fence;
        !is_code && !is_fence
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn links(text: &str) -> Vec<Link> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("](") {
        let Some((target, behind)) = after.split_once(')') else {
            break;
        };
        let text = before.rsplit_once('[').map_or(before, |(_, text)| text);
        found.push(Link {
            text: text.to_owned(),
            target: target.to_owned(),
        });
        rest = behind;
    }
    found
}

/// As GitHub makes them of headings: lower case, blanks to hyphens, most else dropped.
fn anchors(text: &str) -> BTreeSet<String> {
    let headings = text.lines().filter_map(|line| {
        let heading = line.trim_start_matches('#');
        (heading.len() < line.len())
            .then(|| heading.strip_prefix(' '))
            .flatten()
    });
    let anchor = |heading: &str| {
        let kept = heading.to_lowercase().replace(' ', "-");
        kept.chars()
            .filter(|c| c.is_alphanumeric() || "-_".contains(*c))
            .collect()
    };
    headings.map(anchor).collect()
}

fn is_elsewhere(target: &str) -> bool {
    target.contains("://") || target.starts_with("mailto:")
}

/// Each link within the repository, with its document and the file that it leads to.
fn links_within() -> Vec<(PathBuf, Link, PathBuf)> {
    let mut found = Vec::new();
    for document in documents() {
        for link in links(&prose(&fs::read_to_string(&document).unwrap())) {
            if is_elsewhere(&link.target) {
                continue;
            }
            let file = link.target.split('#').next().unwrap();
            let file = match file {
                "" => document.clone(),
                file => document.parent().unwrap().join(file),
            };
            found.push((document.clone(), link, file));
        }
    }
    assert!(
        found.len() > 100,
        "{} links: they are not found any more",
        found.len()
    );
    found
}

#[test]
fn every_link_leads_to_a_file_and_a_heading_that_are_there() {
    for (document, link, file) in links_within() {
        assert!(file.exists(), "{}: {}", document.display(), link.target);
        if let Some((_, anchor)) = link.target.split_once('#') {
            let there = anchors(&prose(&fs::read_to_string(&file).unwrap()));
            assert!(
                there.contains(anchor),
                "{}: {} is none of {there:?}",
                document.display(),
                link.target
            );
        }
    }
}

#[test]
fn every_test_that_is_named_is_in_the_file_that_is_named() {
    let mut tests = 0;
    for (document, link, file) in links_within() {
        let name = link
            .text
            .strip_prefix('`')
            .and_then(|text| text.strip_suffix('`'));
        let is_code = |file: &Path| {
            file.extension()
                .is_some_and(|extension| ["rs", "py", "js", "ts"].iter().any(|it| extension == *it))
        };
        let Some(name) = name.filter(|name| is_code(&file) && !name.contains(['/', '.'])) else {
            continue;
        };
        tests += 1;
        let text =
            fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        assert!(
            text.contains(name),
            "{}: {name} is not in {}",
            document.display(),
            link.target
        );
    }
    assert!(
        tests > 50,
        "{tests} named tests: they are not found any more"
    );
}

#[test]
fn every_command_of_the_readme_s_is_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = fs::read_to_string(root.join("README.md")).expect("there is one");
    let mut scripts = BTreeSet::new();
    for (_, after) in text
        .match_indices("scripts/")
        .map(|(at, _)| text.split_at(at))
    {
        let end = after.find(|c: char| !(c.is_ascii_alphanumeric() || "/._-".contains(c)));
        scripts.insert(
            after
                .split_at(end.unwrap_or(after.len()))
                .0
                .trim_end_matches('.'),
        );
    }
    assert!(scripts.len() > 5, "{scripts:?}");
    for script in scripts {
        assert!(root.join(script).exists(), "README.md: {script}");
    }
}
