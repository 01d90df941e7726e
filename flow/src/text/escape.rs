//! Keeps what came from the network from steering the terminal.

/// Appends `text` without control characters: C0 and DEL in caret notation (`^[` for escape), line ends and tabs as
/// `\n`, `\r` and `\t`, C1 as `\x9b`.
pub(super) fn push(line: &mut Vec<u8>, text: &str) {
    // C1 characters start with 0xc2 in UTF-8, as do some harmless ones.
    if !text.bytes().any(|byte| byte < 0x20 || byte == 0x7f || byte == 0xc2) {
        line.extend_from_slice(text.as_bytes());
        return;
    }
    for char in text.chars() {
        match char {
            '\n' => line.extend_from_slice(b"\\n"),
            '\r' => line.extend_from_slice(b"\\r"),
            '\t' => line.extend_from_slice(b"\\t"),
            '\0'..='\x1f' | '\x7f' => line.extend_from_slice(&[b'^', char as u8 ^ 0x40]),
            '\u{80}'..='\u{9f}' => line.extend_from_slice(format!("\\x{:02x}", u32::from(char)).as_bytes()),
            other => line.extend_from_slice(other.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::push;

    #[test]
    fn control_characters_are_shown_not_sent() {
        let mut line = Vec::new();
        push(&mut line, "a\x1b[31m\r\n\t\x07\x7f\u{9b}2Jé");
        assert_eq!(line, r"a^[[31m\r\n\t^G^?\x9b2Jé".as_bytes());
    }

    proptest! {
        #[test]
        fn no_text_gets_a_control_character_through(text in any::<String>()) {
            let mut line = Vec::new();
            push(&mut line, &text);
            prop_assert!(!String::from_utf8(line).unwrap().chars().any(char::is_control));
        }
    }
}
