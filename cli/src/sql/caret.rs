//! Errors that point at their place in the query.

use std::fmt::Write as _;

use super::statements::Statement;

/// `message`, and below it the line of the statement with a caret under the word. `place` is in the statement; the line's
/// number is that in the whole text.
pub(super) fn point(message: &str, statement: &Statement, place: Option<(u64, u64)>) -> String {
    let mut text = message.to_owned();
    let Some((line, column)) = place else { return text };
    let number = usize::try_from(line.saturating_sub(1)).unwrap_or(usize::MAX);
    let Some(of_query) = statement.text.lines().nth(number) else {
        return text;
    };
    let line = statement.line.saturating_sub(1) + line;
    let start = usize::try_from(column.saturating_sub(1)).unwrap_or(usize::MAX);
    if start > of_query.chars().count() {
        return text;
    }
    let is_name = |character: &char| character.is_alphanumeric() || *character == '_';
    let word = of_query.chars().skip(start).take_while(is_name).count().max(1);
    // Tabs are as wide below as above.
    let indent: String = of_query
        .chars()
        .take(start)
        .map(|character| if character == '\t' { '\t' } else { ' ' })
        .collect();
    write!(
        text,
        "\nLINE {line}: {of_query}\n{:>width$}{indent}{}",
        "",
        "^".repeat(word),
        width = format!("LINE {line}: ").len()
    )
    .expect("invariant: a String takes all text");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_word_is_marked() {
        let mut statement = Statement::from("SELECT time,\n\tsorce_ip FROM flows");
        assert_eq!(
            point("no", &statement, Some((2, 2))),
            "no\nLINE 2: \tsorce_ip FROM flows\n        \t^^^^^^^^"
        );
        assert_eq!(point("no", &statement, Some((9, 1))), "no");
        assert_eq!(point("no", &statement, None), "no");
        statement.line = 9;
        assert_eq!(
            point("no", &statement, Some((2, 2))),
            "no\nLINE 10: \tsorce_ip FROM flows\n         \t^^^^^^^^"
        );
    }
}
