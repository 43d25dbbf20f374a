//! The Periplus binary: the program with all plugins of this repository.

use std::process::ExitCode;

fn main() -> ExitCode {
    periplus::cli::main(periplus_plugins::ORDER)
}
