//! From a signature to a caller.

use std::str::FromStr;

use model::{AccountId, Region};
use wire::sigv4::{AuthFault, Claim, RequestParts, Rules};

use super::accounts;
use super::block;
use super::cx::Caller;
use super::dispatcher::{Call, Dispatcher};
use crate::failure::Failure;

/// Whether signatures are checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuthMode {
    Strict,
    /// For test suites on loopback: any signature, or none, is accepted. A twelve-digit access key
    /// id names the account, any other means the first one.
    Emulated,
}

/// Whom a call comes from and which service it is for.
#[derive(Debug)]
pub(in crate::spine) struct Authenticated {
    pub(in crate::spine) caller: Caller,
    pub(in crate::spine) service: String,
}

/// Checked against when the key does not exist, so that both refusals take the same time.
const NO_SECRET: &str = "0000000000000000000000000000000000000000";

const FALLBACK_REGION: &str = "us-east-1";

impl Dispatcher {
    pub(in crate::spine) async fn authenticate(
        &self,
        call: &Call,
        request_id: &str,
    ) -> Result<Authenticated, Failure> {
        let headers = readable_headers(call);
        let parts = request_parts(call, &headers);
        match self.auth {
            AuthMode::Strict => self.authenticate_strictly(call, &parts, request_id).await,
            AuthMode::Emulated => self.authenticate_anyone(call, &parts, request_id).await,
        }
    }

    async fn authenticate_strictly(
        &self,
        call: &Call,
        parts: &RequestParts<'_>,
        request_id: &str,
    ) -> Result<Authenticated, Failure> {
        let claim = Claim::parse(parts).map_err(refused)?;
        let mut tx = self.metastore.read().await?;
        let key = tx.access_key_get(&claim.access_key_id).await?;
        let secret = key.as_ref().map_or(NO_SECRET, |key| key.secret_access_key.as_str());
        let rules = match claim.scope.service.as_str() {
            block::SCOPE => wire::rest_json::signature_rules(parts.method),
            _ => Rules::SIGNED_BODY,
        };
        let verified = claim.verify(secret, parts, &call.body, self.env.clock.now(), rules);
        // Keys of this service have no session; a token belongs to some other key.
        let Some(key) = key.filter(|_| claim.session_token.is_none()) else {
            return Err(Failure::unknown_access_key(&claim.scope.service));
        };
        verified.map_err(refused)?;
        Ok(Authenticated {
            caller: Caller {
                account: key.account_id,
                region: Region::from_str(&claim.scope.region)?,
                request_id: request_id.to_owned(),
            },
            service: claim.scope.service,
        })
    }

    async fn authenticate_anyone(
        &self,
        call: &Call,
        parts: &RequestParts<'_>,
        request_id: &str,
    ) -> Result<Authenticated, Failure> {
        let claim = Claim::parse(parts).ok();
        let access_key_id = claim.as_ref().map_or_else(String::new, |claim| claim.access_key_id.clone());
        let account = self.emulated_account(&access_key_id).await?;
        let region = claim.as_ref().map_or(FALLBACK_REGION, |claim| claim.scope.region.as_str());
        let service =
            claim.as_ref().map_or_else(|| guessed_service(call), |claim| claim.scope.service.clone());
        let caller = Caller { account, region: Region::from_str(region)?, request_id: request_id.to_owned() };
        Ok(Authenticated { caller, service })
    }

    async fn emulated_account(&self, access_key_id: &str) -> Result<AccountId, Failure> {
        let mut tx = self.metastore.read().await?;
        let Ok(account_id) = AccountId::from_str(access_key_id) else {
            let first = tx.account_by_name(accounts::FIRST_ACCOUNT).await?;
            return first
                .map(|account| account.account_id)
                .ok_or_else(|| Failure::internal("the first account does not exist"));
        };
        if tx.account_get(&account_id).await?.is_none() {
            tx.rollback().await;
            accounts::ensure_numbered_account(&self.metastore, &self.env, account_id.clone()).await?;
        }
        Ok(account_id)
    }
}

/// The service of a call without a credential scope, from its form.
fn guessed_service(call: &Call) -> String {
    let service = if block::is_block_call(call) {
        block::SCOPE
    } else if super::dispatcher::speaks_sts(call) {
        "sts"
    } else {
        "ec2"
    };
    service.to_owned()
}

/// The headers whose values are text. One that is none is left out: if it was signed, the signature
/// does not hold without it, and otherwise nothing here reads it.
pub(in crate::spine) fn readable_headers(call: &Call) -> Vec<(&str, &str)> {
    let readable =
        call.headers.iter().filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?)));
    readable.collect()
}

pub(in crate::spine) fn request_parts<'a>(
    call: &'a Call,
    headers: &'a [(&'a str, &'a str)],
) -> RequestParts<'a> {
    RequestParts { method: call.method.as_str(), path: &call.path, query: &call.query, headers }
}

fn refused(fault: AuthFault) -> Failure {
    Failure::signature(fault.code(), fault)
}

#[cfg(test)]
mod tests {
    use http::{HeaderValue, Method};
    use testkit::World;

    /// A call to which a proxy on the way has added a header that is no text, or put it in place of another.
    async fn with_bytes_in(name: &'static str) -> String {
        let world = World::new().await;
        let body = b"Action=DescribeRegions&Version=2016-11-15".to_vec();
        let headers = [("x-amz-note", "text")];
        let mut call = world.signed(&world.owner, testkit::REGION, "ec2", Method::POST, "/", &headers, body);
        call.headers.insert(name, HeaderValue::from_bytes(b"caf\xe9").unwrap());
        let reply = world.answer(call).await;
        if reply.status.is_success() { "ok".to_owned() } else { reply.error_code() }
    }

    #[tokio::test]
    async fn a_header_that_is_no_text_matters_only_where_it_was_signed() {
        assert_eq!(with_bytes_in("x-added-on-the-way").await, "ok");
        assert_eq!(with_bytes_in("x-amz-note").await, "IncompleteSignature");
    }
}
