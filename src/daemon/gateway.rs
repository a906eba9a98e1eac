//! [`Gateway`]: what the configuration asks for, and the machine that it is asked of.

use std::path::{Path, PathBuf};

use ipnetwork::IpNetwork;

use crate::config::{self, Config};
use crate::daemon::Error;
use crate::daemon::renamed::{Protected, Renamed};
use crate::firewall::{self, Plan};
use crate::published::status::ConfigView;
use crate::site::{Machine, Site};
use crate::time::Timestamp;

/// What a look at the machine found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Survey {
    /// The machine is as it was.
    Unchanged,
    /// It has changed, but the same interfaces are protected.
    Changed,
    /// Protected interfaces have come or gone.
    InterfacesChanged,
}

/// The configuration as written, and the machine.
pub(super) struct Gateway {
    path: PathBuf,
    /// As written.
    written: Config,
    machine: Machine,
    /// The devices that have or had a configured name.
    devices: Protected,
    /// Tags are part of a place: frames with tags were seen.
    tagged: bool,
    /// Routes have changed since the machine was last looked at.
    pub routes_changed: bool,
    view: ConfigView,
}

impl Gateway {
    /// Looks at the machine that this configuration is to protect. `path` is where a reload reads it again.
    ///
    /// # Errors
    /// No interface is configured, or none of them exists.
    pub fn new(path: PathBuf, written: Config, now: Timestamp) -> Result<Self, Error> {
        if written.gateway.interfaces.is_empty() {
            return Err(Error::NoInterfaces);
        }
        let machine = Machine::now();
        let mut devices = Protected::default();
        devices.look(&written.gateway.interfaces, &machine.names);
        if machine.present(&written.gateway.interfaces).is_empty() {
            return Err(Error::NoneExists(written.gateway.interfaces.join(", ")));
        }
        let view = ConfigView { path: path.display().to_string(), loaded_at: now, ..ConfigView::default() };
        Ok(Gateway { path, written, machine, devices, tagged: false, routes_changed: false, view })
    }

    /// Where the configuration is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The machine, as it was last looked at.
    pub fn machine(&self) -> &Machine {
        &self.machine
    }

    /// What to say of the configuration.
    pub fn view(&self) -> &ConfigView {
        &self.view
    }

    /// The devices that have or had a configured name.
    pub fn devices(&self) -> &Protected {
        &self.devices
    }

    /// The protected interfaces that exist now.
    pub fn present(&self) -> Vec<String> {
        self.machine.present(&self.written.gateway.interfaces)
    }

    /// The site in force, interfaces under their configured names.
    pub fn site(&self) -> Site {
        let mut site = self.site_of(&self.written);
        site.config.gateway.interfaces.clone_from(&self.written.gateway.interfaces);
        site
    }

    /// The site by a configuration, renamed interfaces under their new names too.
    fn site_of(&self, written: &Config) -> Site {
        let mut written = written.clone();
        written.gateway.interfaces = self.devices.names(&written.gateway.interfaces);
        Site::new(&written, &self.machine)
    }

    /// Whether frames with tags were seen.
    pub fn is_tagged(&self) -> bool {
        self.tagged
    }

    /// Frames with tags were seen: the kernel acts on each VLAN by itself.
    pub fn set_tagged(&mut self) {
        self.tagged = true;
    }

    /// The kernel's plan by the configuration in force, with what was exempted by command.
    ///
    /// # Errors
    /// No ruleset can be made of it.
    pub fn plan(&self, by_command: &[IpNetwork], now: Timestamp) -> Result<Plan, firewall::Error> {
        let mut plan = self.plan_for(&self.written, now)?;
        if !by_command.is_empty() {
            let mut exempt = plan.exempt().to_vec();
            exempt.extend_from_slice(by_command);
            plan.set_exempt(exempt);
        }
        Ok(plan)
    }

    /// The plan by a configuration, on the devices that are protected now.
    ///
    /// # Errors
    /// No ruleset can be made of it.
    pub fn plan_for(&self, written: &Config, now: Timestamp) -> Result<Plan, firewall::Error> {
        let mut plan = self.site_of(written).plan(now)?;
        plan.set_tagged(self.tagged);
        Ok(plan)
    }

    /// Looks at the machine anew.
    pub fn survey(&mut self) -> Survey {
        self.routes_changed = false;
        let machine = Machine::now();
        if machine == self.machine {
            return Survey::Unchanged;
        }
        let before = self.present();
        self.machine = machine;
        for renamed in self.devices.look(&self.written.gateway.interfaces, &self.machine.names) {
            let Renamed { configured, now, .. } = renamed;
            tracing::warn!(
                "interface {configured} is now called {now}: it stays protected under that name until the daemon \
                 restarts; put {now} into gateway.interfaces, or give the interface its name back"
            );
        }
        let after = self.present();
        if before == after {
            return Survey::Changed;
        }
        tracing::warn!(interfaces = after.join(","), "protected interfaces have come or gone");
        Survey::InterfacesChanged
    }

    /// Reads the configuration again; it is not in force yet.
    ///
    /// # Errors
    /// In words: it is wrong, or takes effect at a restart only.
    pub fn read_again(&self) -> Result<Config, String> {
        let (config, _) = config::load(&self.path).map_err(|errors| errors.to_string())?;
        if config.gateway.interfaces == self.written.gateway.interfaces && config.capture == self.written.capture {
            Ok(config)
        } else {
            Err("gateway.interfaces and [capture] take effect at a restart only: `systemctl restart firedoor` \
                 (what is contained stays contained)"
                .to_owned())
        }
    }

    /// Puts a configuration into force.
    pub fn adopt(&mut self, written: Config) {
        self.written = written;
    }

    /// Notes what became of a reload.
    pub fn reloaded(&mut self, outcome: Result<(), &str>, now: Timestamp) {
        match outcome {
            Ok(()) => {
                self.view.loaded_at = now;
                self.view.reloads += 1;
                self.view.last_error = None;
            }
            Err(error) => {
                self.view.failed_reloads += 1;
                self.view.last_error = Some(error.to_owned());
            }
        }
    }
}
