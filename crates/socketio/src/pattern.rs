//! Patterns of names, as operators write them: `*` stands for any run of characters, all else for itself.

/// A compiled pattern of namespaces, rooms or events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    /// The literal pieces between the stars; never empty.
    pieces: Box<[Box<str>]>,
}

impl Pattern {
    /// Compiles a pattern; every text is one.
    pub fn new(text: &str) -> Self {
        Self { pieces: text.split('*').map(Box::from).collect() }
    }

    /// Whether the whole of `name` fits. Linear in the length of `name` times the number of pieces.
    pub fn matches(&self, name: &str) -> bool {
        let Some((first, others)) = self.pieces.split_first() else { return false };
        let Some(mut rest) = name.strip_prefix(&**first) else { return false };
        let Some((last, middle)) = others.split_last() else { return rest.is_empty() };
        for piece in middle {
            // The leftmost place is always a right one: a later piece has the most left to match.
            let Some(at) = rest.find(&**piece) else { return false };
            rest = &rest[at + piece.len()..];
        }
        rest.ends_with(&**last)
    }

    /// Whether every name that begins with `prefix` fits; an empty prefix is every name.
    pub fn matches_all_with_prefix(&self, prefix: &str) -> bool {
        match self.pieces.split_last() {
            // Behind the last star nothing is asked for: it takes whatever follows the prefix.
            Some((last, before)) if last.is_empty() && !before.is_empty() => self.matches(prefix),
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_stand_for_any_run_and_the_rest_for_itself() {
        for (pattern, name, expected) in [
            ("chat", "chat", true),
            ("chat", "chats", false),
            ("*", "", true),
            ("*", "anything", true),
            ("chat:*", "chat:", true),
            ("chat:*", "chat", false),
            ("*:lobby", "eu:lobby", true),
            ("a*b*c", "abc", true),
            ("a*b*c", "a--b--b--c", true),
            ("a*b*c", "acb", false),
            ("a*a", "a", false),
            ("a**a", "aa", true),
            ("a?c", "abc", false),
        ] {
            assert_eq!(Pattern::new(pattern).matches(name), expected, "{pattern} against {name}");
        }
    }

    #[test]
    fn a_prefix_is_covered_only_if_all_names_with_it_fit() {
        for (pattern, prefix, expected) in [
            ("*", "", true),
            ("order:*", "order:", true),
            ("order:*", "order:7", true),
            ("order:*", "order", false),
            ("order:*", "", false),
            ("order", "order", false),
            ("*:lobby", "eu:lobby", false),
            ("a*b*", "axb", true),
            ("a*b*", "a", false),
        ] {
            assert_eq!(
                Pattern::new(pattern).matches_all_with_prefix(prefix),
                expected,
                "{pattern} for {prefix}"
            );
        }
    }
}
