//! `audit`: who asked for what, and how it ended.

use model::{AccountId, Region, Timestamp};

use crate::Tx;
use crate::engine::Row;
use crate::error::{Error, ErrorKind, Result};

/// One request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditRow {
    pub time: Timestamp,
    pub request_id: String,
    /// None when the caller could not be told.
    pub account_id: Option<AccountId>,
    pub region: Option<Region>,
    pub action: String,
    /// The error code; None for success.
    pub code: Option<String>,
    pub resource_ids: Vec<String>,
}

/// Rows that one call of the purge deletes at most, so that other writers wait for milliseconds only.
const PURGE_ROWS_MAX: u32 = 10_000;

impl Tx {
    /// `Conflict` when the request id is taken.
    pub async fn audit_insert(&mut self, row: &AuditRow) -> Result<()> {
        let resource_ids = serde_json::to_string(&row.resource_ids)
            .map_err(|e| Error::caused(ErrorKind::Invalid, "encode an audit row", e))?;
        let sql = "INSERT INTO audit (time, request_id, account_id, region, action, code, resource_ids) \
                   VALUES ($1, $2, $3, $4, $5, $6, $7)";
        let args = [
            row.time.into(),
            row.request_id.as_str().into(),
            row.account_id.as_ref().map(AccountId::as_str).into(),
            row.region.into(),
            row.action.as_str().into(),
            row.code.as_deref().into(),
            resource_ids.into(),
        ];
        self.execute(sql, &args)
            .await
            .map_err(|e| e.doing(format!("insert audit row {}", row.request_id)))?;
        Ok(())
    }

    /// Up to `count_max` rows in the order of time (then of request id), after the given row where there is one.
    pub async fn audit_page(&mut self, after: Option<&AuditRow>, count_max: u32) -> Result<Vec<AuditRow>> {
        let (time, request_id) = after.map_or((i64::MIN, ""), |row| (row.time.as_millis(), &row.request_id));
        let sql = "SELECT time, request_id, account_id, region, action, code, resource_ids FROM audit \
                   WHERE (time, request_id) > ($1, $2) ORDER BY time, request_id LIMIT $3";
        let rows = self.query(sql, &[time.into(), request_id.into(), count_max.into()]).await?;
        rows.map(decode)
    }

    /// Deletes rows of before a moment, and the oldest of those beyond `rows_max`: up to a bounded number a
    /// call, so call again until it returns 0.
    pub async fn audit_purge(&mut self, before: Timestamp, rows_max: u32) -> Result<u64> {
        let old = "DELETE FROM audit WHERE request_id IN \
                   (SELECT request_id FROM audit WHERE time < $1 ORDER BY time, request_id LIMIT $2)";
        let deleted = self.execute(old, &[before.into(), PURGE_ROWS_MAX.into()]).await?;
        let count = self.query("SELECT COUNT(*) FROM audit", &[]).await?.count()?;
        let excess = count.saturating_sub(u64::from(rows_max)).min(u64::from(PURGE_ROWS_MAX));
        let excess = i64::try_from(excess).unwrap_or(i64::MAX);
        let oldest = "DELETE FROM audit WHERE request_id IN \
                      (SELECT request_id FROM audit ORDER BY time, request_id LIMIT $1)";
        Ok(deleted + self.execute(oldest, &[excess.into()]).await?)
    }
}

fn decode(row: &Row) -> Result<AuditRow> {
    let resource_ids = serde_json::from_str(row.text(6)?)
        .map_err(|e| Error::caused(ErrorKind::Corrupt, "decode an audit row", e))?;
    Ok(AuditRow {
        time: row.time(0)?,
        request_id: row.text(1)?.to_owned(),
        account_id: row.opt_text(2)?.map(|_| row.parsed(2)).transpose()?,
        region: row.opt_text(3)?.map(|_| row.parsed(3)).transpose()?,
        action: row.text(4)?.to_owned(),
        code: row.opt_text(5)?.map(str::to_owned),
        resource_ids,
    })
}
