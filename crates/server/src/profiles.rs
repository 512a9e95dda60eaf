//! The two files through which AWS clients find this server: `credentials` and `config`.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use control::KnownAccount;
use metastore::Metastore;
use model::{AccessKey, Timestamp};

use crate::data_dir::DataDir;
use crate::error::{Error, Result};

const REGION: &str = "us-east-1";
/// A setting that AWS clients know as well.
const ACCOUNT: &str = "aws_account_id";

/// An account's name and its oldest key.
type Profile = (String, AccessKey);

/// Brings both files up to date: a profile for each account. Accounts that emulated callers made for
/// themselves by number have none.
///
/// Invariant: made from the metastore on every start, so that no crash loses an access key.
pub(crate) async fn write(data: &DataDir, metastore: &Metastore, endpoint_url: Option<&str>) -> Result<()> {
    let profiles = profiles(metastore).await?;
    write_file(&data.credentials_file(), &credentials(&existing(data)?, &profiles))?;
    if let Some(endpoint_url) = endpoint_url {
        write_file(&data.config_file(), &config(&profiles, endpoint_url))?;
    }
    Ok(())
}

async fn profiles(metastore: &Metastore) -> Result<Vec<Profile>> {
    let mut tx = metastore.read().await?;
    let mut profiles = Vec::new();
    for account in tx.accounts().await? {
        let key = tx.access_keys_of(&account.account_id).await?.into_iter().next();
        let is_numbered = account.name == account.account_id.as_str();
        profiles.extend(key.filter(|_| !is_numbered).map(|key| (account.name, key)));
    }
    profiles.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(profiles)
}

fn existing(data: &DataDir) -> Result<String> {
    let path = data.credentials_file();
    match std::fs::read_to_string(&path) {
        Ok(text) => Ok(text),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(String::new()),
        Err(e) => Err(Error::caused(format!("read {}", path.display()), e)),
    }
}

fn write_file(path: &std::path::Path, text: &str) -> Result<()> {
    blockstore::durable::write_file(path, text.as_bytes(), 0o600)
        .map_err(|e| Error::caused(format!("write {}", path.display()), e))
}

/// What stands in the file stays; profiles that are missing are added. Each says which account its key is of,
/// so that accounts can be made anew with their keys.
fn credentials(existing: &str, profiles: &[Profile]) -> String {
    let mut text = existing.to_owned();
    for (name, key) in profiles {
        let (id, secret, account) = (&key.access_key_id, &key.secret_access_key, &key.account_id);
        if existing.lines().any(|line| line.trim() == format!("[{name}]")) {
            let line = format!("aws_access_key_id = {id}\n");
            let of_account = format!("{line}{ACCOUNT} = {account}\n");
            if !text.contains(&of_account) {
                text = text.replace(&line, &of_account);
            }
            continue;
        }
        if !text.is_empty() && !text.ends_with('\n') {
            text.push('\n');
        }
        write!(
            text,
            "[{name}]\naws_access_key_id = {id}\n{ACCOUNT} = {account}\naws_secret_access_key = {secret}\nregion = {REGION}\n"
        )
        .expect("writing to a string cannot fail");
    }
    text
}

/// The accounts whose keys stand in the credentials file.
pub(crate) fn known_accounts(data: &DataDir, now: Timestamp) -> Result<Vec<KnownAccount>> {
    Ok(accounts_of(&existing(data)?, now))
}

fn accounts_of(credentials: &str, now: Timestamp) -> Vec<KnownAccount> {
    let mut sections: Vec<(&str, BTreeMap<&str, &str>)> = Vec::new();
    for line in credentials.lines().map(str::trim) {
        if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            sections.push((name, BTreeMap::new()));
        } else if let (Some((_, values)), Some((key, value))) = (sections.last_mut(), line.split_once('=')) {
            values.insert(key.trim(), value.trim());
        }
    }
    let known = |(name, values): (&str, BTreeMap<&str, &str>)| {
        let key = AccessKey {
            access_key_id: (*values.get("aws_access_key_id")?).to_owned(),
            secret_access_key: (*values.get("aws_secret_access_key")?).to_owned(),
            account_id: values.get(ACCOUNT)?.parse().ok()?,
            create_time: now,
        };
        Some(KnownAccount { name: name.to_owned(), key })
    };
    sections.into_iter().filter_map(known).collect()
}

fn config(profiles: &[Profile], endpoint_url: &str) -> String {
    let mut text = "# Written by katagami serve at each start; for AWS_CONFIG_FILE.\n".to_owned();
    for (name, _) in profiles {
        let section = if name == "default" { name.clone() } else { format!("profile {name}") };
        write!(text, "[{section}]\nregion = {REGION}\nendpoint_url = {endpoint_url}\n")
            .expect("writing to a string cannot fail");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn profile(name: &str) -> Profile {
        let key = AccessKey {
            access_key_id: format!("AKIA{name}"),
            secret_access_key: "s".into(),
            account_id: "123456789012".parse().unwrap(),
            create_time: Timestamp::from_millis(0),
        };
        (name.to_owned(), key)
    }

    #[test]
    fn profiles_are_added_and_what_is_there_stays() {
        let first = credentials("", &[profile("default")]);
        assert_eq!(
            first,
            "[default]\naws_access_key_id = AKIAdefault\naws_account_id = 123456789012\naws_secret_access_key = s\nregion = us-east-1\n"
        );
        let mine = "[mine]\naws_access_key_id = X";
        let both = credentials(mine, &[profile("default"), profile("mine")]);
        assert!(both.starts_with("[mine]\naws_access_key_id = X\n[default]\n"), "{both}");
        assert_eq!(both.matches("[mine]").count(), 1);
    }

    #[test]
    fn accounts_are_found_again_in_the_file_also_in_one_of_before() {
        let written = credentials("", &[profile("default"), profile("dev")]);
        let old = written.replace("aws_account_id = 123456789012\n", "");
        assert!(accounts_of(&old, Timestamp(5)).is_empty());
        let mine = "[mine]\naws_access_key_id = X\naws_secret_access_key = Y\n";
        let both = credentials(&format!("{mine}{old}"), &[profile("default"), profile("dev")]);
        assert_eq!(both, format!("{mine}{written}"));
        let found = accounts_of(&both, Timestamp(5));
        let names: Vec<_> = found.iter().map(|known| known.name.as_str()).collect();
        assert_eq!(names, ["default", "dev"]);
        assert_eq!(found[1].key.secret_access_key, "s");
    }

    #[test]
    fn the_config_names_the_endpoint_for_every_profile() {
        let text = config(&[profile("default"), profile("dev")], "http://127.0.0.1:1");
        assert!(text.contains("[default]\n") && text.contains("[profile dev]\n"), "{text}");
        assert_eq!(text.matches("endpoint_url = http://127.0.0.1:1\n").count(), 2);
    }
}
