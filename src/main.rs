//! The `firedoor` command.

use std::process::ExitCode;

use firedoor::sys::memory::Tables;

#[global_allocator]
static ALLOCATOR: Tables = Tables;

fn main() -> ExitCode {
    firedoor::cli::main()
}
