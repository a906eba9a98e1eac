//! Capture files as other programs wrote them, whole, odd and hostile.

#[path = "capture/robustness.rs"]
mod robustness;
