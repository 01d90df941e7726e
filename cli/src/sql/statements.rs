//! Several statements in one text, divided at semicolons as the parser of the engine sees them: not in quotes, dollar
//! quotes or comments.

use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion::sql::sqlparser::tokenizer::{Location, Token, TokenWithSpan, Tokenizer, TokenizerError};

/// A statement without its semicolon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Statement {
    pub(crate) text: String,
    /// The line of the whole text on which it begins, from 1.
    pub(crate) line: u64,
}

impl From<&str> for Statement {
    fn from(text: &str) -> Self {
        Self {
            text: text.to_owned(),
            line: 1,
        }
    }
}

/// The statements that are not empty. What can't be read is left in the last one, so that who answers says why.
pub(super) fn split(text: &str) -> Vec<Statement> {
    let (tokens, error) = tokens(text);
    let mut statements = Vec::new();
    let mut begin: Option<Location> = None;
    let mut after = Location::new(1, 1);
    for token in &tokens {
        match token.token {
            Token::SemiColon => {
                if let Some(begin) = begin.take() {
                    statements.push(slice(text, begin, Some(token.span.start)));
                }
            }
            Token::Whitespace(_) => {}
            _ => {
                begin.get_or_insert(token.span.start);
            }
        }
        after = token.span.end;
    }
    if let Some(begin) = begin.or_else(|| error.map(|_| after)) {
        statements.push(slice(text, begin, None));
    }
    statements
}

/// Whether what was typed so far is complete: it ends with a semicolon, or is a command of the shell.
pub(super) fn is_complete(text: &str) -> bool {
    let text = text.trim();
    if text.is_empty() || text.starts_with('\\') {
        return true;
    }
    match tokens(text) {
        (_, Some(error)) => {
            let goes_on = error.message.starts_with("Unterminated") || error.message.starts_with("Unexpected EOF");
            !goes_on && text.ends_with(';')
        }
        (tokens, None) => tokens
            .iter()
            .rfind(|token| !matches!(token.token, Token::Whitespace(_)))
            .is_some_and(|last| last.token == Token::SemiColon),
    }
}

fn tokens(text: &str) -> (Vec<TokenWithSpan>, Option<TokenizerError>) {
    let mut tokens = Vec::new();
    let done = Tokenizer::new(&PostgreSqlDialect {}, text).tokenize_with_location_into_buf(&mut tokens);
    (tokens, done.err())
}

fn slice(text: &str, begin: Location, end: Option<Location>) -> Statement {
    let end = end.map_or(text.len(), |end| offset(text, end));
    Statement {
        text: text[offset(text, begin)..end].trim().to_owned(),
        line: begin.line,
    }
}

/// The byte at which a place begins. Lines and columns count from 1, columns in characters.
fn offset(text: &str, place: Location) -> usize {
    let number = |number: u64| usize::try_from(number.saturating_sub(1)).unwrap_or(usize::MAX);
    let (line, column) = (number(place.line), number(place.column));
    let start: usize = text.split_inclusive('\n').take(line).map(str::len).sum();
    text[start..]
        .char_indices()
        .nth(column)
        .map_or(text.len(), |(place, _)| start + place)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(text: &str) -> Vec<String> {
        split(text).into_iter().map(|statement| statement.text).collect()
    }

    #[test]
    fn semicolons_divide_but_not_in_quotes_and_comments() {
        let text = "-- first; one\nSELECT ';' AS \"a;b\";;\n SELECT 2 -- and; done\n";
        assert_eq!(texts(text), ["SELECT ';' AS \"a;b\"", "SELECT 2 -- and; done"]);
        assert!(texts(" ; -- nothing").is_empty());
        assert!(texts("/* nothing; */").is_empty());
        let text = "SELECT 1 /* a; /* b; */ */ AS a; SELECT $$c;d$$, $x$e;$$f$x$; SELECT E'it\\'s; ü', 'x''y;'";
        assert_eq!(
            texts(text),
            [
                "SELECT 1 /* a; /* b; */ */ AS a",
                "SELECT $$c;d$$, $x$e;$$f$x$",
                "SELECT E'it\\'s; ü', 'x''y;'"
            ]
        );
    }

    #[test]
    fn a_statement_knows_its_line() {
        let lines: Vec<u64> = split("SELECT 'ä\n';\n\n-- two\n SELECT 2; SELECT 3")
            .iter()
            .map(|statement| statement.line)
            .collect();
        assert_eq!(lines, [1, 5, 5]);
    }

    #[test]
    fn what_cannot_be_read_is_left_to_who_answers() {
        assert_eq!(
            texts("SELECT 1; SELECT 'a; SELECT 2"),
            ["SELECT 1", "SELECT 'a; SELECT 2"]
        );
        assert_eq!(texts("SELECT 1; 'a"), ["SELECT 1", "'a"]);
        assert_eq!(texts("'"), ["'"]);
    }

    #[test]
    fn a_statement_goes_on_until_its_semicolon() {
        for (text, complete) in [
            ("SELECT 1", false),
            ("SELECT 1;", true),
            ("SELECT 1; -- done", true),
            ("SELECT 1; SELECT 2", false),
            ("SELECT ';", false),
            ("SELECT 1 -- ;", false),
            ("SELECT 1 /* ;", false),
            ("SELECT $$;", false),
            ("\\d", true),
            ("", true),
        ] {
            assert_eq!(is_complete(text), complete, "{text}");
        }
    }
}
