use metastore::{AuditRow, ClientTokenRow, ErrorKind};
use model::{SnapshotId, Timestamp};

use crate::{START, World, account, tokyo, virginia};

pub(crate) fn client_token() -> ClientTokenRow {
    ClientTokenRow {
        account_id: account(1),
        region: tokyo(),
        action: "RunInstances".to_owned(),
        token: "t".to_owned(),
        request_hash: [3; 32],
        response: b"<RunInstancesResponse/>\0".to_vec(),
        created: START,
    }
}

pub(crate) async fn client_tokens_remember_answers(world: World) {
    let row = client_token();
    let mut tx = world.write().await;
    tx.client_token_insert(&row).await.unwrap();
    assert_eq!(tx.client_token_insert(&row).await.unwrap_err().kind, ErrorKind::Conflict);
    let found = tx.client_token_get(&account(1), tokyo(), "RunInstances", "t").await.unwrap();
    assert_eq!(found, Some(row));
    for (n, region, action) in
        [(2, tokyo(), "RunInstances"), (1, virginia(), "RunInstances"), (1, tokyo(), "CopyImage")]
    {
        assert_eq!(tx.client_token_get(&account(n), region, action, "t").await.unwrap(), None);
    }
    assert_eq!(tx.client_tokens_purge(START).await.unwrap(), 0);
    assert_eq!(tx.client_tokens_purge(Timestamp(START.0 + 1)).await.unwrap(), 1);
    assert_eq!(tx.client_token_get(&account(1), tokyo(), "RunInstances", "t").await.unwrap(), None);
}

pub(crate) fn request(n: i64) -> AuditRow {
    AuditRow {
        time: Timestamp(START.0 + n / 2),
        request_id: format!("request-{n}"),
        account_id: (n > 0).then(|| account(1)),
        region: (n > 0).then(tokyo),
        action: "DescribeImages".to_owned(),
        code: (n % 2 == 0).then(|| "AuthFailure".to_owned()),
        resource_ids: vec![format!("ami-{n}"), "a\"b".to_owned()],
    }
}

pub(crate) async fn audit_pages_in_order_and_purges_in_bounds(world: World) {
    let mut tx = world.write().await;
    for n in [3, 0, 5, 1, 4, 2] {
        tx.audit_insert(&request(n)).await.unwrap();
    }
    assert_eq!(tx.audit_insert(&request(3)).await.unwrap_err().kind, ErrorKind::Conflict);
    let first = tx.audit_page(None, 4).await.unwrap();
    assert_eq!(first, [request(0), request(1), request(2), request(3)]);
    let second = tx.audit_page(first.last(), 4).await.unwrap();
    assert_eq!(second, [request(4), request(5)]);
    assert_eq!(tx.audit_purge(START, 6).await.unwrap(), 0);
    assert_eq!(tx.audit_purge(request(2).time, 3).await.unwrap(), 3);
    assert_eq!(tx.audit_page(None, 10).await.unwrap(), [request(3), request(4), request(5)]);
}

pub(crate) async fn upload_blocks_come_in_order(world: World) {
    let (one, other) = (SnapshotId::generate(&world.ids), SnapshotId::generate(&world.ids));
    let mut tx = world.write().await;
    for index in [9, 0, u32::MAX, 100_000_000] {
        tx.upload_block_put(&one, index, &[1; 32]).await.unwrap();
    }
    tx.upload_block_put(&one, 9, &[2; 32]).await.unwrap();
    tx.upload_block_put(&other, 1, &[3; 32]).await.unwrap();
    assert_eq!(tx.upload_blocks_count(&one).await.unwrap(), 4);
    assert_eq!(tx.upload_block_get(&one, 9).await.unwrap(), Some([2; 32]));
    assert_eq!(tx.upload_block_get(&one, 1).await.unwrap(), None);
    assert_eq!(tx.upload_blocks_page(&one, 0, 2).await.unwrap(), [(0, [1; 32]), (9, [2; 32])]);
    let rest = tx.upload_blocks_page(&one, 10, 9).await.unwrap();
    assert_eq!(rest, [(100_000_000, [1; 32]), (u32::MAX, [1; 32])]);
    tx.upload_blocks_delete_all(&one).await.unwrap();
    assert_eq!(tx.upload_blocks_count(&one).await.unwrap(), 0);
    assert_eq!(tx.upload_blocks_count(&other).await.unwrap(), 1);
}
