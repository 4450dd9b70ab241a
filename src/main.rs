//! The `etcd-ha` binary: everything happens in [`etcd_ha::cli`].

use std::process::ExitCode;

fn main() -> ExitCode {
    etcd_ha::cli::main(std::env::args_os())
}
