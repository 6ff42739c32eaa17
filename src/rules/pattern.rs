//! Texts with `*` in them.

/// A pattern, cut at its stars.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Pattern {
    /// What must stand at the beginning; the whole text if there is no star.
    prefix: Box<str>,
    /// What must stand between two stars each, in order.
    middle: Box<[Box<str>]>,
    /// What must stand behind the last star; `None` if there is no star.
    suffix: Option<Box<str>>,
}

impl Pattern {
    pub(super) fn parse(text: &str) -> Self {
        let mut pieces = text.split('*').map(Box::<str>::from);
        let prefix = pieces.next().unwrap_or_default();
        let suffix = pieces.next_back();
        Self {
            prefix,
            middle: pieces.collect(),
            suffix,
        }
    }

    /// The whole text, if nothing is left open.
    pub(super) fn exact(&self) -> Option<&str> {
        self.suffix.is_none().then_some(&self.prefix)
    }

    /// What stands behind the last star, or the whole text.
    pub(super) fn literal_suffix(&self) -> &str {
        self.suffix.as_deref().unwrap_or(&self.prefix)
    }

    /// Whether this is `*` and nothing else.
    pub(super) fn is_everything(&self) -> bool {
        self.prefix.is_empty() && self.middle.is_empty() && self.suffix.as_deref() == Some("")
    }

    /// Whether the text matches, if each star stands for at least `least` bytes. The suffix comes
    /// first: it is what tells most texts apart.
    pub(super) fn matches(&self, text: &str, least: usize) -> bool {
        let Some(suffix) = &self.suffix else {
            return *text == *self.prefix;
        };
        let Some(open) = text
            .strip_suffix(&**suffix)
            .and_then(|rest| rest.strip_prefix(&*self.prefix))
        else {
            return false;
        };
        let mut open = open.as_bytes();
        for piece in &self.middle {
            // The leftmost place leaves the most room to what follows.
            let Some(rest) = open
                .get(least..)
                .and_then(|rest| behind(rest, piece.as_bytes()))
            else {
                return false;
            };
            open = rest;
        }
        open.len() >= least
    }
}

/// What follows the first occurrence of `piece`.
fn behind<'a>(text: &'a [u8], piece: &[u8]) -> Option<&'a [u8]> {
    (0..=text.len()).find_map(|start| text.get(start..)?.strip_prefix(piece))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_star_stands_for_at_least_so_many_characters() {
        let any = |pattern: &str, text: &str| Pattern::parse(pattern).matches(text, 0);
        assert!(any("a", "a") && !any("a", "ab"));
        assert!(any("*", "") && any("*", "x"));
        assert!(any("outbound|*", "outbound|") && any("outbound|*|x", "outbound|80||x"));
        assert!(!any("ab*bc", "abc"));
        assert!(any("a*b*c", "abc") && any("a*b*c", "a-b-b-c") && !any("a*b*c", "acb"));

        let some = |pattern: &str, text: &str| Pattern::parse(pattern).matches(text, 1);
        assert!(!some("*", "") && some("*", "x"));
        assert!(!some("*.run.app", ".run.app") && some("*.run.app", "a.run.app"));
        assert!(!some("a*b*c", "abxc") && some("a*b*c", "axbxc"));
        assert!(!some("**", "a") && some("**", "ab"));
    }

    /// The obvious way, which takes exponential time.
    fn naive(pattern: &[u8], text: &[u8], least: usize) -> bool {
        match pattern.split_first() {
            None => text.is_empty(),
            Some((b'*', rest)) => (least..=text.len()).any(|n| naive(rest, &text[n..], least)),
            Some((c, rest)) => text.first() == Some(c) && naive(rest, &text[1..], least),
        }
    }

    proptest! {
        #[test]
        fn the_short_cut_equals_the_obvious_way(
            pattern in "[ab*]{0,7}",
            text in "[ab]{0,10}",
            least in 0usize..2,
        ) {
            prop_assert_eq!(
                Pattern::parse(&pattern).matches(&text, least),
                naive(pattern.as_bytes(), text.as_bytes(), least)
            );
        }
    }
}
