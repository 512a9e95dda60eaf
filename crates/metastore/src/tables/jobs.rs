//! `jobs`: the durable queue. A row is a live job; a job that is done has none.
//!
//! Invariant: at most one live job a key, and only the worker of the newest claim settles a job. Every claim
//! raises the generation; a worker whose generation is old gets `Conflict` and must leave the job alone.

use std::time::Duration;

use model::Timestamp;

use crate::Tx;
use crate::engine::Row;
use crate::error::{Error, ErrorKind, Result};

/// The number of a job, never given out twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JobId(pub i64);

/// A live job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobRow {
    pub job_id: JobId,
    pub kind: String,
    pub key: String,
    /// JSON of the job's current step.
    pub payload: String,
    /// How often this step was begun, this time included.
    pub attempts: u32,
    pub run_after: Timestamp,
    /// Until when the present worker holds it.
    pub lease_until: Option<Timestamp>,
    /// Which claim this is.
    pub generation: i64,
    pub created: Timestamp,
    /// Why the last attempt failed.
    pub last_error: Option<String>,
}

/// What follows a turn that went well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NextJob {
    Done,
    /// Another step.
    Again {
        payload: String,
        run_after: Timestamp,
    },
}

const COLUMNS: &str =
    "job_id, kind, job_key, payload, attempts, run_after, lease_until, generation, create_time, last_error";
/// What the holder of a claim has: the lease may have run out, as long as nobody else took the job.
const HELD: &str = "job_id = $1 AND generation = $2 AND lease_until IS NOT NULL";

impl Tx {
    /// Adds a job that is due now. False, and nothing added, when a live job has the key.
    pub async fn job_enqueue(&mut self, kind: &str, key: &str, payload: &str) -> Result<bool> {
        if self.job_by_key(key).await?.is_some() {
            return Ok(false);
        }
        let number =
            "UPDATE counters SET last_value = last_value + 1 WHERE name = 'job_id' RETURNING last_value";
        let rows = self.query(number, &[]).await?;
        let Some(job_id) = rows.optional(|row| row.int(0))? else {
            return Err(Error::corrupt("number a job: the counter is gone"));
        };
        let sql = "INSERT INTO jobs (job_id, kind, job_key, payload, attempts, run_after, generation, create_time) \
                   VALUES ($1, $2, $3, $4, 0, $5, 0, $5)";
        let row = [job_id.into(), kind.into(), key.into(), payload.into(), self.now().into()];
        self.execute(sql, &row).await.map_err(|e| e.doing(format!("enqueue {kind} for {key}")))?;
        Ok(true)
    }

    /// Takes the job that has been due for longest, for `lease` from `now` on. Jobs whose lease has run out
    /// are due again.
    pub async fn job_claim(&mut self, now: Timestamp, lease: Duration) -> Result<Option<JobRow>> {
        let sql = format!(
            "UPDATE jobs SET generation = generation + 1, attempts = attempts + 1, lease_until = $2 \
             WHERE job_id = (SELECT job_id FROM jobs \
                             WHERE run_after <= $1 AND (lease_until IS NULL OR lease_until <= $1) \
                             ORDER BY run_after, job_id LIMIT 1) \
             RETURNING {COLUMNS}"
        );
        let rows = self.query(&sql, &[now.into(), now.plus(lease).into()]).await?;
        rows.optional(decode)
    }

    /// Ends a turn that went well. `Conflict` when the claim is no longer the newest.
    pub async fn job_settle(&mut self, id: JobId, generation: i64, next: NextJob) -> Result<()> {
        let claim = [id.0.into(), generation.into()];
        let changed = match next {
            NextJob::Done => self.execute(&format!("DELETE FROM jobs WHERE {HELD}"), &claim).await?,
            NextJob::Again { payload, run_after } => {
                let sql = format!(
                    "UPDATE jobs SET payload = $3, run_after = $4, attempts = 0, lease_until = NULL, \
                     last_error = NULL WHERE {HELD}"
                );
                let [id, generation] = claim;
                self.execute(&sql, &[id, generation, payload.into(), run_after.into()]).await?
            }
        };
        fenced_unless(changed, "settle", id)
    }

    /// Ends a turn that failed: the same step runs again after `run_after`. `Conflict` when fenced.
    pub async fn job_retry(
        &mut self,
        id: JobId,
        generation: i64,
        run_after: Timestamp,
        error: &str,
    ) -> Result<()> {
        let sql = format!("UPDATE jobs SET run_after = $3, lease_until = NULL, last_error = $4 WHERE {HELD}");
        let args = [id.0.into(), generation.into(), run_after.into(), error.into()];
        let changed = self.execute(&sql, &args).await?;
        fenced_unless(changed, "retry", id)
    }

    /// Holds a claim for `lease` from `now` on. `Conflict` when fenced.
    pub async fn job_heartbeat(
        &mut self,
        id: JobId,
        generation: i64,
        now: Timestamp,
        lease: Duration,
    ) -> Result<()> {
        let sql = format!("UPDATE jobs SET lease_until = $3 WHERE {HELD}");
        let args = [id.0.into(), generation.into(), now.plus(lease).into()];
        let changed = self.execute(&sql, &args).await?;
        fenced_unless(changed, "hold", id)
    }

    /// Ends every lease, so that jobs are due again at once: for a program that starts and knows that no
    /// other one works on this store. Returns how many there were.
    pub async fn jobs_release(&mut self) -> Result<u64> {
        self.execute("UPDATE jobs SET lease_until = NULL WHERE lease_until IS NOT NULL", &[]).await
    }

    /// All jobs in the order they were added.
    pub async fn jobs_live(&mut self) -> Result<Vec<JobRow>> {
        let rows = self.query(&format!("SELECT {COLUMNS} FROM jobs ORDER BY job_id"), &[]).await?;
        rows.map(decode)
    }

    pub async fn job_by_key(&mut self, key: &str) -> Result<Option<JobRow>> {
        let rows =
            self.query(&format!("SELECT {COLUMNS} FROM jobs WHERE job_key = $1"), &[key.into()]).await?;
        rows.optional(decode)
    }

    /// The first moment, `now` or later, at which a claim would find a job; None when there are no jobs.
    pub async fn next_due(&mut self, now: Timestamp) -> Result<Option<Timestamp>> {
        let sql =
            "SELECT MIN(CASE WHEN lease_until > run_after THEN lease_until ELSE run_after END) FROM jobs";
        let rows = self.query(sql, &[]).await?;
        let first = rows.optional(|row| row.opt_time(0))?.flatten();
        Ok(first.map(|due| due.max(now)))
    }
}

fn fenced_unless(changed: u64, doing: &str, id: JobId) -> Result<()> {
    if changed == 1 {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::Conflict,
        format!("{doing} job {}: a newer claim holds it, or it is done", id.0),
    ))
}

fn decode(row: &Row) -> Result<JobRow> {
    Ok(JobRow {
        job_id: JobId(row.int(0)?),
        kind: row.text(1)?.to_owned(),
        key: row.text(2)?.to_owned(),
        payload: row.text(3)?.to_owned(),
        attempts: row.number(4)?,
        run_after: row.time(5)?,
        lease_until: row.opt_time(6)?,
        generation: row.int(7)?,
        created: row.time(8)?,
        last_error: row.opt_text(9)?.map(str::to_owned),
    })
}
