//! Numbers of the nf_tables interface (`linux/netfilter/nf_tables.h`, `linux/netfilter/nfnetlink.h`).

pub const SUBSYSTEM: u16 = 10 << 8;
pub const INET: u8 = 1;
pub const NETDEV: u8 = 5;
pub const GENMSG: usize = 4;

/// nfnetlink message types, without the subsystem.
pub mod kind {
    /// `NFT_MSG_NEWTABLE`
    pub const NEW_TABLE: u8 = 0;
    /// `NFT_MSG_DELTABLE`
    pub const DELETE_TABLE: u8 = 2;
    /// `NFT_MSG_NEWCHAIN`
    pub const NEW_CHAIN: u8 = 3;
    /// `NFT_MSG_GETCHAIN`
    pub const GET_CHAIN: u8 = 4;
    /// `NFT_MSG_DELCHAIN`
    pub const DELETE_CHAIN: u8 = 5;
    /// `NFT_MSG_NEWRULE`
    pub const NEW_RULE: u8 = 6;
    /// `NFT_MSG_GETRULE`
    pub const GET_RULE: u8 = 7;
    /// `NFT_MSG_DELRULE`
    pub const DELETE_RULE: u8 = 8;
    /// `NFT_MSG_NEWSET`
    pub const NEW_SET: u8 = 9;
    /// `NFT_MSG_GETSET`
    pub const GET_SET: u8 = 10;
    /// `NFT_MSG_DELSET`
    pub const DELETE_SET: u8 = 11;
    /// `NFT_MSG_NEWSETELEM`
    pub const NEW_ELEMENT: u8 = 12;
    /// `NFT_MSG_GETSETELEM`
    pub const GET_ELEMENT: u8 = 13;
    /// `NFT_MSG_DELSETELEM`
    pub const DELETE_ELEMENT: u8 = 14;
    /// `NFT_MSG_NEWGEN`
    pub const NEW_GENERATION: u8 = 15;
    /// `NFT_MSG_NEWOBJ`
    pub const NEW_OBJECT: u8 = 18;
    /// `NFT_MSG_GETOBJ`
    pub const GET_OBJECT: u8 = 19;
    /// `NFT_MSG_DELOBJ`
    pub const DELETE_OBJECT: u8 = 20;
}

/// `NFTA_CHAIN_*`
pub mod chain {
    pub const TABLE: u16 = 1;
    pub const NAME: u16 = 3;
    pub const HOOK: u16 = 4;
    pub const USERDATA: u16 = 12;
}

/// `NFTA_HOOK_*`
pub mod hook {
    pub const DEVICE: u16 = 3;
    pub const DEVICES: u16 = 4;
}

/// `NFTA_RULE_*`
pub mod rule {
    pub const TABLE: u16 = 1;
    pub const CHAIN: u16 = 2;
    pub const EXPRESSIONS: u16 = 4;
}

/// `NFTA_SET_*`, `NFT_SET_*`
pub mod set {
    pub const TABLE: u16 = 1;
    pub const NAME: u16 = 2;
    pub const FLAGS: u16 = 3;
    pub const KEY_LENGTH: u16 = 5;
    pub const ANONYMOUS: u32 = 1;
    pub const MAP: u32 = 8;
    pub const DESCRIPTION: u16 = 9;
    pub const COUNT: u16 = 20;
}

/// `NFTA_SET_DESC_*`
pub mod description {
    pub const SIZE: u16 = 1;
}

/// `NFTA_SET_ELEM_LIST_*`, `NFTA_LIST_*`
pub mod elements {
    pub const TABLE: u16 = 1;
    pub const SET: u16 = 2;
    pub const ELEMENTS: u16 = 3;
    pub const ITEM: u16 = 1;
}

/// `NFTA_SET_ELEM_*`
pub mod element {
    pub const KEY: u16 = 1;
    pub const DATA: u16 = 2;
    pub const FLAGS: u16 = 3;
    pub const TIMEOUT: u16 = 4;
    pub const EXPIRATION: u16 = 5;
    pub const EXPRESSION: u16 = 7;
    pub const KEY_END: u16 = 10;
}

/// `NFTA_DATA_*`
pub mod data {
    pub const VALUE: u16 = 1;
    pub const VERDICT: u16 = 2;
}

/// `NFTA_VERDICT_*`, `NFT_JUMP`
pub mod verdict {
    pub const CODE: u16 = 1;
    pub const CHAIN: u16 = 2;
    pub const JUMP: u32 = (-3i32).cast_unsigned();
}

/// `NFTA_OBJ_*`, `NFT_OBJECT_*`
pub mod object {
    pub const TABLE: u16 = 1;
    pub const NAME: u16 = 2;
    pub const TYPE: u16 = 3;
    pub const DATA: u16 = 4;
    pub const IS_COUNTER: u32 = 1;
}

/// `NFTA_COUNTER_*`
pub mod counter {
    pub const BYTES: u16 = 1;
    pub const PACKETS: u16 = 2;
}

/// `NFTA_EXPR_*`
pub mod expression {
    pub const NAME: u16 = 1;
    pub const DATA: u16 = 2;
}

/// `NFTA_GEN_*`
pub mod generation {
    pub const BY_PROCESS: u16 = 2;
    pub const BY_NAME: u16 = 3;
}
