//! Which QEMU this host has: the binary, its version, and the firmware files beside it.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Kind, Result};

const BINARY: &str = "qemu-system-x86_64";
/// The first version with stream network back ends and JSON device arguments.
const VERSION_MIN: Version = Version { major: 7, minor: 2 };

/// Where distributions keep UEFI code and the matching empty variable store.
const UEFI_FILES: &[(&str, &str)] = &[
    ("/usr/share/OVMF/OVMF_CODE_4M.fd", "/usr/share/OVMF/OVMF_VARS_4M.fd"),
    ("/usr/share/OVMF/OVMF_CODE.fd", "/usr/share/OVMF/OVMF_VARS.fd"),
    ("/usr/share/edk2/ovmf/OVMF_CODE.fd", "/usr/share/edk2/ovmf/OVMF_VARS.fd"),
    ("/usr/share/edk2/x64/OVMF_CODE.4m.fd", "/usr/share/edk2/x64/OVMF_VARS.4m.fd"),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Version {
    pub major: u32,
    pub minor: u32,
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// A usable QEMU.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Qemu {
    binary: PathBuf,
    version: Version,
}

impl Qemu {
    /// Asks `binary`, or `qemu-system-x86_64` on the search path, for its version.
    #[expect(clippy::disallowed_methods, reason = "this room starts QEMU")]
    pub async fn find(binary: Option<&Path>) -> Result<Self> {
        let binary = binary.unwrap_or(Path::new(BINARY)).to_owned();
        let output =
            tokio::process::Command::new(&binary).arg("--version").output().await.map_err(|source| {
                let context = format!(
                    "{} cannot be run; on Debian it is in the package qemu-system-x86",
                    binary.display()
                );
                Error::caused(Kind::NotFound, context, source)
            })?;
        let version = parse_version(&String::from_utf8_lossy(&output.stdout)).ok_or_else(|| {
            Error::new(Kind::Invalid, format!("{} does not tell a QEMU version", binary.display()))
        })?;
        if version < VERSION_MIN {
            let context = format!(
                "{} is version {version}; at least {VERSION_MIN} is needed (Debian package qemu-system-x86)",
                binary.display()
            );
            return Err(Error::new(Kind::Invalid, context));
        }
        Ok(Self { binary, version })
    }

    /// Whether this build of QEMU has a device of this name.
    #[expect(clippy::disallowed_methods, reason = "this room starts QEMU")]
    pub(crate) async fn has_device(&self, driver: &str) -> bool {
        let question = format!("{driver},help");
        let mut asked = tokio::process::Command::new(&self.binary);
        asked.args(["-machine", "none", "-device", &question]).kill_on_drop(true);
        asked.output().await.is_ok_and(|answer| answer.status.success())
    }

    pub fn binary(&self) -> &Path {
        &self.binary
    }

    pub const fn version(&self) -> Version {
        self.version
    }
}

/// The host's UEFI: the code, and the variable store that each machine begins with a copy of.
pub fn uefi_files() -> Result<(PathBuf, PathBuf)> {
    let found = UEFI_FILES.iter().find(|(code, vars)| Path::new(code).exists() && Path::new(vars).exists());
    let (code, vars) = found.ok_or_else(|| {
        Error::new(Kind::NotFound, "no UEFI firmware on this host; on Debian it is in the package ovmf")
    })?;
    Ok((PathBuf::from(code), PathBuf::from(vars)))
}

/// Reads `QEMU emulator version 7.2.22 (...)`.
fn parse_version(text: &str) -> Option<Version> {
    let (_, rest) = text.split_once("version ")?;
    let mut numbers = rest.split(|c: char| !c.is_ascii_digit()).map(u32::from_str);
    Some(Version { major: numbers.next()?.ok()?, minor: numbers.next()?.ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_from_the_banner() {
        let debian = "QEMU emulator version 7.2.22 (Debian 1:7.2+dfsg-7)\nCopyright";
        assert_eq!(parse_version(debian), Some(Version { major: 7, minor: 2 }));
        assert_eq!(parse_version("QEMU emulator version 10.0.2"), Some(Version { major: 10, minor: 0 }));
        assert_eq!(parse_version("bash 5"), None);
        assert_eq!(parse_version("version x"), None);
    }

    #[tokio::test]
    async fn a_missing_qemu_names_the_package() {
        let error = Qemu::find(Some(Path::new("/nowhere/qemu"))).await.unwrap_err();
        assert_eq!(error.kind, Kind::NotFound);
        assert!(error.to_string().contains("qemu-system-x86"), "{error}");
        let error = Qemu::find(Some(Path::new("/bin/true"))).await.unwrap_err();
        assert_eq!(error.kind, Kind::Invalid);
    }
}
