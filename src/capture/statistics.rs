//! What a source says about itself: received, lost, frozen.

/// Counters of one interface since the source was opened. They only grow.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InterfaceStatistics {
    /// Its name; of a capture file, the file's name.
    pub name: String,
    /// Its kernel index now; 0 while it is absent, and for a file.
    pub index: u32,
    /// Its hardware type (ARPHRD_*), if it is there and of a kind that is not decoded.
    pub strange: Option<u16>,
    /// Whether frames can come: present and up.
    pub up: bool,
    /// Frames handed over.
    pub received: u64,
    /// Frames that passed the filter and were lost because nobody had made room in time. Interfaces that share a ring
    /// share its losses in proportion to what each received.
    pub dropped: u64,
    /// How often the ring it uses was full.
    pub freezes: u64,
    /// How often the interface went down or away.
    pub outages: u64,
}

/// Counters of a source.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// One entry an interface, in the order they were opened.
    pub interfaces: Vec<InterfaceStatistics>,
}

impl Statistics {
    /// Frames handed over, all interfaces together.
    #[must_use]
    pub fn received(&self) -> u64 {
        self.interfaces.iter().map(|interface| interface.received).sum()
    }

    /// Frames lost, all interfaces together.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.interfaces.iter().map(|interface| interface.dropped).sum()
    }
}
