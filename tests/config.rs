//! Facts about the configuration: what is shipped is right, and what is wrong is said well.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod config {
    mod advice;
    mod mistakes;
    mod mutations;
    mod shipped;
}
