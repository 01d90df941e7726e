//! From the words of the table `flows` back to the numbers behind them.

use std::collections::HashMap;
use std::sync::LazyLock;

use crate::schema::Column;
use crate::table::names;

/// Numbers of each enumeration that may have a name. What is above them is written as a number.
const NUMBERED: u32 = 512;
/// Types of events whose sub types may have names, and sub types that may.
const EVENT_TYPES: std::ops::Range<i32> = 0..256;
const SUB_TYPES: std::ops::Range<i32> = 0..32;

/// The names of a column's numbers, turned around: one list of names serves both ways.
static WORDS: LazyLock<HashMap<Column, HashMap<String, u32>>> = LazyLock::new(|| {
    let words = |name: names::Name| -> HashMap<String, u32> {
        // From the highest on, so that of two numbers with one name the lower one stays.
        let named = (0..NUMBERED).rev();
        named.filter_map(|number| Some((name(number)?, number))).collect()
    };
    let columns = Column::ALL.iter().copied();
    columns
        .filter_map(|column| Some((column, words(names::of(column)?))))
        .collect()
});

static SUB_TYPE_WORDS: LazyLock<HashMap<(i32, String), i32>> = LazyLock::new(|| {
    let pairs = EVENT_TYPES.flat_map(|event_type| SUB_TYPES.rev().map(move |sub_type| (event_type, sub_type)));
    pairs
        .map(|(event_type, sub_type)| ((event_type, names::event_sub_type(event_type, sub_type)), sub_type))
        .collect()
});

/// The number of a column that is called so; `None` if none is.
pub(super) fn number(column: Column, word: &str) -> Option<u32> {
    let known = WORDS.get(&column).and_then(|words| words.get(word)).copied();
    known.or_else(|| word.parse().ok())
}

/// The sub type of an event of that type that is called so.
pub(super) fn event_sub_type(event_type: i32, word: &str) -> Option<i32> {
    word.parse()
        .ok()
        .or_else(|| SUB_TYPE_WORDS.get(&(event_type, word.to_owned())).copied())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_numbers_belong_together() {
        for (column, word, expected) in [
            (Column::Verdict, "DROPPED", Some(2)),
            (Column::Verdict, "77", Some(77)),
            (Column::Verdict, "dropped", None),
            (Column::TcpFlags, "SYN, ACK", Some(0x12)),
            (Column::TcpFlags, "", Some(0)),
            (Column::Protocol, "SCTP", Some(132)),
            (Column::ObservationPoint, "to-endpoint", Some(101)),
            (Column::EventType, "silence", Some(161)),
            (Column::EventType, "200", Some(200)),
        ] {
            assert_eq!(number(column, word), expected, "{column:?} {word}");
        }
        assert_eq!(
            (event_sub_type(4, "to-stack"), event_sub_type(160, "retransmit")),
            (Some(3), Some(1))
        );
        assert_eq!(
            (event_sub_type(1, "to-stack"), event_sub_type(1, "181")),
            (None, Some(181))
        );
    }
}
