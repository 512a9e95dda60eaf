use model::Tag;
use model::tag::ResourceType;

use crate::{World, account, tokyo, virginia};

fn tag(key: &str, value: &str) -> Tag {
    Tag { key: key.to_owned(), value: value.to_owned() }
}

pub(crate) async fn tags_are_put_replaced_and_deleted(world: World) {
    let mut tx = world.write().await;
    for tag in [tag("Name", "a"), tag("Env", ""), tag("name", "b"), tag("Name", "c")] {
        tx.tag_put(&account(1), tokyo(), ResourceType::Image, "ami-1", &tag).await.unwrap();
    }
    let all = [tag("Env", ""), tag("Name", "c"), tag("name", "b")];
    assert_eq!(tx.tags_of("ami-1").await.unwrap(), all);
    assert_eq!(tx.tags_of("ami-2").await.unwrap(), []);
    assert!(!tx.tag_delete("ami-1", "Name", Some("a")).await.unwrap());
    assert!(tx.tag_delete("ami-1", "Name", Some("c")).await.unwrap());
    assert!(tx.tag_delete("ami-1", "Env", None).await.unwrap());
    assert!(!tx.tag_delete("ami-1", "Env", None).await.unwrap());
    assert_eq!(tx.tags_of("ami-1").await.unwrap(), [tag("name", "b")]);
    tx.tags_delete_all("ami-1").await.unwrap();
    assert_eq!(tx.tags_of("ami-1").await.unwrap(), []);
}

pub(crate) async fn tags_of_many_resources(world: World) {
    let ids: Vec<String> = (0..600).map(|n| format!("i-{n:04}")).collect();
    let mut tx = world.write().await;
    for id in ids.iter().step_by(2) {
        for tag in [tag("z", id), tag("a", "")] {
            tx.tag_put(&account(1), tokyo(), ResourceType::Instance, id, &tag).await.unwrap();
        }
    }
    for count in [0, 1, 2, 16, 17, 256, 257, 600] {
        let mut asked = ids[..count].to_vec();
        asked.extend(ids.first().filter(|_| count > 0).cloned());
        let tags = tx.tags_of_many(&asked).await.unwrap();
        assert_eq!(tags.len(), count.div_ceil(2), "{count}");
        for (id, found) in tags {
            assert_eq!(found, [tag("a", ""), tag("z", &id)]);
        }
    }
}

pub(crate) async fn tags_are_listed_by_account_and_region(world: World) {
    let mut tx = world.write().await;
    for (n, region, id) in
        [(1, tokyo(), "vol-2"), (1, tokyo(), "vol-1"), (1, virginia(), "vol-3"), (2, tokyo(), "vol-4")]
    {
        tx.tag_put(&account(n), region, ResourceType::Volume, id, &tag("k", "v")).await.unwrap();
    }
    let rows = tx.tags_in(&account(1), tokyo()).await.unwrap();
    let ids: Vec<_> = rows.iter().map(|row| (row.resource_id.as_str(), row.resource_type)).collect();
    assert_eq!(ids, [("vol-1", ResourceType::Volume), ("vol-2", ResourceType::Volume)]);
    assert_eq!(rows[0].tag, tag("k", "v"));
}
