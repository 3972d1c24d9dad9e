//! Parse, run, print the error chain, exit with its code.

fn main() -> std::process::ExitCode {
    dpay::cli::main()
}
