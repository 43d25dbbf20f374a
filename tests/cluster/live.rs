//! Changes while the server runs.
