//! The other process of this program: one instance's machine, started by [`crate::serve`].

use std::path::Path;

use crate::error::{Error, Result};
use crate::logging::{self, LogFormat};

/// Runs the machine in `dir` to its end. Its log is its standard error, which the server made a file.
pub fn machine(dir: &Path) -> Result<()> {
    logging::start(LogFormat::Text, "info")?;
    machine::run(dir).map_err(|e| Error::caused(format!("run the machine in {}", dir.display()), e))
}
