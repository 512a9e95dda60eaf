//! `access_keys`: who signs requests with which secret.

use model::{AccessKey, AccountId};

use crate::Tx;
use crate::engine::Row;
use crate::error::Result;

const SELECT: &str = "SELECT access_key_id, account_id, secret_access_key, create_time FROM access_keys";

impl Tx {
    /// `Conflict` when the id is taken; the account must exist.
    pub async fn access_key_insert(&mut self, key: &AccessKey) -> Result<()> {
        let row = [
            key.access_key_id.as_str().into(),
            key.account_id.as_str().into(),
            key.secret_access_key.as_str().into(),
            key.create_time.into(),
        ];
        let sql = "INSERT INTO access_keys (access_key_id, account_id, secret_access_key, create_time) \
                   VALUES ($1, $2, $3, $4)";
        self.execute(sql, &row)
            .await
            .map_err(|e| e.doing(format!("insert access key {}", key.access_key_id)))?;
        Ok(())
    }

    pub async fn access_key_get(&mut self, id: &str) -> Result<Option<AccessKey>> {
        let rows = self.query(&format!("{SELECT} WHERE access_key_id = $1"), &[id.into()]).await?;
        rows.optional(decode)
    }

    pub async fn access_keys_of(&mut self, account: &AccountId) -> Result<Vec<AccessKey>> {
        let sql = format!("{SELECT} WHERE account_id = $1 ORDER BY create_time, access_key_id");
        let rows = self.query(&sql, &[account.as_str().into()]).await?;
        rows.map(decode)
    }
}

fn decode(row: &Row) -> Result<AccessKey> {
    Ok(AccessKey {
        access_key_id: row.text(0)?.to_owned(),
        account_id: row.parsed(1)?,
        secret_access_key: row.text(2)?.to_owned(),
        create_time: row.time(3)?,
    })
}
