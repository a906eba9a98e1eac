//! State of hosts, contacts and attempts in tables of fixed capacity.
