//! `domains`: the secrets that snapshot content is sealed with, and whose they are.

use std::fmt;

use model::{AccountId, Region};

use crate::Tx;
use crate::engine::Row;
use crate::error::Result;

/// A storage domain. `Debug` hides the secret.
#[derive(Clone, PartialEq, Eq)]
pub struct Domain {
    pub domain: String,
    pub account_id: AccountId,
    pub region: Region,
    pub secret: [u8; 32],
}

impl fmt::Debug for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Domain")
            .field("domain", &self.domain)
            .field("account_id", &self.account_id)
            .field("region", &self.region)
            .finish_non_exhaustive()
    }
}

const SELECT: &str = "SELECT domain, account_id, region, secret FROM domains";

impl Tx {
    /// `Conflict` when the name is taken; the account must exist.
    pub async fn domain_insert(&mut self, domain: &Domain) -> Result<()> {
        let row = [
            domain.domain.as_str().into(),
            domain.account_id.as_str().into(),
            domain.region.into(),
            domain.secret.as_slice().into(),
        ];
        let sql = "INSERT INTO domains (domain, account_id, region, secret) VALUES ($1, $2, $3, $4)";
        self.execute(sql, &row).await.map_err(|e| e.doing(format!("insert domain {}", domain.domain)))?;
        Ok(())
    }

    pub async fn domain_get(&mut self, domain: &str) -> Result<Option<Domain>> {
        let rows = self.query(&format!("{SELECT} WHERE domain = $1"), &[domain.into()]).await?;
        rows.optional(decode)
    }

    /// The domains of all accounts, by name.
    pub async fn domains(&mut self) -> Result<Vec<Domain>> {
        self.query(&format!("{SELECT} ORDER BY domain"), &[]).await?.map(decode)
    }

    /// The domains of an account in a region, by name.
    pub async fn domains_of(&mut self, account: &AccountId, region: Region) -> Result<Vec<Domain>> {
        let sql = format!("{SELECT} WHERE account_id = $1 AND region = $2 ORDER BY domain");
        let rows = self.query(&sql, &[account.as_str().into(), region.into()]).await?;
        rows.map(decode)
    }
}

fn decode(row: &Row) -> Result<Domain> {
    Ok(Domain {
        domain: row.text(0)?.to_owned(),
        account_id: row.parsed(1)?,
        region: row.parsed(2)?,
        secret: row.bytes32(3)?,
    })
}
