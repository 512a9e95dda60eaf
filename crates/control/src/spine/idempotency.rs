//! Client tokens: the same token with the same parameters gives the same answer and no new work.

use metastore::{ClientTokenRow, Tx};
use model::Timestamp;
use model::limits::CLIENT_TOKEN_CHARS_MAX;
use sha2::{Digest, Sha256};
use wire::query::Params;

use super::cx::Caller;
use crate::failure::Failure;

/// A token as one call carries it.
#[derive(Debug)]
pub(crate) struct ClientToken {
    token: String,
    action: &'static str,
    request_hash: [u8; 32],
}

/// The stored answer holds the request id of its own call; a replay puts the new one in its place.
const REQUEST_ID_MARK: &str = "\u{1}request-id\u{1}";

impl ClientToken {
    /// None where the call carries no token.
    pub(crate) fn of(action: &'static str, params: &Params) -> Result<Option<Self>, Failure> {
        let Some(token) = params.non_empty("ClientToken") else {
            return Ok(None);
        };
        if token.len() > CLIENT_TOKEN_CHARS_MAX || !token.is_ascii() {
            return Err(Failure::token_too_long(CLIENT_TOKEN_CHARS_MAX));
        }
        Ok(Some(Self { token: token.to_owned(), action, request_hash: params.digest(wire::query::COMMON) }))
    }

    /// The token of a call whose body is JSON.
    pub(crate) fn of_body(action: &'static str, token: &str, body: &[u8]) -> Self {
        // Read and written again, so that spacing does not make another request of it.
        let canonical = serde_json::from_slice::<serde_json::Value>(body).map(|value| value.to_string());
        let request_hash = match canonical {
            Ok(text) => Sha256::digest(text),
            Err(_) => Sha256::digest(body),
        };
        Self { token: token.to_owned(), action, request_hash: request_hash.into() }
    }

    /// The answer of the call that used the token first.
    pub(crate) async fn replay(&self, tx: &mut Tx, caller: &Caller) -> Result<Option<String>, Failure> {
        let stored = tx.client_token_get(&caller.account, caller.region, self.action, &self.token).await?;
        match stored {
            None => Ok(None),
            Some(stored) if stored.request_hash == self.request_hash => {
                let text = String::from_utf8(stored.response).map_err(Failure::internal)?;
                Ok(Some(text.replacen(REQUEST_ID_MARK, &caller.request_id, 1)))
            }
            Some(_) => Err(Failure::token_reused(&self.token)),
        }
    }

    pub(crate) async fn remember(
        &self,
        tx: &mut Tx,
        caller: &Caller,
        now: Timestamp,
        answer: &str,
    ) -> Result<(), Failure> {
        let marked = answer.replacen(&caller.request_id, REQUEST_ID_MARK, 1);
        let row = ClientTokenRow {
            account_id: caller.account.clone(),
            region: caller.region,
            action: self.action.to_owned(),
            token: self.token.clone(),
            request_hash: self.request_hash,
            response: marked.into_bytes(),
            created: now,
        };
        tx.client_token_insert(&row).await?;
        Ok(())
    }
}
