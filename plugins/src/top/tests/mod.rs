//! Sketches against exact counts, and the lists as they are shown.

mod lists;
mod settings;
mod sketches;
