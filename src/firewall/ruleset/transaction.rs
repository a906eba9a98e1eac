//! The one transaction that brings the kernel's table from what it is to what it shall be.

use std::fmt::{self, Write as _};

use super::{COUNTERS, DOOR, KEPT_SETS, Plan, TABLE};

/// What a table holds already, as far as the script that replaces it must know.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Existing {
    /// Its chains.
    pub chains: Vec<String>,
    /// Its named sets.
    pub sets: Vec<String>,
    /// Its named maps.
    pub maps: Vec<String>,
    /// Its named counters.
    pub counters: Vec<String>,
    /// Sets of [`KEPT_SETS`] to make anew all the same, because the kernel cannot change their size.
    pub resized: Vec<String>,
}

impl Plan {
    /// The one transaction that makes the kernel's table this one, without a gap and keeping every element of
    /// [`KEPT_SETS`].
    #[must_use]
    pub fn script(&self, there: &Existing, isolation: bool) -> String {
        let mut out = String::with_capacity(4096);
        let _ = self.write_script(&mut out, there, isolation);
        out
    }

    fn write_script(&self, out: &mut String, there: &Existing, isolation: bool) -> fmt::Result {
        writeln!(out, "add table inet {TABLE}\nflush table inet {TABLE}")?;
        let text = self.text(isolation);
        for chain in &there.chains {
            // The door is made anew, for its interfaces and its comment; others only go if they are no longer in use.
            if chain == DOOR || !text.contains(&format!("\tchain {chain} {{")) {
                writeln!(out, "delete chain inet {TABLE} {chain}")?;
            }
        }
        for (word, names) in [("set", &there.sets), ("map", &there.maps)] {
            let kept = |name: &String| KEPT_SETS.contains(&name.as_str()) && !there.resized.contains(name);
            for name in names.iter().filter(|name| !kept(name)) {
                writeln!(out, "delete {word} inet {TABLE} {name}")?;
            }
        }
        for counter in there.counters.iter().filter(|counter| !COUNTERS.contains(&counter.as_str())) {
            writeln!(out, "delete counter inet {TABLE} {counter}")?;
        }
        out.push_str(&text);
        Ok(())
    }
}
