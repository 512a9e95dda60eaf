//! What people and scripts see: results on standard output, everything else on standard error.

use std::io::{self, IsTerminal as _, Write as _};

use crate::error::{Error, ErrorKind, Result};

/// One line of the result.
pub fn print(line: &str) -> Result<()> {
    writeln!(io::stdout(), "{line}")
        .map_err(|e| Error::new(ErrorKind::Failed, format!("write the result: {e}")))
}

/// One line about what goes on. Nobody to read it is no error.
pub(crate) fn note(line: &str) {
    drop(writeln!(io::stderr(), "{line}"));
}

pub(crate) fn is_watched() -> bool {
    io::stderr().is_terminal()
}

/// How a command's error is shown: what went wrong, then what to try.
pub fn report(message: &str, hint: Option<&str>) {
    note(&format!("katagami: {message}"));
    if let Some(hint) = hint {
        note(&format!("  hint: {hint}"));
    }
}
