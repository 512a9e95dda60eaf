//! `client_tokens`: answers that a repeated request gets again.

use std::fmt;

use model::{AccountId, Region, Timestamp};

use crate::Tx;
use crate::error::Result;

/// A remembered answer. `Debug` leaves it out, because answers may hold secrets.
#[derive(Clone, PartialEq, Eq)]
pub struct ClientTokenRow {
    pub account_id: AccountId,
    pub region: Region,
    pub action: String,
    pub token: String,
    /// Tells a repetition from another request with the same token.
    pub request_hash: [u8; 32],
    pub response: Vec<u8>,
    pub created: Timestamp,
}

impl fmt::Debug for ClientTokenRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientTokenRow")
            .field("account_id", &self.account_id)
            .field("region", &self.region)
            .field("action", &self.action)
            .field("token", &self.token)
            .finish_non_exhaustive()
    }
}

impl Tx {
    pub async fn client_token_get(
        &mut self,
        account: &AccountId,
        region: Region,
        action: &str,
        token: &str,
    ) -> Result<Option<ClientTokenRow>> {
        let sql = "SELECT request_hash, response, create_time FROM client_tokens \
                   WHERE account_id = $1 AND region = $2 AND action = $3 AND token = $4";
        let args = [account.as_str().into(), region.into(), action.into(), token.into()];
        let rows = self.query(sql, &args).await?;
        rows.optional(|row| {
            Ok(ClientTokenRow {
                account_id: account.clone(),
                region,
                action: action.to_owned(),
                token: token.to_owned(),
                request_hash: row.bytes32(0)?,
                response: row.blob(1)?.to_vec(),
                created: row.time(2)?,
            })
        })
    }

    /// `Conflict` when the token is already remembered.
    pub async fn client_token_insert(&mut self, row: &ClientTokenRow) -> Result<()> {
        let sql = "INSERT INTO client_tokens \
                   (account_id, region, action, token, request_hash, response, create_time) \
                   VALUES ($1, $2, $3, $4, $5, $6, $7)";
        let args = [
            row.account_id.as_str().into(),
            row.region.into(),
            row.action.as_str().into(),
            row.token.as_str().into(),
            row.request_hash.as_slice().into(),
            row.response.as_slice().into(),
            row.created.into(),
        ];
        self.execute(sql, &args)
            .await
            .map_err(|e| e.doing(format!("insert client token for {}", row.action)))?;
        Ok(())
    }

    /// Forgets tokens created before a moment; returns how many.
    pub async fn client_tokens_purge(&mut self, before: Timestamp) -> Result<u64> {
        self.execute("DELETE FROM client_tokens WHERE create_time < $1", &[before.into()]).await
    }
}
