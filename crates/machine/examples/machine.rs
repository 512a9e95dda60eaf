//! `machine --dir DIRECTORY` alone, as the tests start it.

use std::path::PathBuf;
use std::process::ExitCode;

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    let (command, option, directory) = (arguments.next(), arguments.next(), arguments.next());
    if command.as_deref() != Some("machine".as_ref()) || option.as_deref() != Some("--dir".as_ref()) {
        return ExitCode::from(2);
    }
    match machine::run(&PathBuf::from(directory.unwrap_or_default())) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{}", error.chain());
            ExitCode::FAILURE
        }
    }
}
