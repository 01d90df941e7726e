//! Colours: of the terminal, of 24 bits, or none at all.

use ratatui::style::{Color, Modifier, Style};

/// What colours there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Palette {
    /// The sixteen of the terminal, which its user has chosen.
    #[default]
    Sixteen,
    /// 24 bits, for a dark background.
    Dark,
    /// 24 bits, for a light background.
    Light,
    /// None: only bold, faint, underlined and reverse.
    None,
}

impl Palette {
    /// What a terminal has, by the usual variables: `NO_COLOR` (no-color.org), `COLORTERM`, `COLORFGBG` and `TERM`.
    #[must_use]
    pub fn of_environment(variable: impl Fn(&str) -> Option<String>) -> Self {
        let set = |name| variable(name).is_some_and(|value| !value.is_empty());
        if set("NO_COLOR") || variable("TERM").is_some_and(|term| term == "dumb") {
            return Self::None;
        }
        let true_color = variable("COLORTERM").is_some_and(|value| value == "truecolor" || value == "24bit");
        // "15;0": the foreground's colour, then the background's. 7 and from 9 to 15 are light.
        let background = variable("COLORFGBG").and_then(|value| value.rsplit(';').next()?.parse::<u8>().ok());
        match (true_color, background) {
            (false, _) => Self::Sixteen,
            (true, Some(7 | 9..=15)) => Self::Light,
            // Nothing is known of the background: the terminal's own colours are right on it.
            (true, None) => Self::Sixteen,
            (true, Some(_)) => Self::Dark,
        }
    }
}

/// Styles by what they say.
#[derive(Clone, Copy, Debug)]
pub struct Theme {
    /// What is usual.
    pub text: Style,
    /// What matters less.
    pub faint: Style,
    /// Titles.
    pub title: Style,
    /// What went well.
    pub good: Style,
    /// What went wrong.
    pub bad: Style,
    /// What deserves a look.
    pub notable: Style,
    /// Who it is.
    pub host: Style,
    /// Ports, times, sizes.
    pub number: Style,
    /// What the keys are on.
    pub selected: Style,
    /// What has just appeared.
    pub new: Style,
    /// What must not be missed.
    pub banner: Style,
    /// What was searched for.
    pub found: Style,
    /// The line of keys.
    pub keys: Style,
}

impl Theme {
    /// The styles of a palette.
    #[must_use]
    pub fn new(palette: Palette) -> Self {
        let plain = Style::new();
        let color = |color| plain.fg(color);
        let reversed = plain.add_modifier(Modifier::REVERSED);
        let bold = |style: Style| style.add_modifier(Modifier::BOLD);
        match palette {
            Palette::None => Self {
                text: plain,
                faint: plain.add_modifier(Modifier::DIM),
                title: bold(plain),
                good: plain,
                bad: bold(plain),
                notable: plain.add_modifier(Modifier::UNDERLINED),
                host: plain,
                number: plain,
                selected: reversed,
                new: reversed.add_modifier(Modifier::BOLD),
                banner: reversed.add_modifier(Modifier::BOLD),
                found: plain.add_modifier(Modifier::UNDERLINED),
                keys: plain.add_modifier(Modifier::DIM),
            },
            Palette::Sixteen => Self {
                text: plain,
                faint: plain.add_modifier(Modifier::DIM),
                title: bold(plain),
                good: color(Color::Green),
                bad: color(Color::Red),
                notable: color(Color::Yellow),
                host: color(Color::Cyan),
                number: color(Color::Yellow),
                selected: reversed,
                new: bold(plain.bg(Color::Magenta).fg(Color::White)),
                banner: bold(plain.bg(Color::Red).fg(Color::White)),
                found: bold(plain.bg(Color::Yellow).fg(Color::Black)),
                keys: plain.add_modifier(Modifier::DIM),
            },
            Palette::Dark => Self::of_colors(&DARK),
            Palette::Light => Self::of_colors(&LIGHT),
        }
    }

    fn of_colors(colors: &Colors) -> Self {
        let plain = Style::new();
        let bold = |style: Style| style.add_modifier(Modifier::BOLD);
        Self {
            text: plain.fg(colors.text),
            faint: plain.fg(colors.faint),
            title: bold(plain.fg(colors.text)),
            good: plain.fg(colors.good),
            bad: plain.fg(colors.bad),
            notable: plain.fg(colors.notable),
            host: plain.fg(colors.host),
            number: plain.fg(colors.number),
            selected: plain.bg(colors.selected),
            new: bold(plain.bg(colors.new).fg(Color::White)),
            banner: bold(plain.bg(colors.bad).fg(Color::White)),
            found: bold(plain.bg(colors.number).fg(Color::Black)),
            keys: plain.fg(colors.faint),
        }
    }
}

struct Colors {
    text: Color,
    faint: Color,
    good: Color,
    bad: Color,
    notable: Color,
    host: Color,
    number: Color,
    selected: Color,
    new: Color,
}

const DARK: Colors = Colors {
    text: Color::Rgb(0xdd, 0xe1, 0xe6),
    faint: Color::Rgb(0x87, 0x8d, 0x96),
    good: Color::Rgb(0x6f, 0xdc, 0x8c),
    bad: Color::Rgb(0xfa, 0x4d, 0x56),
    notable: Color::Rgb(0xf1, 0xc2, 0x1b),
    host: Color::Rgb(0x78, 0xa9, 0xff),
    number: Color::Rgb(0xff, 0xb7, 0x84),
    selected: Color::Rgb(0x39, 0x43, 0x57),
    new: Color::Rgb(0x8a, 0x3f, 0xfc),
};

const LIGHT: Colors = Colors {
    text: Color::Rgb(0x16, 0x16, 0x16),
    faint: Color::Rgb(0x6f, 0x6f, 0x6f),
    good: Color::Rgb(0x0e, 0x60, 0x27),
    bad: Color::Rgb(0xb8, 0x1e, 0x21),
    notable: Color::Rgb(0x8a, 0x5a, 0x00),
    host: Color::Rgb(0x00, 0x43, 0xce),
    number: Color::Rgb(0x8a, 0x38, 0x00),
    selected: Color::Rgb(0xd0, 0xe2, 0xff),
    new: Color::Rgb(0x69, 0x29, 0xc4),
};

#[cfg(test)]
mod tests {
    use super::*;

    fn palette(variables: &[(&str, &str)]) -> Palette {
        Palette::of_environment(|name| {
            let found = variables.iter().find(|(variable, _)| *variable == name);
            found.map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn the_terminal_says_what_it_can_show() {
        let full = ("COLORTERM", "truecolor");
        assert_eq!(palette(&[]), Palette::Sixteen);
        assert_eq!(palette(&[full]), Palette::Sixteen);
        assert_eq!(palette(&[full, ("COLORFGBG", "15;0")]), Palette::Dark);
        assert_eq!(palette(&[full, ("COLORFGBG", "0;default;15")]), Palette::Light);
        assert_eq!(palette(&[full, ("NO_COLOR", "1")]), Palette::None);
        assert_eq!(palette(&[full, ("NO_COLOR", "")]), Palette::Sixteen);
        assert_eq!(palette(&[("TERM", "dumb")]), Palette::None);
    }

    #[test]
    fn without_colours_there_are_none() {
        let theme = Theme::new(Palette::None);
        for style in [
            theme.text,
            theme.bad,
            theme.new,
            theme.banner,
            theme.found,
            theme.selected,
        ] {
            assert_eq!((style.fg, style.bg), (None, None));
        }
    }
}
