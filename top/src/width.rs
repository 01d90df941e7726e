//! Text from the network in cells of a terminal: nothing in it steers the terminal, and nothing is wider than its cell.

use unicode_segmentation::UnicodeSegmentation as _;
use unicode_width::UnicodeWidthStr as _;

/// Whether a character changes the terminal, or the order in which others are shown: controls, and the marks of
/// bidirectional text (Unicode Standard Annex 9, section 2) that would turn the rest of a line around.
fn is_dangerous(char: char) -> bool {
    char.is_control()
        || matches!(char, '\u{200e}' | '\u{200f}' | '\u{061c}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
        || matches!(char, '\u{2028}' | '\u{2029}' | '\u{feff}')
}

/// The text without anything that is not to be shown: a `�` stands for it.
#[must_use]
pub fn clean(text: &str) -> String {
    text.chars()
        .map(|char| if is_dangerous(char) { '\u{fffd}' } else { char })
        .collect()
}

/// Cells that a text takes.
#[must_use]
pub fn width(text: &str) -> usize {
    text.width()
}

/// The text in at most so many cells; where it is cut, its end is `…`.
#[must_use]
pub fn cut(text: &str, cells: usize) -> String {
    let text = clean(text);
    if text.width() <= cells {
        return text;
    }
    let mut kept = head(&text, cells.saturating_sub(1));
    if cells > 0 {
        kept.push('…');
    }
    kept
}

/// The text in at most so many cells; where it is too long, `…` stands for its middle: names differ at both ends.
#[must_use]
pub fn cut_middle(text: &str, cells: usize) -> String {
    let text = clean(text);
    if text.width() <= cells {
        return text;
    }
    if cells < 8 {
        return cut(&text, cells);
    }
    let end = (cells - 1) / 2;
    let mut kept = head(&text, cells - 1 - end);
    kept.push('…');
    let mut tail = Vec::new();
    let mut room = end;
    for cluster in text.graphemes(true).rev() {
        let Some(left) = room.checked_sub(cluster.width()) else {
            break;
        };
        room = left;
        tail.push(cluster);
    }
    kept.extend(tail.into_iter().rev());
    kept
}

/// The beginning of a text that takes no more than so many cells.
fn head(text: &str, cells: usize) -> String {
    let mut kept = String::new();
    let mut room = cells;
    for cluster in text.graphemes(true) {
        let Some(left) = room.checked_sub(cluster.width()) else {
            break;
        };
        room = left;
        kept.push_str(cluster);
    }
    kept
}

/// The text in exactly so many cells, cut or filled with blanks.
#[must_use]
pub fn fit(text: &str, cells: usize) -> String {
    let mut text = cut(text, cells);
    let missing = cells - text.width().min(cells);
    text.extend(std::iter::repeat_n(' ', missing));
    text
}

/// The text at the right of so many cells.
#[must_use]
pub fn fit_right(text: &str, cells: usize) -> String {
    let text = cut(text, cells);
    let missing = cells - text.width().min(cells);
    let mut padded: String = std::iter::repeat_n(' ', missing).collect();
    padded.push_str(&text);
    padded
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn wide_and_combined_characters_are_not_split() {
        assert_eq!(cut("日本語のポッド", 6), "日本…");
        assert_eq!(cut("e\u{301}e\u{301}e\u{301}", 2), "e\u{301}…");
        assert_eq!(cut("שלום", 3), "של…");
        assert_eq!(fit("日本", 3), "日…");
        assert_eq!(fit("日本", 5), "日本 ");
        assert_eq!(cut_middle("team-a/web-7d9f8-abcde:80", 15), "team-a/…bcde:80");
        assert_eq!(fit_right("12", 4), "  12");
    }

    #[test]
    fn nothing_turns_a_line_around_or_moves_the_cursor() {
        assert_eq!(clean("a\x1b[2J\u{202e}b\n"), "a\u{fffd}[2J\u{fffd}b\u{fffd}");
    }

    proptest! {
        #[test]
        fn cells_are_never_exceeded(text in any::<String>(), cells in 0_usize..40) {
            prop_assert!(width(&cut(&text, cells)) <= cells);
            prop_assert!(width(&cut_middle(&text, cells)) <= cells);
            prop_assert_eq!(width(&fit(&text, cells)), cells);
            prop_assert_eq!(width(&fit_right(&text, cells)), cells);
        }
    }
}
