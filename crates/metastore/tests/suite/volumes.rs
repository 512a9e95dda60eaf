use model::InstanceId;

use crate::nouns::{attachment, volume};
use crate::{World, account, tokyo, virginia};

pub(crate) async fn volumes_are_found_by_owner_and_instance(world: World) {
    let instance = InstanceId::generate(&world.ids);
    let mut attached = volume(&world.ids, account(1), tokyo());
    let mut tx = world.write().await;
    tx.volume_insert(&attached).await.unwrap();
    tx.volume_insert(&volume(&world.ids, account(1), virginia())).await.unwrap();
    assert_eq!(tx.volumes_of_instance(&instance).await.unwrap(), []);
    attached.attachment = Some(attachment(&instance));
    tx.volume_update(&attached).await.unwrap();
    assert_eq!(tx.volumes_of_instance(&instance).await.unwrap(), [attached.clone()]);
    assert_eq!(tx.volumes_owned(&account(1), tokyo()).await.unwrap(), [attached.clone()]);
    assert_eq!(tx.volumes_owned(&account(2), tokyo()).await.unwrap(), []);
    assert_eq!(tx.volume_get(&attached.volume_id).await.unwrap(), Some(attached.clone()));
    assert!(tx.volume_delete(&attached.volume_id).await.unwrap());
    assert_eq!(tx.volume_get(&attached.volume_id).await.unwrap(), None);
}
