//! `upload_blocks`: which blocks a client has put into a snapshot that it uploads, and their checksums.

use model::SnapshotId;

use crate::Tx;
use crate::error::Result;

impl Tx {
    /// Records a block; putting the same index again replaces its checksum.
    pub async fn upload_block_put(
        &mut self,
        snapshot: &SnapshotId,
        block_index: u32,
        sha256: &[u8; 32],
    ) -> Result<()> {
        let sql = "INSERT INTO upload_blocks (snapshot_id, block_index, sha256) VALUES ($1, $2, $3) \
                   ON CONFLICT (snapshot_id, block_index) DO UPDATE SET sha256 = excluded.sha256";
        let row = [snapshot.as_str().into(), block_index.into(), sha256.as_slice().into()];
        self.execute(sql, &row).await?;
        Ok(())
    }

    /// Forgets a block. Nothing happens when there is none.
    pub async fn upload_block_delete(&mut self, snapshot: &SnapshotId, block_index: u32) -> Result<()> {
        let sql = "DELETE FROM upload_blocks WHERE snapshot_id = $1 AND block_index = $2";
        self.execute(sql, &[snapshot.as_str().into(), block_index.into()]).await?;
        Ok(())
    }

    pub async fn upload_block_get(
        &mut self,
        snapshot: &SnapshotId,
        block_index: u32,
    ) -> Result<Option<[u8; 32]>> {
        let sql = "SELECT sha256 FROM upload_blocks WHERE snapshot_id = $1 AND block_index = $2";
        let rows = self.query(sql, &[snapshot.as_str().into(), block_index.into()]).await?;
        rows.optional(|row| row.bytes32(0))
    }

    /// Up to `count_max` blocks from `first_index` on, in order: a snapshot may have a hundred million.
    pub async fn upload_blocks_page(
        &mut self,
        snapshot: &SnapshotId,
        first_index: u32,
        count_max: u32,
    ) -> Result<Vec<(u32, [u8; 32])>> {
        let sql = "SELECT block_index, sha256 FROM upload_blocks \
                   WHERE snapshot_id = $1 AND block_index >= $2 ORDER BY block_index LIMIT $3";
        let args = [snapshot.as_str().into(), first_index.into(), count_max.into()];
        let rows = self.query(sql, &args).await?;
        rows.map(|row| Ok((row.number(0)?, row.bytes32(1)?)))
    }

    pub async fn upload_blocks_count(&mut self, snapshot: &SnapshotId) -> Result<u64> {
        let sql = "SELECT COUNT(*) FROM upload_blocks WHERE snapshot_id = $1";
        self.query(sql, &[snapshot.as_str().into()]).await?.count()
    }

    pub async fn upload_blocks_delete_all(&mut self, snapshot: &SnapshotId) -> Result<()> {
        self.execute("DELETE FROM upload_blocks WHERE snapshot_id = $1", &[snapshot.as_str().into()]).await?;
        Ok(())
    }
}
