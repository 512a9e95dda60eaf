//! What a block operation sees: the caller, short transactions, the snapshot store and the host.

use blockstore::{Domain, DomainSecret};
use bytes::Bytes;
use metastore::Tx;
use model::Timestamp;

use super::uploads::Uploads;
use crate::failure::{BlockFailure, Failure};
use crate::ports::Host;
use crate::spine::cx::{Asked, Caller, Cx};
use crate::spine::dispatcher::Dispatcher;

/// The context of one run of one block operation.
#[derive(Debug)]
pub(crate) struct BlockCx<'c> {
    pub(super) dispatcher: &'c Dispatcher,
    pub(super) caller: &'c Caller,
    action: &'static str,
    body: &'c Bytes,
}

impl<'c> BlockCx<'c> {
    pub(super) fn new(
        dispatcher: &'c Dispatcher,
        caller: &'c Caller,
        action: &'static str,
        body: &'c Bytes,
    ) -> Self {
        Self { dispatcher, caller, action, body }
    }

    /// The body as it came: the block of `PutSnapshotBlock`.
    pub(crate) fn body(&self) -> &Bytes {
        self.body
    }

    pub(super) fn action(&self) -> &'static str {
        self.action
    }

    pub(crate) fn caller(&self) -> &Caller {
        self.caller
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.dispatcher.env.clock.now()
    }

    pub(crate) fn host(&self) -> &dyn Host {
        self.dispatcher.host.as_ref()
    }

    pub(crate) fn uploads(&self) -> &Uploads {
        &self.dispatcher.uploads
    }

    pub(crate) async fn read(&self) -> Result<Tx, BlockFailure> {
        Ok(self.dispatcher.metastore.read().await?)
    }

    pub(crate) async fn write(&self) -> Result<Tx, BlockFailure> {
        Ok(self.dispatcher.metastore.write().await?)
    }

    /// The look-ups of a transaction, and through its `commit_point` the writes.
    pub(crate) fn rows<'t>(&'t self, tx: &'t mut Tx) -> Cx<'t> {
        let asked = Asked { action: self.action, query: [0; 32], dry_run: false };
        Cx::new(tx, self.caller, &self.dispatcher.env, asked)
    }

    /// Commits with a row in the audit trail, and wakes the jobs that were enqueued.
    pub(crate) async fn commit(&self, mut tx: Tx) -> Result<(), BlockFailure> {
        self.dispatcher.audit(&mut tx, self.action, self.caller).await?;
        tx.commit().await?;
        self.dispatcher.wake.notify_one();
        Ok(())
    }

    /// The domain that holds a snapshot's bytes.
    pub(crate) async fn domain(
        &self,
        tx: &mut Tx,
        name: &str,
    ) -> Result<(Domain, DomainSecret), BlockFailure> {
        let row = tx.domain_get(name).await?;
        let row = row.ok_or_else(|| Failure::internal(format!("the domain {name} is unknown")))?;
        let secret = DomainSecret::new(row.secret);
        Ok((self.dispatcher.store.domain(name, &secret), secret))
    }
}
