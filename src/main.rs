use std::io::Write;
use std::process::ExitCode;

fn main() -> ExitCode {
    match rocl::cli::run(rocl::cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // With standard error closed the exit code still tells.
            let _ = writeln!(std::io::stderr(), "error: {}", rocl::cli::output::printable(&error.to_string()));
            ExitCode::from(error.exit_code())
        }
    }
}
