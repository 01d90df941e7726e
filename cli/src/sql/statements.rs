//! Several statements in one text, divided at semicolons that are not in quotes or comments.

/// The statements that are not empty, without their semicolons.
pub(super) fn split(text: &str) -> Vec<String> {
    let mut statements = Vec::new();
    let mut current = String::new();
    let mut only_comments = true;
    let mut rest = text.chars().peekable();
    while let Some(character) = rest.next() {
        match character {
            ';' => {
                if !only_comments {
                    statements.push(current.trim().to_owned());
                }
                current.clear();
                only_comments = true;
                continue;
            }
            '\'' | '"' => {
                current.push(character);
                for quoted in rest.by_ref() {
                    current.push(quoted);
                    if quoted == character {
                        break;
                    }
                }
                only_comments = false;
                continue;
            }
            '-' if rest.peek() == Some(&'-') => {
                current.push(character);
                for comment in rest.by_ref() {
                    current.push(comment);
                    if comment == '\n' {
                        break;
                    }
                }
                continue;
            }
            other if !other.is_whitespace() => only_comments = false,
            _ => {}
        }
        current.push(character);
    }
    if !only_comments {
        statements.push(current.trim().to_owned());
    }
    statements
}

/// Whether what was typed so far is complete: it ends with a semicolon, or is a command of the shell.
pub(super) fn is_complete(text: &str) -> bool {
    let text = text.trim();
    // A letter after the last semicolon shows whether that one ends a statement.
    text.is_empty()
        || text.starts_with('\\')
        || (text.ends_with(';') && split(&format!("{text}x")).last().is_some_and(|last| last == "x"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn semicolons_divide_but_not_in_quotes_and_comments() {
        let text = "-- first; one\nSELECT ';' AS \"a;b\";;\n SELECT 2 -- and; done\n";
        assert_eq!(
            split(text),
            ["-- first; one\nSELECT ';' AS \"a;b\"", "SELECT 2 -- and; done"]
        );
        assert!(split(" ; -- nothing").is_empty());
    }

    #[test]
    fn a_statement_goes_on_until_its_semicolon() {
        for (text, complete) in [
            ("SELECT 1", false),
            ("SELECT 1;", true),
            ("SELECT ';", false),
            ("SELECT 1 -- ;", false),
            ("\\d", true),
            ("", true),
        ] {
            assert_eq!(is_complete(text), complete, "{text}");
        }
    }
}
