//! Colours on terminals (ECMA-48, "select graphic rendition").

/// Start of each colour, or nothing where colours are off.
#[derive(Clone, Copy, Debug)]
pub(super) struct Palette {
    pub(super) host: &'static str,
    pub(super) port: &'static str,
    pub(super) identity: &'static str,
    pub(super) good: &'static str,
    pub(super) bad: &'static str,
    pub(super) notable: &'static str,
    pub(super) dim: &'static str,
    pub(super) reset: &'static str,
}

impl Palette {
    const PLAIN: Self = Self {
        host: "",
        port: "",
        identity: "",
        good: "",
        bad: "",
        notable: "",
        dim: "",
        reset: "",
    };

    const COLORED: Self = Self {
        host: "\x1b[36m",
        port: "\x1b[33m",
        identity: "\x1b[35m",
        good: "\x1b[32m",
        bad: "\x1b[31m",
        notable: "\x1b[33m",
        dim: "\x1b[2m",
        reset: "\x1b[0m",
    };

    pub(super) const fn new(color: bool) -> Self {
        if color { Self::COLORED } else { Self::PLAIN }
    }
}
