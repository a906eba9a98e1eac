//! One TOML file: from the text as written, with its places, to checked, ready objects.

pub mod model;

pub use model::Config;
