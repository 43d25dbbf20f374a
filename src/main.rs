//! periplus
fn main() {}
