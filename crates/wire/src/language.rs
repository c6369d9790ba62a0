//! The `language` of a command: who wrote the peer.

/// Apache's `LanguageCode` as a byte; numbers that have no name yet are kept, not refused.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Language(pub u8);

const NAMES: [(u8, &str); 14] = [
    (0, "JAVA"),
    (1, "CPP"),
    (2, "DOTNET"),
    (3, "PYTHON"),
    (4, "DELPHI"),
    (5, "ERLANG"),
    (6, "RUBY"),
    (7, "OTHER"),
    (8, "HTTP"),
    (9, "GO"),
    (10, "PHP"),
    (11, "OMS"),
    (12, "RUST"),
    (13, "NODE_JS"),
];

impl Language {
    pub const JAVA: Self = Self(0);
    pub const CPP: Self = Self(1);
    pub const OTHER: Self = Self(7);

    /// The name on the JSON wire; a number without a name is `OTHER`.
    pub fn name(self) -> &'static str {
        NAMES.iter().find(|(code, _)| *code == self.0).map_or("OTHER", |(_, name)| name)
    }

    /// The language of a JSON header; an unknown name is `OTHER`.
    pub fn from_name(name: &str) -> Self {
        NAMES.iter().find(|(_, n)| *n == name).map_or(Self::OTHER, |(code, _)| Self(*code))
    }
}

impl std::fmt::Debug for Language {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}
