//! Which devices are protected: those that have a configured name, and those that had one since the start.
//!
//! A renamed device stays protected under its new name until the daemon restarts; a device that takes the old name is
//! protected too. Devices are known by their index, which is theirs while they live.

use std::collections::{BTreeMap, BTreeSet, HashMap};

/// Most devices that one name is remembered of.
const MOST: usize = 64;

/// A device that lost its configured name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Renamed {
    /// The name it had.
    pub configured: String,
    /// Its name now.
    pub now: String,
    /// Its index.
    pub index: u32,
}

/// The devices that had each configured name.
#[derive(Debug, Default)]
pub struct Protected {
    devices: BTreeMap<String, BTreeSet<u32>>,
    renamed: Vec<Renamed>,
}

impl Protected {
    /// Notes the present names by index; gives those that lost their name since the last look.
    pub fn look(&mut self, configured: &[String], names: &HashMap<u32, String>) -> Vec<Renamed> {
        self.devices.retain(|name, _| configured.contains(name));
        for (index, name) in names.iter().filter(|(_, name)| configured.contains(name)) {
            let devices = self.devices.entry(name.clone()).or_default();
            if devices.len() < MOST {
                devices.insert(*index);
            }
        }
        let mut renamed = Vec::new();
        for (name, devices) in &mut self.devices {
            // Gone, or protected under another configured name now.
            let elsewhere = |now: &String| now != name && configured.contains(now);
            devices.retain(|index| names.get(index).is_some_and(|now| !elsewhere(now)));
            renamed.extend(devices.iter().filter_map(|&index| {
                let now = names.get(&index).filter(|now| *now != name)?;
                Some(Renamed { configured: name.clone(), now: now.clone(), index })
            }));
        }
        let fresh = renamed.iter().filter(|renamed| !self.renamed.contains(renamed)).cloned().collect();
        self.renamed = renamed;
        fresh
    }

    /// The devices that go by another name than the configured one.
    pub fn renamed(&self) -> &[Renamed] {
        &self.renamed
    }

    /// The names to protect: the configured ones, and the new names of renamed devices.
    pub fn names(&self, configured: &[String]) -> Vec<String> {
        configured.iter().cloned().chain(self.renamed.iter().map(|renamed| renamed.now.clone())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(protected: &mut Protected, names: &[(u32, &str)]) -> Vec<(String, String)> {
        let configured = ["s0".to_owned(), "v0".to_owned()];
        let names = names.iter().map(|(index, name)| (*index, (*name).to_owned())).collect();
        protected.look(&configured, &names);
        protected.renamed().iter().map(|renamed| (renamed.configured.clone(), renamed.now.clone())).collect()
    }

    fn pairs(of: &[(&str, &str)]) -> Vec<(String, String)> {
        of.iter().map(|(configured, now)| ((*configured).to_owned(), (*now).to_owned())).collect()
    }

    #[test]
    fn a_renamed_device_stays_protected_and_so_is_whoever_takes_its_name() {
        let mut protected = Protected::default();
        assert!(look(&mut protected, &[(1, "lo"), (2, "s0"), (3, "v0")]).is_empty());
        assert_eq!(look(&mut protected, &[(1, "lo"), (2, "zz"), (3, "v0")]), pairs(&[("s0", "zz")]));
        assert_eq!(protected.names(&["s0".to_owned()]), ["s0", "zz"]);
        assert_eq!(look(&mut protected, &[(2, "zz"), (3, "v0"), (4, "s0")]), pairs(&[("s0", "zz")]));
        assert_eq!(look(&mut protected, &[(2, "zz"), (3, "v0"), (4, "y")]), pairs(&[("s0", "zz"), ("s0", "y")]));
        assert_eq!(look(&mut protected, &[(2, "s0"), (3, "v0"), (4, "y")]), pairs(&[("s0", "y")]));
        assert!(look(&mut protected, &[(2, "s0"), (3, "v0")]).is_empty(), "a device that is gone is forgotten");
    }

    #[test]
    fn two_that_swap_their_names_are_both_still_what_the_configuration_says() {
        let mut protected = Protected::default();
        look(&mut protected, &[(2, "s0"), (3, "v0")]);
        assert!(look(&mut protected, &[(2, "v0"), (3, "s0")]).is_empty());
        assert!(look(&mut protected, &[(3, "s0"), (2, "v0")]).is_empty());
    }

    #[test]
    fn a_device_that_never_had_a_configured_name_is_nobodys() {
        let mut protected = Protected::default();
        look(&mut protected, &[(3, "v0"), (9, "gre1")]);
        assert!(look(&mut protected, &[(3, "v0"), (9, "gre2")]).is_empty());
    }
}
