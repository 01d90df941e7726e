//! The screens.

/// What is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Screen {
    /// Drops in short, and all flows as they come.
    #[default]
    Flows,
    /// Drops by reason, place and who is concerned.
    Drops,
    /// Connections by state.
    Connections,
    /// Who sends and receives most.
    Talkers,
    /// Who talks to whom.
    Map,
    /// Nodes.
    Nodes,
}

impl Screen {
    /// All of them, in the order of their keys.
    pub const ALL: [Self; 6] = [
        Self::Flows,
        Self::Drops,
        Self::Connections,
        Self::Talkers,
        Self::Map,
        Self::Nodes,
    ];

    /// Its title.
    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Self::Flows => "Flows",
            Self::Drops => "Drops",
            Self::Connections => "Connections",
            Self::Talkers => "Talkers",
            Self::Map => "Map",
            Self::Nodes => "Nodes",
        }
    }

    /// Its place among all.
    #[must_use]
    pub fn place(self) -> usize {
        Self::ALL.iter().position(|screen| *screen == self).unwrap_or_default()
    }

    /// The one so many places further on.
    #[must_use]
    pub fn step(self, by: isize) -> Self {
        let place = (self.place() as isize + by).rem_euclid(Self::ALL.len() as isize);
        Self::ALL[usize::try_from(place).unwrap_or_default()]
    }
}
