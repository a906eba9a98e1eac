//! One file a command: parse, call the library, print.
//!
//! A command is a module with `pub struct Args` (clap) and `pub fn run(args: &Args, global: &Global) ->
//! anyhow::Result<ExitCode>`. To add one: declare its module below, and name it in [`commands!`]. The first line of
//! the doc comment there is the line that `firedoor help` shows.
//!
//! Exit status: 0 fine, 1 failed, 2 wrong usage or input that cannot be read. What fails prints `error: …` and, where
//! there is a mend, `help: …` on standard error.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

mod captures;
mod check;
mod client;
mod completions;
mod contain;
mod decisions;
pub mod failure;
mod greylist;
mod held;
mod hosts;
mod isolate;
mod lab;
mod lab_part;
mod manual;
mod never_contain;
pub mod output;
mod rearm;
mod reference;
mod release;
mod reload;
mod replay;
mod ruleset;
mod run;
mod servers;
mod status;
mod table;
mod tune;
mod why;

pub use failure::Failure;
pub use output::Output;

/// Where the configuration is, unless `--config` says otherwise.
pub const CONFIG: &str = "/etc/firedoor/firedoor.toml";
/// Where the admin API listens, unless `--socket` says otherwise.
pub const SOCKET: &str = "/run/firedoor/firedoor.sock";

/// Options that every command knows.
#[derive(clap::Args, Clone, Debug)]
pub struct Global {
    /// The configuration file
    #[arg(long, global = true, value_name = "PATH", default_value = CONFIG, help_heading = "Global options")]
    pub config: PathBuf,
    /// The running daemon's admin socket [default: /run/firedoor/firedoor.sock]
    #[arg(long, global = true, value_name = "PATH", help_heading = "Global options")]
    pub socket: Option<PathBuf>,
    /// Print JSON, for machines
    #[arg(long, global = true, help_heading = "Global options")]
    pub json: bool,
}

impl Global {
    /// The admin socket: as given, or where it is by default.
    #[must_use]
    pub fn socket(&self) -> &Path {
        self.socket_or(Path::new(SOCKET))
    }

    /// The admin socket: as given, or where a configuration has it.
    #[must_use]
    pub fn socket_or<'a>(&'a self, configured: &'a Path) -> &'a Path {
        self.socket.as_deref().unwrap_or(configured)
    }
}

/// Shuts a gateway's firewall on a host that spreads like a worm.
///
/// Firedoor watches the traffic that crosses this gateway. A host that tries to reach many others over SMB, RDP, SSH
/// and the like is contained: its traffic to those services is dropped, everything else keeps flowing.
#[derive(Parser, Debug)]
#[command(name = "firedoor", version, max_term_width = 100)]
struct CommandLine {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

/// Declares the commands: each name is the variant, and in small letters the module and what is typed.
macro_rules! commands {
    ($($(#[$attribute:meta])* $name:ident => $module:ident;)*) => {
        #[derive(Subcommand, Debug)]
        enum Command {
            $($(#[$attribute])* $name($module::Args),)*
        }

        impl Command {
            fn run(self, global: &Global) -> anyhow::Result<ExitCode> {
                match self { $(Command::$name(args) => $module::run(&args, global),)* }
            }
        }
    };
}

commands! {
    /// Show the running daemon's state: sight, breaker, fuse, firewall, tables
    Status => status;
    /// List hosts: who is acted on, and who is near it
    Hosts => hosts;
    /// Explain an address: what is done about it, what would be, and every reason
    Why => why;
    /// List what was decided lately, and by whom
    Decisions => decisions;
    /// Drop a host's traffic to lateral services; everything else keeps flowing
    Contain => contain;
    /// Drop all of a host's traffic, care networks aside
    Isolate => isolate;
    /// Undo: release hosts that are contained or isolated
    Release => release;
    /// List, confirm or drop decisions that wait because the breaker tripped
    Held => held;
    /// List known servers: nobody waits for them in the greylist
    Servers => servers;
    /// List for whom first contacts wait in the greylist, or would, most often first
    Greylist => greylist;
    /// Arm the tripped breaker again
    Rearm => rearm;
    /// List, add or remove who can never be dropped
    NeverContain => never_contain;
    /// Take the configuration file anew; a file with an error changes nothing
    Reload => reload;
    /// Run captures through the same core and print its decisions
    Replay => replay;
    /// Propose thresholds and roles from captures of the site's own traffic
    ///
    /// Runs the captures through the same core as `replay`, and reads from it how many distinct first contacts each host
    /// opened within each window, and how high its score came. A threshold is proposed at half as much again as the most
    /// that an ordinary host reached, never below half of the shipped threshold for so long a window, and never above
    /// twice it (any port: four times). Captures of less than eight hours, or of fewer than 20 hosts, lower nothing.
    ///
    /// Hosts that Firedoor would have acted on are left out and named: a capture that holds a worm must not teach it to
    /// be let through. A few hosts that need more than is configured are proposed for a role instead; fill in its owner
    /// and reason, and `firedoor check` says what is missing.
    Tune => tune;
    /// Check a configuration file, and say what is unwise in it on this machine
    Check => check;
    /// Print the nftables ruleset that the configuration makes on this machine
    Ruleset => ruleset;
    /// Try Firedoor on a worm, in a throwaway network of its own
    Lab => lab;
    /// Watch this gateway, and act as configured
    Run => run;
    /// Run a part of the lab inside one of its machines
    #[command(hide = true)]
    LabPart => lab_part;
    /// Print the reference of configuration keys, or the commented default file
    Reference => reference;
    /// Print the manual pages, in troff
    #[command(hide = true)]
    Manual => manual;
    /// Print the completions of a shell
    #[command(hide = true)]
    Completions => completions;
}

/// The command line's grammar, for the manual and the completions.
fn grammar() -> clap::Command {
    CommandLine::command()
}

/// Runs the command line of this process.
#[must_use]
pub fn main() -> ExitCode {
    let line = match CommandLine::try_parse() {
        Ok(line) => line,
        Err(error) => {
            // `--help` and `--version` are errors to clap, on standard output and with status 0. If printing fails,
            // nobody is there to read.
            let _ = error.print();
            return if error.use_stderr() { ExitCode::from(failure::USAGE) } else { ExitCode::SUCCESS };
        }
    };
    match line.command.run(&line.global) {
        Ok(status) => status,
        Err(error) if output::reader_gone(&error) => ExitCode::SUCCESS,
        Err(error) => failure::report(&error),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_grammar_is_sound() {
        super::grammar().debug_assert();
    }

    #[test]
    fn every_command_says_what_it_does() {
        for command in super::grammar().get_subcommands() {
            assert!(command.get_about().is_some(), "{}", command.get_name());
            for argument in command.get_arguments() {
                assert!(argument.get_help().is_some(), "{} {}", command.get_name(), argument.get_id());
            }
        }
    }
}
