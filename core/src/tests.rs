//! The data model and the codec, against tables and against hickory-proto, which was written by others.

mod codec;
mod hostile;
mod model;
mod names;
mod records;
mod truncation;
mod zones;
