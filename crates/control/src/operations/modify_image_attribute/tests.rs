use testkit::{Account, REGION, Reply, World};

async fn modify(world: &World, image: &str, params: &[(&str, &str)]) -> Reply {
    let mut all = vec![("ImageId", image)];
    all.extend_from_slice(params);
    world.call("ModifyImageAttribute", &all).await
}

async fn sees(world: &World, account: &Account) -> Vec<String> {
    world.call_as(account, REGION, "DescribeImages", &[]).await.ok().values("imageId")
}

#[tokio::test]
async fn a_shared_image_is_seen_and_launched_by_that_account_alone() {
    let world = World::new().await;
    let image = world.seed_image("shared", b"x").await;
    let (friend, stranger) = (world.account("friend").await, world.account("stranger").await);
    let friend_id = friend.id.to_string();
    modify(&world, &image, &[("LaunchPermission.Add.1.UserId", &friend_id)]).await.ok();
    assert_eq!(sees(&world, &friend).await, std::slice::from_ref(&image));
    assert!(sees(&world, &stranger).await.is_empty());
    let launch =
        [("ImageId", image.as_str()), ("InstanceType", "t3.micro"), ("MinCount", "1"), ("MaxCount", "1")];
    world.call_as(&friend, REGION, "RunInstances", &launch).await.ok();
    let refused = world.call_as(&stranger, REGION, "RunInstances", &launch).await;
    assert_eq!(refused.error_code(), "InvalidAMIID.NotFound");
    modify(&world, &image, &[("LaunchPermission.Remove.1.UserId", &friend_id)]).await.ok();
    assert!(sees(&world, &friend).await.is_empty());
}

#[tokio::test]
async fn every_syntax_that_clients_use_is_understood() {
    let world = World::new().await;
    let image = world.seed_image("shared", b"x").await;
    let shapes: &[&[(&str, &str)]] = &[
        &[("LaunchPermission.Add.1.Group", "all")],
        &[("LaunchPermission.Remove.1.Group", "all"), ("OperationType", "remove")],
        &[("Attribute", "launchPermission"), ("OperationType", "add"), ("UserGroup.1", "all")],
        &[("Attribute", "LaunchPermission"), ("LaunchPermission.Remove.1.Group", "all")],
        &[("Attribute", "Description"), ("Value", "first")],
        &[("Description.Value", "second")],
        &[("ImdsSupport.Value", "v2.0")],
    ];
    for params in shapes {
        assert_eq!(modify(&world, &image, params).await.ok().value("return"), "true", "{params:?}");
    }
    let reply = world.call("DescribeImages", &[("ImageId.1", &image)]).await.ok();
    assert_eq!(reply.value("description"), "second");
    assert_eq!(reply.value("isPublic"), "false");
    assert_eq!(reply.value("imdsSupport"), "v2.0");
    modify(&world, &image, &[("Description.Value", "")]).await.ok();
    assert!(!world.call("DescribeImages", &[("ImageId.1", &image)]).await.ok().has("description"));
}

#[tokio::test]
async fn wrong_items_and_wrong_callers_are_refused() {
    let world = World::new().await;
    let image = world.seed_image("shared", b"x").await;
    let cases: &[(&[(&str, &str)], &str)] = &[
        (&[("LaunchPermission.Add.1.UserId", "123")], "InvalidAMIAttributeItemValue"),
        (&[("LaunchPermission.Add.1.Group", "everyone")], "InvalidAMIAttributeItemValue"),
        (&[("UserId.1", "123456789012")], "MissingParameter"),
        (&[], "MissingParameter"),
        (&[("Attribute", "kernel"), ("Value", "aki-1")], "InvalidParameterValue"),
        (&[("Description.Value", "a"), ("ImdsSupport.Value", "v2.0")], "InvalidParameterCombination"),
        (&[("ProductCode.1", "x")], "UnsupportedOperation"),
        (&[("OrganizationArn.1", "arn:x")], "UnsupportedOperation"),
    ];
    for (params, code) in cases {
        assert_eq!(modify(&world, &image, params).await.error_code(), *code, "{params:?}");
    }
    let friend = world.account("friend").await;
    let params = [("ImageId", image.as_str()), ("Description.Value", "mine")];
    let hidden = world.call_as(&friend, REGION, "ModifyImageAttribute", &params).await;
    assert_eq!(hidden.error_code(), "InvalidAMIID.NotFound");
    modify(&world, &image, &[("LaunchPermission.Add.1.UserId", friend.id.as_str())]).await.ok();
    let shared = world.call_as(&friend, REGION, "ModifyImageAttribute", &params).await;
    assert_eq!(shared.error_code(), "AuthFailure");
}
