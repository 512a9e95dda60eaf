use testkit::{REGION, Reply, World};

const ACTION: &str = "AuthorizeSecurityGroupIngress";
const SSH: [(&str, &str); 4] =
    [("IpProtocol", "tcp"), ("FromPort", "22"), ("ToPort", "22"), ("CidrIp", "0.0.0.0/0")];

async fn world() -> (World, String) {
    let world = World::new().await;
    let params = [("GroupName", "web"), ("GroupDescription", "d")];
    let id = world.call("CreateSecurityGroup", &params).await.ok().value("groupId");
    (world, id)
}

async fn authorize(world: &World, id: &str, more: &[(&str, &str)]) -> Reply {
    let mut params = vec![("GroupId", id)];
    params.extend_from_slice(more);
    world.call(ACTION, &params).await
}

#[tokio::test]
async fn the_flat_form_opens_one_range() {
    let (world, id) = world().await;
    let reply = authorize(&world, &id, &SSH).await.ok();
    assert_eq!(reply.value("return"), "true");
    assert!(reply.value("securityGroupRuleId").starts_with("sgr-0"));
    assert_eq!((reply.value("fromPort"), reply.value("cidrIpv4")), ("22".into(), "0.0.0.0/0".into()));
    assert_eq!((reply.value("isEgress"), reply.value("groupId")), ("false".into(), id));
    let by_name = [("GroupName", "web"), ("IpProtocol", "-1"), ("CidrIp", "10.1.2.3/8")];
    let reply = world.call(ACTION, &by_name).await.ok();
    assert_eq!(reply.value("cidrIpv4"), "10.0.0.0/8");
    assert_eq!((reply.value("ipProtocol"), reply.value("fromPort")), ("-1".into(), "-1".into()));
}

#[tokio::test]
async fn permissions_name_ranges_and_groups_with_descriptions_and_tags() {
    let (world, id) = world().await;
    let owner = world.owner.id.to_string();
    let params = [
        ("IpPermissions.1.IpProtocol", "TCP"),
        ("IpPermissions.1.FromPort", "443"),
        ("IpPermissions.1.ToPort", "444"),
        ("IpPermissions.1.IpRanges.1.CidrIp", "192.0.2.0/24"),
        ("IpPermissions.1.IpRanges.1.Description", "office"),
        ("IpPermissions.1.Ipv6Ranges.1.CidrIpv6", "2001:DB8::/32"),
        ("IpPermissions.2.IpProtocol", "icmp"),
        ("IpPermissions.2.Groups.1.GroupId", id.as_str()),
        ("IpPermissions.2.Groups.1.UserId", owner.as_str()),
        ("TagSpecification.1.ResourceType", "security-group-rule"),
        ("TagSpecification.1.Tag.1.Key", "why"),
        ("TagSpecification.1.Tag.1.Value", "test"),
    ];
    let reply = authorize(&world, &id, &params).await.ok();
    assert_eq!(reply.values("ipProtocol"), ["tcp", "tcp", "icmp"]);
    assert_eq!(reply.values("cidrIpv6"), ["2001:db8::/32"]);
    assert_eq!(reply.value("description"), "office");
    assert_eq!(reply.insides("referencedGroupInfo").len(), 1);
    assert_eq!(reply.values("key"), ["why", "why", "why"]);
    let kind = [("Filter.1.Name", "resource-type"), ("Filter.1.Value.1", "security-group-rule")];
    assert_eq!(world.call("DescribeTags", &kind).await.ok().values("resourceId").len(), 3);
    world.call("DeleteSecurityGroup", &[("GroupId", &id)]).await.ok();
    assert!(!world.call("DescribeTags", &[]).await.ok().has("resourceId"));
}

#[tokio::test]
async fn a_source_group_alone_means_all_of_tcp_udp_and_icmp() {
    let (world, id) = world().await;
    let reply = authorize(&world, &id, &[("SourceSecurityGroupName", "default")]).await.ok();
    assert_eq!(reply.values("ipProtocol"), ["tcp", "udp", "icmp"]);
    assert_eq!(reply.values("toPort"), ["65535", "65535", "-1"]);
}

#[tokio::test]
async fn a_rule_is_there_once() {
    let (world, id) = world().await;
    authorize(&world, &id, &SSH).await.ok();
    let again = [
        ("IpPermissions.1.IpProtocol", "6"),
        ("IpPermissions.1.FromPort", "22"),
        ("IpPermissions.1.ToPort", "22"),
        ("IpPermissions.1.IpRanges.1.CidrIp", "0.0.0.0/0"),
        ("IpPermissions.1.IpRanges.1.Description", "another description"),
    ];
    let reply = authorize(&world, &id, &again).await;
    assert_eq!(reply.error_code(), "InvalidPermission.Duplicate");
    assert_eq!(
        reply.error_message(),
        "the specified rule \"peer: 0.0.0.0/0, TCP, from port: 22, to port: 22, ALLOW\" already exists"
    );
    let twice = [
        ("IpPermissions.1.IpProtocol", "-1"),
        ("IpPermissions.1.IpRanges.1.CidrIp", "10.0.0.1/8"),
        ("IpPermissions.1.IpRanges.2.CidrIp", "10.0.0.2/8"),
    ];
    assert_eq!(authorize(&world, &id, &twice).await.error_code(), "InvalidParameterValue");
}

#[tokio::test]
async fn what_makes_no_rule_is_refused_and_nothing_changes() {
    let (world, id) = world().await;
    let before = world.dump().await;
    let all = ("IpPermissions.1.IpProtocol", "-1");
    for (params, code) in [
        (vec![], "MissingParameter"),
        (vec![("CidrIp", "0.0.0.0/0")], "MissingParameter"),
        (vec![("IpProtocol", "-1")], "MissingParameter"),
        (vec![("IpProtocol", "tcp"), ("CidrIp", "0.0.0.0/0")], "InvalidParameterValue"),
        (vec![("IpProtocol", "smtp"), ("CidrIp", "0.0.0.0/0")], "InvalidParameterValue"),
        (vec![("IpProtocol", "-1"), ("CidrIp", "0.0.0.0")], "InvalidParameterValue"),
        (vec![("SourceSecurityGroupName", "default"), ("IpProtocol", "tcp")], "InvalidParameterCombination"),
        (vec![("SourceSecurityGroupOwnerId", "123456789012")], "MissingParameter"),
        (vec![("SourceSecurityGroupName", "gone")], "InvalidGroup.NotFound"),
        (vec![all, ("CidrIp", "0.0.0.0/0"), ("IpProtocol", "-1")], "InvalidParameterCombination"),
        (vec![all], "InvalidPermission.Malformed"),
        (vec![all, ("IpPermissions.1.Groups.1.UserId", "123456789012")], "InvalidPermission.Malformed"),
        (vec![all, ("IpPermissions.1.Groups.1.GroupId", "sg-12345678")], "InvalidGroup.NotFound"),
        (vec![all, ("IpPermissions.1.PrefixListIds.1.PrefixListId", "pl-1")], "UnsupportedOperation"),
        (vec![all, ("IpPermissions.1.Ipv6Ranges.1.CidrIpv6", "::/200")], "InvalidParameterValue"),
        (
            vec![
                all,
                ("IpPermissions.1.IpRanges.1.CidrIp", "0.0.0.0/0"),
                ("IpPermissions.1.IpRanges.1.Description", "a<b"),
            ],
            "InvalidParameterValue",
        ),
        ([SSH.to_vec(), vec![("DryRun", "true")]].concat(), "DryRunOperation"),
        ([SSH.to_vec(), vec![("GroupName", "web")]].concat(), "InvalidParameterCombination"),
    ] {
        assert_eq!(authorize(&world, &id, &params).await.error_code(), code, "{params:?}");
    }
    assert_eq!(world.call(ACTION, &SSH).await.error_code(), "MissingParameter");
    assert_eq!(world.dump().await, before);
}

#[tokio::test]
async fn anothers_group_is_missing_as_target_and_as_peer() {
    let (world, id) = world().await;
    let other = world.account("other").await;
    let params = [vec![("GroupId", id.as_str())], SSH.to_vec()].concat();
    let reply = world.call_as(&other, REGION, ACTION, &params).await;
    assert_eq!(reply.error_code(), "InvalidGroup.NotFound");
    let peer = [
        ("GroupName", "default"),
        ("IpPermissions.1.IpProtocol", "-1"),
        ("IpPermissions.1.Groups.1.GroupId", id.as_str()),
    ];
    let reply = world.call_as(&other, REGION, ACTION, &peer).await;
    assert_eq!(reply.error_code(), "InvalidGroup.NotFound");
}

#[tokio::test]
async fn a_group_has_at_most_a_thousand_rules() {
    let (world, id) = world().await;
    let cidrs: Vec<String> = (0..1001).map(|n| format!("10.{}.{}.0/24", n / 256, n % 256)).collect();
    let names: Vec<String> =
        (1..=cidrs.len()).map(|n| format!("IpPermissions.1.IpRanges.{n}.CidrIp")).collect();
    let ranges = names.iter().map(String::as_str).zip(cidrs.iter().map(String::as_str));
    let mut params = vec![("GroupId", id.as_str()), ("IpPermissions.1.IpProtocol", "-1")];
    params.extend(ranges);
    let reply = world.call(ACTION, &params).await;
    assert_eq!(reply.error_code(), "RulesPerSecurityGroupLimitExceeded");
    params.pop();
    world.call(ACTION, &params).await.ok();
    assert_eq!(authorize(&world, &id, &SSH).await.error_code(), "RulesPerSecurityGroupLimitExceeded");
}
