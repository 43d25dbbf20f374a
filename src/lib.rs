//! periplus
pub mod net;
pub mod sys;
