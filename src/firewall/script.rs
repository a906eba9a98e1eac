//! Handing text to `nft -f -`: one transaction, checked by nft and by the kernel.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::Error;

/// Where distributions keep nft.
const PLACES: [&str; 4] = ["/usr/sbin/nft", "/sbin/nft", "/usr/bin/nft", "/usr/local/sbin/nft"];

/// The nft program.
#[derive(Clone, Debug)]
pub struct Nft {
    program: PathBuf,
}

impl Nft {
    /// Finds it.
    ///
    /// # Errors
    /// There is none in the usual places.
    pub fn find() -> Result<Self, Error> {
        PLACES
            .iter()
            .map(Path::new)
            .find(|path| path.exists())
            .map(|path| Nft { program: path.to_owned() })
            .ok_or(Error::NoNft)
    }

    /// Has the kernel take `script` as one transaction. Gives the process id under which it was done, which the
    /// kernel's notifications carry.
    ///
    /// # Errors
    /// nft could not be started, or it or the kernel refused the text.
    pub fn load(&self, script: &str) -> Result<u32, Error> {
        self.run(&["-f", "-"], script)
    }

    /// Has nft and the kernel check `script` and change nothing.
    ///
    /// # Errors
    /// As for [`Nft::load`].
    pub fn check(&self, script: &str) -> Result<(), Error> {
        self.run(&["-c", "-f", "-"], script).map(|_| ())
    }

    fn run(&self, arguments: &[&str], script: &str) -> Result<u32, Error> {
        let failed = |source| Error::Nft { program: self.program.clone(), source };
        let mut child = Command::new(&self.program)
            .args(arguments)
            .env_clear()
            .env("LC_ALL", "C")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(failed)?;
        let process = child.id();
        // nft reads all of its input before it says anything, so neither side waits for the other. A write that fails
        // means that it gave up early: its own words say why.
        let written = child.stdin.take().map_or(Ok(()), |mut input| input.write_all(script.as_bytes()));
        let output = child.wait_with_output().map_err(failed)?;
        if !output.status.success() {
            return Err(Error::Rejected { said: said(&output.stderr) });
        }
        written.map_err(failed)?;
        Ok(process)
    }
}

/// nft's first complaint: its message and the line it points at.
fn said(stderr: &[u8]) -> String {
    let text = String::from_utf8_lossy(stderr);
    let lines: Vec<&str> = text.lines().map(str::trim_end).filter(|line| !line.is_empty()).take(2).collect();
    if lines.is_empty() { "it gave no reason".to_owned() } else { lines.join(": ").replace('\t', " ") }
}
