//! What the server's own paths need of the control plane: the right to see an instance, and the reset.

use metastore::{Keep, Metastore};
use model::{InstanceId, Region};

use super::accounts;
use super::dispatcher::{Answer, Call, Dispatcher, refuse};
use super::env::Env;
use crate::failure::Failure;

impl Dispatcher {
    /// Whether the signer of this call owns the instance; if not, the answer to give.
    pub async fn authorize_instance(&self, call: &Call, id: &InstanceId) -> Result<(), Answer> {
        let request_id = model::id_gen::random_uuid(self.env.ids.as_ref());
        let owned = async {
            let caller = self.authenticate(call, &request_id).await?.caller;
            let instance = self.metastore.read().await?.instance_get(id).await?;
            match instance.filter(|instance| instance.owner_id == caller.account) {
                Some(_) => Ok(()),
                None => Err(Failure::instances_not_found(std::slice::from_ref(id))),
            }
        };
        owned.await.map_err(|failure| refuse(call, &request_id, &failure))
    }
}

/// Forgets everything but the accounts, which get their default networks anew.
pub async fn reset(metastore: &Metastore, env: &Env) -> Result<(), Failure> {
    metastore.reset(Keep::Identity).await?;
    let mut tx = metastore.write().await?;
    for account in tx.accounts().await? {
        for region in Region::all() {
            accounts::default_network_insert(&mut tx, env, &account.account_id, region).await?;
        }
    }
    tx.commit().await?;
    Ok(())
}
