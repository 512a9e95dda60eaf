//! The writer: exists only after `commit_point`, so that no dry run can change anything.

use model::{IdGen, Timestamp};

use super::cx::Cx;
use super::job::{Job, job_payload};
use crate::failure::Failure;

/// Changes rows and enqueues jobs, in the operation's transaction. Writes are in `spine::resources`.
#[derive(Debug)]
pub(crate) struct Write<'c, 't> {
    pub(in crate::spine) cx: &'c mut Cx<'t>,
}

impl<'c, 't> Write<'c, 't> {
    pub(in crate::spine) fn new(cx: &'c mut Cx<'t>) -> Self {
        Self { cx }
    }

    pub(crate) fn ids(&self) -> &dyn IdGen {
        self.cx.env.ids.as_ref()
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.cx.now()
    }

    /// The look-ups, for what has to be read after the first write.
    pub(crate) fn cx(&mut self) -> &mut Cx<'t> {
        self.cx
    }

    /// Leaves work for after the commit. A live job with the same key already does it.
    pub(crate) async fn enqueue<J: Job>(&mut self, job: &J) -> Result<(), Failure> {
        self.cx.tx.job_enqueue(J::KIND, &job.key().to_string(), &job_payload(job)?).await?;
        self.cx.enqueued = true;
        Ok(())
    }
}
