//! periplus
