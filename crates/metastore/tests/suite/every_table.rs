//! One row in every table, and that each is read back.

use metastore::{Keep, Metastore, Tx};
use model::tag::ResourceType;
use model::{IdGen, InstanceState, LaunchPermission, SnapshotOrigin, Tag, VpcId};

use crate::accounts::{domain, key, named};
use crate::bookkeeping::{client_token, request};
use crate::images::visible;
use crate::network::{group, key_pair, subnet, vpc};
use crate::nouns::{attachment, image, instance, snapshot, volume};
use crate::{START, World, account, tokyo};

pub(crate) async fn fill(store: &Metastore, ids: &dyn IdGen) {
    let mut tx = store.write().await.unwrap();
    tx.account_insert(&named(1, "default")).await.unwrap();
    tx.access_key_insert(&key("AK1", 1)).await.unwrap();
    tx.domain_insert(&domain()).await.unwrap();
    tx.setting_set("store_id", "one").await.unwrap();
    fill_images(&mut tx, ids).await;
    fill_machines(&mut tx, ids).await;
    let tag = Tag { key: "Name".to_owned(), value: "\u{578b}\u{7d19}".to_owned() };
    tx.tag_put(&account(1), tokyo(), ResourceType::Image, "ami-1", &tag).await.unwrap();
    tx.client_token_insert(&client_token()).await.unwrap();
    tx.audit_insert(&request(1)).await.unwrap();
    tx.job_enqueue("kind", "key", "{}").await.unwrap();
    tx.job_claim(START, std::time::Duration::from_secs(30)).await.unwrap();
    tx.commit().await.unwrap();
}

async fn fill_images(tx: &mut Tx, ids: &dyn IdGen) {
    let mut upload = snapshot(ids, account(1), tokyo());
    upload.origin = SnapshotOrigin::Upload {
        parent_snapshot_id: None,
        parent_root: None,
        timeout_minutes: 60,
        expires: START,
        sealed: false,
    };
    tx.snapshot_insert(&upload).await.unwrap();
    tx.upload_block_put(&upload.snapshot_id, 5, &[9; 32]).await.unwrap();
    let mut shared = image(ids, account(1), tokyo(), "base");
    shared.launch_permissions = vec![LaunchPermission::All, LaunchPermission::Account(account(2))];
    tx.image_insert(&shared).await.unwrap();
    let gone = image(ids, account(1), tokyo(), "gone");
    tx.image_insert(&gone).await.unwrap();
    tx.image_delete(&gone.image_id).await.unwrap();
}

async fn fill_machines(tx: &mut Tx, ids: &dyn IdGen) {
    let network = vpc(ids, true);
    let place = subnet(ids, &network.vpc_id, tokyo().zones().next().unwrap());
    let machine = instance(ids, account(1), &place.subnet_id, 4);
    let mut disk = volume(ids, account(1), tokyo());
    disk.attachment = Some(attachment(&machine.instance_id));
    tx.vpc_insert(&network).await.unwrap();
    tx.subnet_insert(&place).await.unwrap();
    tx.security_group_insert(&group(ids, &network.vpc_id, "web")).await.unwrap();
    tx.key_pair_insert(&key_pair(ids, 1, "me")).await.unwrap();
    tx.instance_insert(&machine).await.unwrap();
    tx.volume_insert(&disk).await.unwrap();
}

/// Reads what `fill` wrote, perhaps with an older program.
pub(crate) async fn check(store: &Metastore) {
    let (owner, region) = (account(1), tokyo());
    let mut tx = store.read().await.unwrap();
    assert_eq!(tx.accounts().await.unwrap(), [named(1, "default")]);
    assert_eq!(tx.access_keys_of(&owner).await.unwrap(), [key("AK1", 1)]);
    assert_eq!(tx.domain_get("d-1").await.unwrap(), Some(domain()));
    assert_eq!(tx.setting_get("store_id").await.unwrap().as_deref(), Some("one"));
    let uploads = tx.snapshots_pending_upload().await.unwrap();
    assert_eq!(uploads, tx.snapshots_owned(&owner, region).await.unwrap());
    let upload = &uploads.first().unwrap().snapshot_id;
    assert_eq!(tx.upload_block_get(upload, 5).await.unwrap(), Some([9; 32]));
    let image = tx.image_by_name(&owner, region, "base").await.unwrap().unwrap();
    assert_eq!(visible(&mut tx, &account(3), region).await, std::slice::from_ref(&image));
    let used = image.snapshot_ids().next().unwrap();
    assert_eq!(tx.images_using_snapshot(used).await.unwrap(), std::slice::from_ref(&image));
    check_machines(&mut tx).await;
    assert_eq!(tx.tags_of("ami-1").await.unwrap()[0].value, "\u{578b}\u{7d19}");
    let token = client_token();
    let found = tx.client_token_get(&owner, region, &token.action, &token.token).await.unwrap();
    assert_eq!(found, Some(token));
    assert_eq!(tx.audit_page(None, 9).await.unwrap(), [request(1)]);
    let job = tx.job_by_key("key").await.unwrap().unwrap();
    assert_eq!((job.kind.as_str(), job.generation, job.attempts), ("kind", 1, 1));
}

async fn check_machines(tx: &mut Tx) {
    let (owner, region) = (account(1), tokyo());
    let network: VpcId = tx.vpc_default(&owner, region).await.unwrap().unwrap().vpc_id;
    let subnet = tx.subnets_of_vpc(&network).await.unwrap().remove(0);
    assert_eq!(tx.private_ips_in_subnet(&subnet.subnet_id).await.unwrap().len(), 1);
    assert!(tx.security_group_by_name(&network, "web").await.unwrap().is_some());
    assert!(tx.key_pair_by_name(&owner, region, "me").await.unwrap().is_some());
    let machine = tx.instances_in_state(InstanceState::Running).await.unwrap().remove(0);
    let group = machine.network.security_group_ids.first().unwrap();
    assert_eq!(tx.instances_using_group(group).await.unwrap(), std::slice::from_ref(&machine));
    assert_eq!(tx.volumes_of_instance(&machine.instance_id).await.unwrap().len(), 1);
}

pub(crate) async fn a_row_in_every_table_is_read_dumped_and_reset(world: World) {
    let empty = world.metastore.dump().await.unwrap();
    fill(&world.metastore, &world.ids).await;
    check(&world.metastore).await;
    let dump = world.metastore.dump().await.unwrap();
    let sections = |dump: &str| dump.split("== ").skip(1).map(|s| s.lines().count() - 1).collect::<Vec<_>>();
    assert!(sections(&dump).iter().all(|rows| *rows > 0), "{dump}");
    world.metastore.reset(Keep::Nothing).await.unwrap();
    let after = world.metastore.dump().await.unwrap();
    assert_eq!(sections(&after), sections(&empty));
}
