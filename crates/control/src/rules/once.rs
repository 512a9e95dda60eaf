//! Requests that name the same thing twice.

use std::collections::BTreeSet;

/// Each of the items once, in the order in which they were first named.
pub(crate) fn each_once<T: Ord>(items: &[T]) -> impl Iterator<Item = &T> {
    let mut seen = BTreeSet::new();
    items.iter().filter(move |item| seen.insert(*item))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_each_stays() {
        assert_eq!(each_once(&[3, 1, 3, 2, 1]).collect::<Vec<_>>(), [&3, &1, &2]);
    }
}
