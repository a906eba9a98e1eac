//! The one transaction that brings the kernel's table from what it is to what it shall be.

use std::fmt::{self, Write as _};

use super::{COUNTERS, DOOR, Plan, TABLE, Variant, kept};

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
    /// Sets of [`KEPT_SETS`](super::KEPT_SETS) to make anew all the same, because the kernel cannot change their size, or
    /// because they are of an earlier version that had other keys.
    pub resized: Vec<String>,
    /// What table `netdev firedoor` holds; `None` if there is none.
    pub frames: Option<Frames>,
}

/// What table `netdev firedoor` holds already.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frames {
    /// Its chains.
    pub chains: Vec<String>,
    /// Its named sets.
    pub sets: Vec<String>,
    /// Its named maps.
    pub maps: Vec<String>,
}

impl Plan {
    /// The one transaction that makes the kernel's tables these, without a gap and keeping every element of
    /// [`KEPT_SETS`](super::KEPT_SETS).
    #[must_use]
    pub fn script(&self, there: &Existing, variant: &Variant) -> String {
        let mut out = String::with_capacity(16_384);
        let _ = self.write_script(&mut out, there, variant);
        out
    }

    fn write_script(&self, out: &mut String, there: &Existing, variant: &Variant) -> fmt::Result {
        writeln!(out, "add table inet {TABLE}\nflush table inet {TABLE}")?;
        let text = self.variant(variant);
        for (word, names) in [("set", &there.sets), ("map", &there.maps)] {
            let kept = |name: &String| kept(name).is_some() && !there.resized.contains(name);
            for name in names.iter().filter(|name| !kept(name)) {
                writeln!(out, "delete {word} inet {TABLE} {name}")?;
            }
        }
        // Behind the maps, whose elements lead to chains.
        for chain in &there.chains {
            // The door is made anew, for its interfaces and its comment; others only go if they are no longer in use.
            if chain == DOOR || !text.contains(&format!("\tchain {chain} {{")) {
                writeln!(out, "delete chain inet {TABLE} {chain}")?;
            }
        }
        for counter in there.counters.iter().filter(|counter| !COUNTERS.contains(&counter.as_str())) {
            writeln!(out, "delete counter inet {TABLE} {counter}")?;
        }
        if let Some(frames) = &there.frames {
            write_frames_cleared(out, frames, &text, variant, &there.resized)?;
        }
        out.push_str(&text);
        Ok(())
    }
}

/// Table `netdev firedoor` as it is: emptied of what is not kept, or gone.
fn write_frames_cleared(
    out: &mut String,
    there: &Frames,
    text: &str,
    variant: &Variant,
    resized: &[String],
) -> fmt::Result {
    if variant.frames.is_empty() {
        return writeln!(out, "delete table netdev {TABLE}");
    }
    writeln!(out, "flush table netdev {TABLE}")?;
    for chain in &there.chains {
        if chain == "frames" || !text.contains(&format!("\tchain {chain} {{")) {
            writeln!(out, "delete chain netdev {TABLE} {chain}")?;
        }
    }
    for (word, names) in [("set", &there.sets), ("map", &there.maps)] {
        for name in names.iter().filter(|name| kept(name).is_none() || resized.contains(name)) {
            writeln!(out, "delete {word} netdev {TABLE} {name}")?;
        }
    }
    Ok(())
}
