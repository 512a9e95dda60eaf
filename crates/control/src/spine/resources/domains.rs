//! Storage domains: within one, equal blocks are stored once. Unencrypted snapshots of an account
//! and region share a domain that the service owns.

use blockstore::DomainSecret;
use model::{AccountId, Region};

use super::super::write::Write;
use crate::failure::Failure;

/// The name of the domain that holds unencrypted snapshots.
pub(crate) fn service_domain(account: &AccountId, region: Region) -> String {
    format!("{account}.{region}")
}

impl Write<'_, '_> {
    /// The caller's own domain, made on first use.
    pub(crate) async fn own_domain(&mut self) -> Result<String, Failure> {
        let name = service_domain(&self.cx.caller.account, self.cx.caller.region);
        if self.cx.tx.domain_get(&name).await?.is_none() {
            let secret = *DomainSecret::derive(&self.cx.env.domain_master, &name).expose();
            let domain = metastore::Domain {
                domain: name.clone(),
                account_id: self.cx.caller.account.clone(),
                region: self.cx.caller.region,
                secret,
            };
            self.cx.tx.domain_insert(&domain).await?;
        }
        Ok(name)
    }
}
