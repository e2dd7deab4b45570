//! "Did you mean": the known word nearest to one that is not known.

/// The candidate with the fewest edits to `word`, if it is near enough to be meant, else one that begins with it; the
/// first of equals. A number is never meant by another one.
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let limit = (word.chars().count() / 3).max(2);
    let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let candidates: Vec<&str> = candidates.into_iter().filter(|near| !(is_number(word) && is_number(near))).collect();
    let begun = candidates.iter().copied().find(|candidate| word.len() > 3 && candidate.starts_with(word));
    candidates
        .into_iter()
        .map(|candidate| (edits(word, candidate), candidate))
        .filter(|(distance, _)| *distance <= limit)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
        .or(begun)
}

/// Levenshtein's distance: insertions, deletions and replacements of one character.
fn edits(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (i, a) in left.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in right.iter().enumerate() {
            let replaced = diagonal + usize::from(a != *b);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_word_is_found_and_a_far_one_is_not_offered() {
        let words = ["seed", "sweep", "deadline"];
        assert_eq!(nearest("sed", words), Some("seed"));
        assert_eq!(nearest("sweeps", words), Some("sweep"));
        assert_eq!(nearest("deadl", words), Some("deadline"));
        assert_eq!(nearest("colour", words), None);
        assert_eq!(nearest("6", ["0", "60"]), None);
    }
}
