//! Whether a role exempts what a host does.

use crate::detect::attempt::ContactAttempt;
use crate::detect::scorer::Scorer;
use crate::detect::settings::Role;
use crate::track::Host;
use crate::wire::frame::Transport;

impl Scorer {
    /// Whether a role of `host` in force allows something. Hosts without any role are looked up once for each generation of
    /// the settings.
    pub fn has_role(&self, host: &mut Host, allows: impl Fn(&Role) -> bool) -> bool {
        let (settings, now) = (&*self.settings, self.now);
        if host.generation != self.generation {
            let at = settings.roles.iter().position(|role| role.hosts.contains(host.address));
            host.role = at.and_then(|at| u16::try_from(at + 1).ok()).unwrap_or(0);
            host.generation = self.generation;
        }
        let Some(first) = usize::from(host.role).checked_sub(1) else { return false };
        settings
            .roles
            .iter()
            .skip(first)
            .any(|role| role.hosts.contains(host.address) && role.until.is_none_or(|until| now < until) && allows(role))
    }

    /// Whether a role of `host` in force allows this attempt.
    pub fn is_allowed(&self, host: &mut Host, what: ContactAttempt) -> bool {
        self.has_role(host, |role| {
            let Some(services) = &role.services else { return true };
            match what.transport {
                Transport::Tcp => services.has_tcp(what.port),
                Transport::Udp => services.has_udp(what.port),
                // A role that may open connections to many hosts asks the link for them, and pings them, first.
                Transport::Icmp | Transport::Other => true,
            }
        })
    }
}
