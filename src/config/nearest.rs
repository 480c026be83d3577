//! Which known name a mistyped one was meant to be.

/// The candidate closest to `word`, if one is close enough to be what was meant.
pub fn nearest<'c>(word: &str, candidates: impl IntoIterator<Item = &'c str>) -> Option<&'c str> {
    // A word longer than any name we have is not a mistyped one.
    if word.len() > 40 {
        return None;
    }
    let word = word.to_ascii_lowercase().replace('-', "_");
    let rated = candidates.into_iter().map(|candidate| (distance(&word, candidate), candidate));
    let (best, candidate) = rated.min_by_key(|&(distance, _)| distance)?;
    let close = (word.chars().count().max(candidate.len()) / 3).max(1);
    (best <= close || candidate.starts_with(&word) || word.starts_with(candidate)).then_some(candidate)
}

/// Edits (a letter added, dropped, replaced, or two neighbours swapped) from one word to the other.
fn distance(from: &str, to: &str) -> usize {
    let (from, to): (Vec<char>, Vec<char>) = (from.chars().collect(), to.chars().collect());
    let mut before: Vec<usize> = Vec::new();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (i, &letter) in from.iter().enumerate() {
        let mut next = vec![i + 1];
        for (j, &other) in to.iter().enumerate() {
            let at = |row: &[usize], index: usize| row.get(index).copied().unwrap_or(usize::MAX / 2);
            let mut best = (at(&row, j) + usize::from(letter != other)).min(at(&row, j + 1) + 1).min(at(&next, j) + 1);
            let swapped = i > 0 && j > 0 && from.get(i - 1) == Some(&other) && to.get(j - 1) == Some(&letter);
            if swapped {
                best = best.min(at(&before, j - 1) + 1);
            }
            next.push(best);
        }
        before = std::mem::replace(&mut row, next);
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mistyped_name_finds_the_one_meant() {
        let names = ["smtp", "submission", "submissions", "imap", "imaps", "connections", "connections_per_ip"];
        let table = [
            ("smpt", Some("smtp")),
            ("imapp", Some("imap")),
            ("Submision", Some("submission")),
            ("connections-per-ip", Some("connections_per_ip")),
            ("connection", Some("connections")),
            ("quota", None),
            ("", None),
        ];
        for (word, meant) in table {
            let found = nearest(word, names).filter(|_| !word.is_empty());
            assert_eq!(found, meant, "{word}");
        }
    }
}
