//! The keys to a bucket: given, or in a file that may be replaced while we run.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use object_store::CredentialProvider;
use object_store::aws::AwsCredential;
use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorKind, Result};

const FILE_BYTES_MAX: u64 = 1 << 20;

/// Where the keys come from.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum S3Credentials {
    Keys {
        access_key_id: String,
        secret_access_key: String,
        session_token: Option<String>,
    },
    /// A shared credentials file of AWS, read again when it changes.
    File {
        path: PathBuf,
        profile: String,
    },
}

impl fmt::Debug for S3Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Keys { access_key_id, .. } => {
                f.debug_struct("Keys").field("access_key_id", access_key_id).finish_non_exhaustive()
            }
            Self::File { path, profile } => {
                f.debug_struct("File").field("path", path).field("profile", profile).finish()
            }
        }
    }
}

/// The file as it was when it was read last.
#[derive(Clone)]
struct Read {
    modified: Option<SystemTime>,
    len: u64,
    credential: Arc<AwsCredential>,
}

/// Gives the keys to each request.
pub(super) struct Keys {
    from: S3Credentials,
    read: Mutex<Option<Read>>,
}

impl Keys {
    pub(super) fn new(from: S3Credentials) -> Self {
        Self { from, read: Mutex::default() }
    }

    fn of_file(&self, path: &Path, profile: &str) -> Result<Arc<AwsCredential>> {
        let failed = |e| Error::new(ErrorKind::Invalid, format!("read {}", path.display())).with_source(e);
        let metadata = std::fs::metadata(path).map_err(failed)?;
        let (modified, len) = (metadata.modified().ok(), metadata.len());
        if len > FILE_BYTES_MAX {
            return Err(Error::invalid(format!("{} is too long for credentials", path.display())));
        }
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = read.as_ref().filter(|known| (known.modified, known.len) == (modified, len)) {
            return Ok(Arc::clone(&known.credential));
        }
        let text = std::fs::read_to_string(path).map_err(failed)?;
        let credential = Arc::new(in_profile(&text, profile).ok_or_else(|| {
            Error::invalid(format!("{} has no access key under [{profile}]", path.display()))
        })?);
        *read = Some(Read { modified, len, credential: Arc::clone(&credential) });
        Ok(credential)
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.from, f)
    }
}

#[async_trait::async_trait]
impl CredentialProvider for Keys {
    type Credential = AwsCredential;

    async fn get_credential(&self) -> object_store::Result<Arc<AwsCredential>> {
        let credential = match &self.from {
            S3Credentials::Keys { access_key_id, secret_access_key, session_token } => {
                Ok(Arc::new(AwsCredential {
                    key_id: access_key_id.clone(),
                    secret_key: secret_access_key.clone(),
                    token: session_token.clone(),
                }))
            }
            S3Credentials::File { path, profile } => self.of_file(path, profile),
        };
        credential.map_err(|e| object_store::Error::Unauthenticated {
            path: "the credentials file".to_owned(),
            source: e.into(),
        })
    }
}

/// The keys of one section of a shared credentials file.
fn in_profile(text: &str, profile: &str) -> Option<AwsCredential> {
    let mut is_ours = false;
    let (mut key_id, mut secret_key, mut token) = (None, None, None);
    for line in text.lines().map(str::trim) {
        if let Some(section) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            is_ours = section.trim() == profile;
        } else if let Some((name, value)) = line.split_once('=').filter(|_| is_ours) {
            let value = Some(value.trim().to_owned()).filter(|value| !value.is_empty());
            match name.trim() {
                "aws_access_key_id" => key_id = value,
                "aws_secret_access_key" => secret_key = value,
                "aws_session_token" => token = value,
                _ => {}
            }
        }
    }
    Some(AwsCredential { key_id: key_id?, secret_key: secret_key?, token })
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "# keys\n[other]\naws_access_key_id = X\naws_secret_access_key=Y\n\n[ default ]\n\
        aws_access_key_id=AKID\n aws_secret_access_key = s/=cr+t= \nregion = x\n[empty]\naws_access_key_id=A\n";

    #[test]
    fn a_profile_is_found_among_others() {
        let found = in_profile(FILE, "default").unwrap();
        assert_eq!((found.key_id.as_str(), found.secret_key.as_str()), ("AKID", "s/=cr+t="));
        assert_eq!(found.token, None);
        assert!(in_profile(FILE, "empty").is_none() && in_profile(FILE, "none").is_none());
    }

    #[tokio::test]
    async fn a_file_that_is_replaced_is_read_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("credentials");
        let write = |key: &str| {
            let text =
                format!("[p]\naws_access_key_id={key}\naws_secret_access_key=s\naws_session_token=t\n");
            std::fs::write(&path, text).unwrap();
        };
        let keys = Keys::new(S3Credentials::File { path: path.clone(), profile: "p".to_owned() });
        assert!(keys.get_credential().await.is_err());
        write("one");
        assert_eq!(keys.get_credential().await.unwrap().key_id, "one");
        write("longer");
        let now = keys.get_credential().await.unwrap();
        assert_eq!((now.key_id.as_str(), now.token.as_deref()), ("longer", Some("t")));
    }
}
