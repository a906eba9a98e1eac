//! What is wrong with a configuration, or unwise, and how to mend it; shown with the line it stands on.

use std::fmt::{self, Write as _};
use std::ops::Range;
use std::sync::Arc;

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};
use serde::Serialize;

/// More than this is not shown: the first few explain the rest.
const MOST: usize = 50;

/// A configuration file as read, for showing its lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// What to call it: the path as given.
    pub name: Arc<str>,
    /// Its text.
    pub text: Arc<str>,
}

/// One thing that is wrong or unwise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// What, in one line.
    pub message: String,
    /// Where: a byte range of the file. `None` where the whole file is meant, or what is missing in it.
    pub place: Option<Range<usize>>,
    /// What is said under the underlined text.
    pub label: Option<String>,
    /// How to mend it.
    pub help: Option<String>,
}

impl Problem {
    /// A problem of the whole file.
    pub fn new(message: impl Into<String>) -> Self {
        Problem { message: message.into(), place: None, label: None, help: None }
    }

    /// Says where it is.
    #[must_use]
    pub fn at(mut self, place: impl Into<Option<Range<usize>>>) -> Self {
        self.place = place.into();
        self
    }

    /// Says what is said there.
    #[must_use]
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.label = Some(label.into());
        self
    }

    /// Says how to mend it.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    fn render(&self, source: &Source, level: Level<'static>, colour: bool) -> String {
        let mut group = Group::with_title(level.primary_title(self.message.as_str()));
        if let Some(place) = &self.place {
            let place = inside(&source.text, place);
            let annotation = AnnotationKind::Primary.span(place).label(self.label.as_deref());
            group = group.element(Snippet::source(&*source.text).path(&*source.name).annotation(annotation));
        }
        let mut groups = vec![group];
        if let Some(help) = &self.help {
            groups.push(Group::with_title(Level::HELP.secondary_title(help.as_str())));
        }
        let renderer = if colour { Renderer::styled() } else { Renderer::plain() };
        renderer.render(&groups)
    }

    fn report(&self, source: &Source) -> Report {
        let at = self.place.as_ref().map(|place| position(&source.text, inside(&source.text, place).start));
        Report {
            message: self.message.clone(),
            line: at.map(|(line, _)| line),
            column: at.map(|(_, column)| column),
            label: self.label.clone(),
            help: self.help.clone(),
        }
    }
}

/// A [`Problem`] for machines.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// What, in one line.
    pub message: String,
    /// Line, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<usize>,
    /// Column in characters, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub column: Option<usize>,
    /// What is said of that place.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// How to mend it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
}

/// The nearest range that lies within the text and cuts no character.
fn inside(text: &str, place: &Range<usize>) -> Range<usize> {
    let start = text.floor_char_boundary(place.start.min(text.len()));
    let end = text.ceil_char_boundary(place.end.clamp(start, text.len()));
    start..end
}

fn position(text: &str, at: usize) -> (usize, usize) {
    let before = text.get(..at).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or(before).chars().count() + 1;
    (line, column)
}

macro_rules! problems {
    ($(#[$doc:meta])* $name:ident, $level:expr) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub struct $name {
            problems: Vec<Problem>,
            source: Source,
        }

        impl $name {
            /// These problems of this file.
            #[must_use]
            pub fn new(mut problems: Vec<Problem>, source: Source) -> Self {
                // In the order of the file; what belongs to no line comes last.
                problems.sort_by_key(|problem| problem.place.as_ref().map_or(usize::MAX, |place| place.start));
                $name { problems, source }
            }

            /// How many there are.
            #[must_use]
            pub fn len(&self) -> usize {
                self.problems.len()
            }

            /// Whether there is none.
            #[must_use]
            pub fn is_empty(&self) -> bool {
                self.problems.is_empty()
            }

            /// Each of them.
            #[must_use]
            pub fn problems(&self) -> &[Problem] {
                &self.problems
            }

            /// Each of them, for machines.
            #[must_use]
            pub fn reports(&self) -> Vec<Report> {
                self.problems.iter().map(|problem| problem.report(&self.source)).collect()
            }

            /// Each of them with its line, for people.
            #[must_use]
            pub fn render(&self, colour: bool) -> String {
                let shown = self.problems.iter().take(MOST).map(|problem| problem.render(&self.source, $level, colour));
                let mut text = shown.collect::<Vec<_>>().join("\n\n");
                if let Some(more) = self.problems.len().checked_sub(MOST).filter(|more| *more > 0) {
                    let _ = write!(text, "\n\n… and {more} more");
                }
                text
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.render(false))
            }
        }
    };
}

problems! {
    /// Why a configuration cannot be used. Shows every error with its line.
    Errors, Level::ERROR
}

problems! {
    /// What is unwise in a configuration that can be used.
    Warnings, Level::WARNING
}

impl std::error::Error for Errors {}

impl Errors {
    /// Whether the file could not be read at all.
    #[must_use]
    pub fn is_unreadable(&self) -> bool {
        self.source.text.is_empty()
    }

    /// A file that could not be read at all.
    #[must_use]
    pub fn unreadable(name: &str, error: &std::io::Error) -> Self {
        let problem = Problem::new(format!("cannot read {name}: {error}"));
        let help = match error.kind() {
            std::io::ErrorKind::NotFound => "name the file with --config, or copy the commented default there",
            std::io::ErrorKind::PermissionDenied => "it is readable for root and the group firedoor: use sudo",
            _ => "the file must be UTF-8 text of at most 1 MiB",
        };
        Errors::new(vec![problem.help(help)], Source { name: name.into(), text: "".into() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(text: &str) -> Source {
        Source { name: "firedoor.toml".into(), text: text.into() }
    }

    #[test]
    fn the_line_is_shown_and_what_is_wrong_underlined() {
        let text = "[fuse]\nburst = 0\n";
        let problem = Problem::new("`fuse.burst` is out of range").at(15..16).label("below 1").help("write 1 to 10000");
        let shown = Errors::new(vec![problem], source(text)).to_string();
        assert!(shown.contains("firedoor.toml:2:9"), "{shown}");
        assert!(shown.contains("2 | burst = 0\n  |         ^ below 1"), "{shown}");
        assert!(shown.contains("help: write 1 to 10000"), "{shown}");
    }

    #[test]
    fn machines_get_line_and_column_in_characters() {
        let report = Problem::new("x").at(9..10).report(&source("é = 1\nü = 2"));
        assert_eq!((report.line, report.column), (Some(2), Some(2)));
    }

    #[test]
    fn a_place_outside_the_text_or_within_a_character_is_no_panic() {
        for place in [0..0, 1..2, 7..9, 100..200] {
            let shown = Errors::new(vec![Problem::new("x").at(place)], source("é = 'é'")).to_string();
            assert!(shown.contains("error: x"), "{shown}");
        }
    }
}
