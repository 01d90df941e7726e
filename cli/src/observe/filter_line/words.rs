//! The words of a line, as a shell would see them, each letter with its place.
//!
//! Spaces part words. Single quotes keep everything, double quotes everything but a backslash before `"`, `\`, `$` and a
//! backquote, and a backslash alone keeps the letter after it. Thus what is copied from a command line means the same.

use std::ops::Range;

/// A letter of a word.
#[derive(Clone, Debug)]
pub(super) struct Letter {
    pub(super) letter: char,
    /// Its bytes in the line.
    pub(super) range: Range<usize>,
    /// In quotes, or after a backslash: it stands for itself.
    quoted: bool,
}

/// A word, or a part of one.
#[derive(Clone, Debug)]
pub(super) struct Word {
    /// Its bytes in the line, quotes included.
    pub(super) range: Range<usize>,
    letters: Vec<Letter>,
}

/// All words of a line.
#[derive(Debug, Default)]
pub(super) struct Words {
    pub(super) words: Vec<Word>,
    /// Where a quote begins that doesn't end.
    pub(super) open: Option<usize>,
}

impl Word {
    /// No word at that place.
    pub(super) fn empty(place: usize) -> Self {
        Self {
            range: place..place,
            letters: Vec::new(),
        }
    }

    /// What it says, without its quotes.
    pub(super) fn text(&self) -> String {
        self.letters.iter().map(|letter| letter.letter).collect()
    }

    /// What it says, if none of it is quoted.
    pub(super) fn unquoted(&self) -> Option<String> {
        let plain = self.letters.iter().all(|letter| !letter.quoted);
        (plain && self.letters.iter().map(|letter| letter.range.len()).sum::<usize>() == self.range.len())
            .then(|| self.text())
    }

    /// Whether it has no letters.
    pub(super) fn is_empty(&self) -> bool {
        self.letters.is_empty()
    }

    /// How many letters it has.
    pub(super) fn len(&self) -> usize {
        self.letters.len()
    }

    /// Whether it begins with these letters, unquoted.
    pub(super) fn starts_with(&self, text: &str) -> bool {
        let mut letters = self.letters.iter();
        text.chars().all(|wanted| {
            letters
                .next()
                .is_some_and(|letter| !letter.quoted && letter.letter == wanted)
        })
    }

    /// The place of the first such letter that isn't quoted.
    pub(super) fn find(&self, wanted: char) -> Option<usize> {
        self.letters
            .iter()
            .position(|letter| !letter.quoted && letter.letter == wanted)
    }

    /// The place of the first such letter, in quotes or not.
    pub(super) fn find_any(&self, wanted: char) -> Option<usize> {
        self.letters.iter().position(|letter| letter.letter == wanted)
    }

    /// Whether it is a long flag. To a shell quotes make no difference here, and its quoting puts them around
    /// `--flag=value`.
    pub(super) fn is_long_flag(&self) -> bool {
        self.text().starts_with("--")
    }

    /// The letters before that place.
    pub(super) fn before(&self, place: usize) -> Self {
        let end = self
            .letters
            .get(place)
            .map_or(self.range.end, |letter| letter.range.start);
        Self {
            range: self.range.start..end,
            letters: self.letters[..place.min(self.letters.len())].to_vec(),
        }
    }

    /// The letters from that place on. Quotes before the first of them are a part of it.
    pub(super) fn from(&self, place: usize) -> Self {
        let start = match place {
            0 => self.range.start,
            _ => self
                .letters
                .get(place - 1)
                .map_or(self.range.end, |letter| letter.range.end),
        };
        Self {
            range: start..self.range.end,
            letters: self.letters.get(place..).unwrap_or_default().to_vec(),
        }
    }

    /// What its commas part.
    pub(super) fn split_commas(&self) -> Vec<Self> {
        let mut parts = Vec::new();
        let mut rest = self.clone();
        while let Some(comma) = rest.find(',') {
            parts.push(rest.before(comma));
            rest = rest.from(comma + 1);
        }
        parts.push(rest);
        parts
    }
}

/// Splits a line.
pub(super) fn split(line: &str) -> Words {
    let mut found = Words::default();
    let mut word: Option<Word> = None;
    let mut quote: Option<(char, usize)> = None;
    let mut letters = line
        .char_indices()
        .map(|(place, letter)| (letter, place..place + letter.len_utf8()))
        .peekable();
    while let Some((letter, mut range)) = letters.next() {
        if quote.is_none() && letter.is_whitespace() {
            found.words.extend(word.take());
            continue;
        }
        let word = word.get_or_insert_with(|| Word::empty(range.start));
        word.range.end = range.end;
        let escapes = |next: char| match quote {
            None => true,
            Some((quote, _)) => quote == '"' && matches!(next, '"' | '\\' | '$' | '`'),
        };
        match (letter, quote) {
            ('\\', _) if letters.peek().is_some_and(|(next, _)| escapes(*next)) => {
                let (next, end) = letters.next().expect("invariant: it was peeked at");
                range.end = end.end;
                word.range.end = end.end;
                word.letters.push(Letter {
                    letter: next,
                    range,
                    quoted: true,
                });
            }
            (_, Some((end, _))) if letter == end => quote = None,
            ('"' | '\'', None) => quote = Some((letter, range.start)),
            _ => word.letters.push(Letter {
                letter,
                range,
                quoted: quote.is_some(),
            }),
        }
    }
    found.words.extend(word);
    found.open = quote.map(|(_, place)| place);
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn texts(line: &str) -> Vec<String> {
        split(line).words.iter().map(Word::text).collect()
    }

    #[test]
    fn quotes_keep_spaces_and_commas() {
        assert_eq!(
            texts(r#"a "b c"  'd"e' f\ g "h\"i\j""#),
            ["a", "b c", "d\"e", "f g", "h\"i\\j"]
        );
        let words = split(r#"x:"a,b",c"#);
        let parts = words.words[0].from(2).split_commas();
        assert_eq!(parts.iter().map(Word::text).collect::<Vec<_>>(), ["a,b", "c"]);
        assert_eq!(parts[0].range, 2..7);
        assert_eq!(split("a 'b").open, Some(2));
    }

    proptest! {
        #[test]
        fn what_a_shell_would_quote_is_read_back(texts_in in prop::collection::vec("[^\0]*", 1..5)) {
            let line = shlex::try_join(texts_in.iter().map(String::as_str)).expect("no zeros");
            prop_assert_eq!(texts(&line), texts_in);
        }
    }
}
