//! The nearest valid word to a mistyped one, for error messages.

/// The candidate that takes the fewest single-character edits (insert, delete, replace) to reach, if the two are alike at
/// all: at most a third of the longer one's characters differ. Of equals, the first.
pub fn nearest<'a>(typed: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let mut best: Option<(usize, &str)> = None;
    for candidate in candidates {
        let edits = distance(typed, candidate);
        let allowed = typed.chars().count().max(candidate.chars().count()).div_ceil(3);
        if edits <= allowed && best.is_none_or(|(fewest, _)| edits < fewest) {
            best = Some((edits, candidate));
        }
    }
    best.map(|(_, candidate)| candidate)
}

/// Levenshtein distance, with `-`, `_` and `.` taken for the same character and case ignored.
fn distance(a: &str, b: &str) -> usize {
    let a: Vec<char> = a.chars().map(folded).collect();
    let b: Vec<char> = b.chars().map(folded).collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, ca) in a.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, cb) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(ca != cb);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

fn folded(c: char) -> char {
    match c {
        '_' | '.' => '-',
        c => c.to_ascii_lowercase(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_nearest_word_and_none_when_nothing_is_alike() {
        let keys = ["topics", "exclude", "until-caught-up", "buffer-bytes"];
        assert_eq!(nearest("topcis", keys), Some("topics"));
        assert_eq!(nearest("buffer_bytes", keys), Some("buffer-bytes"));
        assert_eq!(nearest("until-caughtup", keys), Some("until-caught-up"));
        assert_eq!(nearest("zzz", keys), None);
        assert_eq!(nearest("", keys), None);
    }

    #[test]
    fn counts_edits() {
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("A_b", "a-b"), 0);
    }
}
