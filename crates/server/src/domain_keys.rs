//! `DIR/domains.key`: the secrets of the storage domains, kept apart from the database, so that the store can be
//! read again when the database is lost. Whoever has this file and the store has the content of every snapshot.

use std::collections::BTreeMap;

use blockstore::DomainSecret;
use metastore::Metastore;
use model::IdGen;
use model::id_gen::random_bytes;
use serde::{Deserialize, Serialize};

use crate::data_dir::DataDir;
use crate::error::{Error, Result};

const VERSION: u32 = 1;

/// The file's form.
#[derive(Debug, Serialize, Deserialize)]
struct Form {
    version: u32,
    /// Secrets are derived from it, in hex like all others.
    master: String,
    /// Domains of before there was a master, and their secrets.
    domains: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct Versioned {
    version: u32,
}

/// The secrets of all domains, those that do not exist yet included.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct DomainKeys {
    master: [u8; 32],
    domains: BTreeMap<String, [u8; 32]>,
}

impl DomainKeys {
    /// None where there is no file.
    pub(crate) fn read(data: &DataDir) -> Result<Option<Self>> {
        let path = data.domain_keys_file();
        let failed = |why: String| Error::new(format!("read {}: {why}", path.display()));
        let text = match std::fs::read(&path) {
            Ok(text) => text,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(failed(e.to_string())),
        };
        Self::decode(&text).map(Some).map_err(failed)
    }

    fn decode(text: &[u8]) -> Result<Self, String> {
        // No parser's message: it might repeat a secret.
        let damaged = || "it is damaged; take it from a backup".to_owned();
        let Versioned { version } = serde_json::from_slice(text).map_err(|_| damaged())?;
        if version != VERSION {
            return Err(format!("its form is {version}, and this program knows {VERSION}"));
        }
        let form: Form = serde_json::from_slice(text).map_err(|_| damaged())?;
        let secret = |text: &String| {
            let mut secret = [0; 32];
            hex::decode_to_slice(text, &mut secret).map_err(|_| damaged())?;
            Ok::<_, String>(secret)
        };
        let domains = form.domains.iter().map(|(name, text)| Ok((name.clone(), secret(text)?)));
        Ok(Self { master: secret(&form.master)?, domains: domains.collect::<Result<_, String>>()? })
    }

    /// Makes sure that the file has the secret of every domain, before the first of them is used.
    pub(crate) async fn ensure(data: &DataDir, metastore: &Metastore, ids: &dyn IdGen) -> Result<Self> {
        let old = Self::read(data)?;
        let mut keys =
            old.clone().unwrap_or_else(|| Self { master: random_bytes(ids), domains: BTreeMap::new() });
        for row in metastore.read().await?.domains().await? {
            if keys.secret_of(&row.domain) != row.secret {
                keys.domains.insert(row.domain, row.secret);
            }
        }
        if old.as_ref() != Some(&keys) {
            keys.write(data)?;
        }
        Ok(keys)
    }

    fn write(&self, data: &DataDir) -> Result<()> {
        let domains = self.domains.iter().map(|(name, secret)| (name.clone(), hex::encode(secret)));
        let form = Form { version: VERSION, master: hex::encode(self.master), domains: domains.collect() };
        let path = data.domain_keys_file();
        let failed = |e: std::io::Error| Error::caused(format!("write {}", path.display()), e);
        let text = serde_json::to_vec_pretty(&form).map_err(|e| failed(e.into()))?;
        blockstore::durable::write_file(&path, &text, 0o600).map_err(failed)
    }

    pub(crate) const fn master(&self) -> [u8; 32] {
        self.master
    }

    pub(crate) fn secret_of(&self, domain: &str) -> [u8; 32] {
        let listed = self.domains.get(domain).copied();
        listed.unwrap_or_else(|| *DomainSecret::derive(&self.master, domain).expose())
    }
}

impl std::fmt::Debug for DomainKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DomainKeys").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;
    use std::sync::Arc;

    use model::{AccountId, ManualClock, OsIdGen, Timestamp};

    use super::*;

    /// A database with an account and a domain, as programs before this file made them.
    async fn with_domain(secret: [u8; 32]) -> Metastore {
        let clock = Arc::new(ManualClock::at(Timestamp(0)));
        let metastore = Metastore::in_memory(clock).await.unwrap();
        let account_id: AccountId = "123456789012".parse().unwrap();
        let mut tx = metastore.write().await.unwrap();
        let account = model::Account {
            account_id: account_id.clone(),
            name: "default".into(),
            create_time: Timestamp(0),
        };
        tx.account_insert(&account).await.unwrap();
        let region = "us-east-1".parse().unwrap();
        let domain =
            metastore::Domain { domain: "123456789012.us-east-1".into(), account_id, region, secret };
        tx.domain_insert(&domain).await.unwrap();
        tx.commit().await.unwrap();
        metastore
    }

    #[tokio::test]
    async fn secrets_of_before_are_listed_and_new_ones_derived() {
        let home = tempfile::tempdir().unwrap();
        let data = DataDir::open(home.path()).unwrap();
        assert!(DomainKeys::read(&data).unwrap().is_none());
        let keys = DomainKeys::ensure(&data, &with_domain([9; 32]).await, &OsIdGen).await.unwrap();
        assert_eq!(keys.secret_of("123456789012.us-east-1"), [9; 32]);
        assert_ne!(keys.secret_of("a"), keys.secret_of("b"));
        let mode = std::fs::metadata(data.domain_keys_file()).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let again = DomainKeys::read(&data).unwrap().unwrap();
        assert!(again == keys);
        // A database with another secret, restored over this one, is not forgotten either.
        let other = DomainKeys::ensure(&data, &with_domain([8; 32]).await, &OsIdGen).await.unwrap();
        assert_eq!(other.secret_of("123456789012.us-east-1"), [8; 32]);
        assert_eq!(other.secret_of("a"), keys.secret_of("a"));
    }

    #[test]
    fn what_is_no_such_file_is_refused_without_showing_it() {
        let good = r#"{"version":1,"master":"MASTER","domains":{}}"#.replace("MASTER", &"ab".repeat(32));
        assert!(DomainKeys::decode(good.as_bytes()).is_ok());
        for bad in ["", "{}", &good.replace("ab", "zz"), &good.replace("\"ab", "\""), &good[..good.len() - 1]]
        {
            let why = DomainKeys::decode(bad.as_bytes()).unwrap_err();
            assert!(why.contains("damaged") && !why.contains("abab"), "{why}");
        }
        let newer = DomainKeys::decode(good.replace(":1,", ":2,").as_bytes()).unwrap_err();
        assert!(newer.contains("its form is 2"), "{newer}");
    }
}
