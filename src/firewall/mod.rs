//! The kernel's firewall: ruleset text, elements, reconciliation.
