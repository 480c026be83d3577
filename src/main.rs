//! The program: arguments to exit code.

fn main() -> std::process::ExitCode {
    pigeon::cli::main()
}
