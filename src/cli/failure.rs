//! How a command fails: what is said, what would help, and the exit status.

use std::process::ExitCode;

use anstream::eprintln;
use anstyle::{AnsiColor, Style};

/// Exit status of a command that could not do its work.
pub const FAILED: u8 = 1;
/// Exit status of wrong usage, and of input that cannot be read.
pub const USAGE: u8 = 2;

/// An error with its exit status and, where there is one, the mend. Any other error of a command has status 1.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    message: String,
    help: Option<String>,
    status: u8,
    source: Option<anyhow::Error>,
}

impl Failure {
    /// The command could not do its work: status 1.
    pub fn failed(message: impl Into<String>) -> Self {
        Failure { message: message.into(), help: None, status: FAILED, source: None }
    }

    /// Wrong usage, or input that cannot be read: status 2.
    pub fn input(message: impl Into<String>) -> Self {
        Failure { message: message.into(), help: None, status: USAGE, source: None }
    }

    /// Says what to do about it.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Says what it came from; shown after the message.
    #[must_use]
    pub fn because(mut self, source: impl Into<anyhow::Error>) -> Self {
        self.source = Some(source.into());
        self
    }
}

/// Prints `error: …` and `help: …` on standard error, and gives the exit status.
pub(super) fn report(error: &anyhow::Error) -> ExitCode {
    let red = Style::new().bold().fg_color(Some(AnsiColor::Red.into()));
    let green = Style::new().bold().fg_color(Some(AnsiColor::Green.into()));
    // Chains that repeat their source in their own text are shown once.
    let mut text = error.to_string();
    for cause in error.chain().skip(1).map(ToString::to_string) {
        if !text.contains(&cause) {
            text.push_str(": ");
            text.push_str(&cause);
        }
    }
    eprintln!("{red}error:{red:#} {text}");
    let failure = error.downcast_ref::<Failure>();
    if let Some(help) = failure.and_then(|f| f.help.as_ref()) {
        eprintln!("{green}help:{green:#} {help}");
    }
    ExitCode::from(failure.map_or(FAILED, |f| f.status))
}
