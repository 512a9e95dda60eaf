PRAGMA foreign_keys=OFF;
BEGIN TRANSACTION;
CREATE TABLE access_keys (
    access_key_id TEXT NOT NULL PRIMARY KEY,
    account_id TEXT NOT NULL REFERENCES accounts (account_id),
    secret_access_key TEXT NOT NULL,
    create_time BIGINT NOT NULL
);
INSERT INTO access_keys VALUES('AK1','000000000001','secret of AK1',1790000000000);
CREATE TABLE accounts (
    account_id TEXT NOT NULL PRIMARY KEY,
    name TEXT NOT NULL,
    doc_version BIGINT NOT NULL,
    doc TEXT NOT NULL
);
INSERT INTO accounts VALUES('000000000001','default',1,'{"account_id":"000000000001","name":"default","create_time":1790000000000}');
CREATE TABLE audit (
    request_id TEXT NOT NULL PRIMARY KEY,
    time BIGINT NOT NULL,
    account_id TEXT,
    region TEXT,
    action TEXT NOT NULL,
    code TEXT,
    resource_ids TEXT NOT NULL
);
INSERT INTO audit VALUES('request-1',1790000000000,'000000000001','ap-northeast-1','DescribeImages',NULL,'["ami-1","a\"b"]');
CREATE TABLE client_tokens (
    account_id TEXT NOT NULL,
    region TEXT NOT NULL,
    action TEXT NOT NULL,
    token TEXT NOT NULL,
    request_hash BLOB NOT NULL,
    response BLOB NOT NULL,
    create_time BIGINT NOT NULL,
    PRIMARY KEY (account_id, region, action, token)
);
INSERT INTO client_tokens VALUES('000000000001','ap-northeast-1','RunInstances','t',X'0303030303030303030303030303030303030303030303030303030303030303',X'3c52756e496e7374616e636573526573706f6e73652f3e00',1790000000000);
CREATE TABLE counters (
    name TEXT NOT NULL PRIMARY KEY,
    last_value BIGINT NOT NULL
);
INSERT INTO counters VALUES('job_id',1);
CREATE TABLE domains (
    domain TEXT NOT NULL PRIMARY KEY,
    account_id TEXT NOT NULL REFERENCES accounts (account_id),
    region TEXT NOT NULL,
    secret BLOB NOT NULL
);
INSERT INTO domains VALUES('d-1','000000000001','ap-northeast-1',X'a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5');
CREATE TABLE image_launch_permissions (
    image_id TEXT NOT NULL,
    grantee TEXT NOT NULL,
    PRIMARY KEY (image_id, grantee)
);
INSERT INTO image_launch_permissions VALUES('ami-0b9b501d1d854bb71','000000000002');
INSERT INTO image_launch_permissions VALUES('ami-0b9b501d1d854bb71','all');
CREATE TABLE image_snapshots (
    image_id TEXT NOT NULL,
    snapshot_id TEXT NOT NULL,
    PRIMARY KEY (image_id, snapshot_id)
);
INSERT INTO image_snapshots VALUES('ami-0b9b501d1d854bb71','snap-0a53c36d76cec99e0');
CREATE TABLE image_tombstones (
    image_id TEXT NOT NULL PRIMARY KEY,
    owner_id TEXT NOT NULL,
    region TEXT NOT NULL,
    deregistration_time BIGINT NOT NULL
);
INSERT INTO image_tombstones VALUES('ami-0a83d7e35de181749','000000000001','ap-northeast-1',1790000000000);
CREATE TABLE images (
    image_id TEXT NOT NULL PRIMARY KEY,
    owner_id TEXT NOT NULL,
    region TEXT NOT NULL,
    name TEXT NOT NULL,
    state TEXT NOT NULL,
    creation_date BIGINT NOT NULL,
    doc_version BIGINT NOT NULL,
    doc TEXT NOT NULL
);
INSERT INTO images VALUES('ami-0b9b501d1d854bb71','000000000001','ap-northeast-1','base','available',1790000000000,1,'{"image_id":"ami-0b9b501d1d854bb71","owner_id":"000000000001","region":"ap-northeast-1","name":"base","description":"type paper 型紙 \"quoted\"\nsecond line","image_location":"000000000001/base","state":"available","state_reason":null,"creation_date":1790000000000,"architecture":"x86_64","virtualization_type":"hvm","root_device_name":"/dev/xvda","root_device_type":"ebs","block_device_mappings":[{"device_name":"/dev/xvda","source":{"ebs":{"snapshot_id":"snap-0a53c36d76cec99e0","volume_size_gib":8,"volume_type":"gp3","iops":3000,"throughput_mibps":125,"delete_on_termination":true,"encrypted":false}}}],"boot_mode":"uefi-preferred","tpm_support":null,"imds_support":"v2.0","ena_support":true,"sriov_net_support":"simple","platform":null,"platform_details":"Linux/UNIX","usage_operation":"RunInstances","kernel_id":null,"ramdisk_id":null,"source_instance_id":null,"source_image_id":null,"source_image_region":null,"launch_permissions":["all",{"account":"000000000002"}],"last_launched_time":null}');
CREATE TABLE instance_security_groups (
    instance_id TEXT NOT NULL,
    group_id TEXT NOT NULL,
    PRIMARY KEY (instance_id, group_id)
);
INSERT INTO instance_security_groups VALUES('i-0630bfdb7a6a634a5','sg-027cd5b444516330b');
CREATE TABLE instances (
    instance_id TEXT NOT NULL PRIMARY KEY,
    owner_id TEXT NOT NULL,
    region TEXT NOT NULL,
    state TEXT NOT NULL,
    subnet_id TEXT NOT NULL,
    private_ip TEXT NOT NULL,
    public_ip TEXT,
    launch_time BIGINT NOT NULL,
    ami_launch_index BIGINT NOT NULL,
    doc_version BIGINT NOT NULL,
    doc TEXT NOT NULL
);
INSERT INTO instances VALUES('i-0630bfdb7a6a634a5','000000000001','ap-northeast-1','running','subnet-0a8574c6fae6d9b6f','172.31.0.4','127.0.1.4',1790000000000,4,1,'{"instance_id":"i-0630bfdb7a6a634a5","reservation_id":"r-0ee89af30963784ae","owner_id":"000000000001","availability_zone":"ap-northeast-1a","image_id":"ami-04687e96568c4e210","instance_type":"t3.micro","state":"running","state_reason":null,"state_transition_reason":"","launch_time":1790000000000,"ami_launch_index":4,"client_token":null,"key_name":"me","public_key":"ssh-ed25519 AAAA me","user_data":null,"network":{"network_interface_id":"eni-0cd8f54d10efdf17e","attachment_id":"eni-attach-09fb9aad1c5057349","vpc_id":"vpc-035714a86a71cf983","subnet_id":"subnet-0a8574c6fae6d9b6f","private_ip":"172.31.0.4","public_ip":"127.0.1.4","mac":"02:00:00:00:00:01","security_group_ids":["sg-027cd5b444516330b"]},"block_devices":[{"device_name":"/dev/xvda","volume_id":"vol-084d0c5120bd70c99","attach_time":1790000000000,"delete_on_termination":true}],"root_device_name":"/dev/xvda","root_device_type":"ebs","architecture":"x86_64","virtualization_type":"hvm","boot_mode":null,"current_boot_mode":"legacy-bios","ena_support":true,"sriov_net_support":null,"tpm_support":null,"platform":null,"platform_details":"Linux/UNIX","usage_operation":"RunInstances","metadata_options":{"http_endpoint_enabled":true,"http_tokens":"optional","http_put_response_hop_limit":1,"instance_metadata_tags_enabled":false},"instance_initiated_shutdown_behavior":"stop","disable_api_termination":false,"disable_api_stop":false,"ebs_optimized":false,"monitoring_enabled":false,"generation":1,"health":{"reachable_since":null,"accelerator":null},"terminated_at":null}');
CREATE TABLE jobs (
    job_id BIGINT NOT NULL PRIMARY KEY,
    kind TEXT NOT NULL,
    job_key TEXT NOT NULL,
    payload TEXT NOT NULL,
    attempts BIGINT NOT NULL,
    run_after BIGINT NOT NULL,
    lease_until BIGINT,
    generation BIGINT NOT NULL,
    create_time BIGINT NOT NULL,
    last_error TEXT
);
INSERT INTO jobs VALUES(1,'kind','key','{}',1,1790000000000,1790000030000,1,1790000000000,NULL);
CREATE TABLE key_pairs (
    key_pair_id TEXT NOT NULL PRIMARY KEY,
    owner_id TEXT NOT NULL,
    region TEXT NOT NULL,
    key_name TEXT NOT NULL,
    doc_version BIGINT NOT NULL,
    doc TEXT NOT NULL
);
INSERT INTO key_pairs VALUES('key-0f5e04b5e44022e8b','000000000001','ap-northeast-1','me',1,'{"key_pair_id":"key-0f5e04b5e44022e8b","key_name":"me","owner_id":"000000000001","region":"ap-northeast-1","key_type":"ed25519","key_fingerprint":"AAAA","public_key":"ssh-ed25519 AAAA me","create_time":1790000000000}');
CREATE TABLE schema_migrations (version BIGINT NOT NULL PRIMARY KEY, name TEXT NOT NULL, apply_time BIGINT NOT NULL);
INSERT INTO schema_migrations VALUES(1,'initial',1790000000000);
INSERT INTO schema_migrations VALUES(2,'image_search',1790000000000);
CREATE TABLE security_groups (
    group_id TEXT NOT NULL PRIMARY KEY,
    owner_id TEXT NOT NULL,
    region TEXT NOT NULL,
    vpc_id TEXT NOT NULL,
    group_name TEXT NOT NULL,
    doc_version BIGINT NOT NULL,
    doc TEXT NOT NULL
);
INSERT INTO security_groups VALUES('sg-017fcf32e4e82d640','000000000001','ap-northeast-1','vpc-0c05daa4b8acf7674','web',1,'{"group_id":"sg-017fcf32e4e82d640","group_name":"web","description":"d","owner_id":"000000000001","region":"ap-northeast-1","vpc_id":"vpc-0c05daa4b8acf7674","ingress":[],"egress":[]}');
CREATE TABLE settings (
    name TEXT NOT NULL PRIMARY KEY,
    setting TEXT NOT NULL
);
INSERT INTO settings VALUES('store_id','one');
CREATE TABLE snapshots (
    snapshot_id TEXT NOT NULL PRIMARY KEY,
    owner_id TEXT NOT NULL,
    region TEXT NOT NULL,
    volume_id TEXT NOT NULL,
    state TEXT NOT NULL,
    origin TEXT NOT NULL,
    start_time BIGINT NOT NULL,
    doc_version BIGINT NOT NULL,
    doc TEXT NOT NULL
);
INSERT INTO snapshots VALUES('snap-0c15c0289ec2d0a91','000000000001','ap-northeast-1','vol-05e5532fbeea293f8','pending','upload',1790000000000,1,'{"snapshot_id":"snap-0c15c0289ec2d0a91","owner_id":"000000000001","region":"ap-northeast-1","volume_id":"vol-05e5532fbeea293f8","state":"pending","state_message":null,"start_time":1790000000000,"completion_time":null,"progress_percent":0,"description":"","volume_size_gib":8,"full_snapshot_size_bytes":null,"origin":{"upload":{"parent_snapshot_id":null,"expires":1790000000000,"sealed":false}},"domain":"domain-1","root":null}');
CREATE TABLE subnets (
    subnet_id TEXT NOT NULL PRIMARY KEY,
    vpc_id TEXT NOT NULL,
    owner_id TEXT NOT NULL,
    region TEXT NOT NULL,
    doc_version BIGINT NOT NULL,
    doc TEXT NOT NULL
);
INSERT INTO subnets VALUES('subnet-0a8574c6fae6d9b6f','vpc-0c05daa4b8acf7674','000000000001','ap-northeast-1',1,'{"subnet_id":"subnet-0a8574c6fae6d9b6f","vpc_id":"vpc-0c05daa4b8acf7674","owner_id":"000000000001","availability_zone":"ap-northeast-1a","cidr_block":"172.31.0.0/20","default_for_az":true}');
CREATE TABLE tags (
    resource_id TEXT NOT NULL,
    tag_key TEXT NOT NULL,
    tag_value TEXT NOT NULL,
    resource_type TEXT NOT NULL,
    account_id TEXT NOT NULL,
    region TEXT NOT NULL,
    PRIMARY KEY (resource_id, tag_key)
);
INSERT INTO tags VALUES('ami-1','Name','型紙','image','000000000001','ap-northeast-1');
CREATE TABLE upload_blocks (
    snapshot_id TEXT NOT NULL,
    block_index BIGINT NOT NULL,
    sha256 BLOB NOT NULL,
    PRIMARY KEY (snapshot_id, block_index)
);
INSERT INTO upload_blocks VALUES('snap-0c15c0289ec2d0a91',5,X'0909090909090909090909090909090909090909090909090909090909090909');
CREATE TABLE volumes (
    volume_id TEXT NOT NULL PRIMARY KEY,
    owner_id TEXT NOT NULL,
    region TEXT NOT NULL,
    state TEXT NOT NULL,
    instance_id TEXT,
    create_time BIGINT NOT NULL,
    doc_version BIGINT NOT NULL,
    doc TEXT NOT NULL
);
INSERT INTO volumes VALUES('vol-06d2c075a68e2ac65','000000000001','ap-northeast-1','available','i-0630bfdb7a6a634a5',1790000000000,1,'{"volume_id":"vol-06d2c075a68e2ac65","owner_id":"000000000001","availability_zone":"ap-northeast-1a","size_gib":8,"snapshot_id":null,"volume_type":"gp3","iops":3000,"throughput_mibps":125,"state":"available","create_time":1790000000000,"attachment":{"instance_id":"i-0630bfdb7a6a634a5","device":"/dev/sdf","state":"attached","attach_time":1790000000000,"delete_on_termination":false},"base_root":null,"base_domain":null,"checkpoint":null}');
CREATE TABLE vpcs (
    vpc_id TEXT NOT NULL PRIMARY KEY,
    owner_id TEXT NOT NULL,
    region TEXT NOT NULL,
    is_default BIGINT NOT NULL,
    doc_version BIGINT NOT NULL,
    doc TEXT NOT NULL
);
INSERT INTO vpcs VALUES('vpc-0c05daa4b8acf7674','000000000001','ap-northeast-1',1,1,'{"vpc_id":"vpc-0c05daa4b8acf7674","owner_id":"000000000001","region":"ap-northeast-1","cidr_block":"172.31.0.0/16","is_default":true}');
CREATE UNIQUE INDEX accounts_by_name ON accounts (name);
CREATE INDEX access_keys_by_account ON access_keys (account_id);
CREATE INDEX domains_by_account ON domains (account_id, region);
CREATE UNIQUE INDEX images_by_name ON images (owner_id, region, name);
CREATE INDEX image_launch_permissions_by_grantee ON image_launch_permissions (grantee, image_id);
CREATE INDEX image_snapshots_by_snapshot ON image_snapshots (snapshot_id, image_id);
CREATE INDEX snapshots_by_owner ON snapshots (owner_id, region);
CREATE INDEX snapshots_by_volume ON snapshots (volume_id);
CREATE INDEX snapshots_by_state ON snapshots (state, origin);
CREATE INDEX volumes_by_owner ON volumes (owner_id, region);
CREATE INDEX volumes_by_instance ON volumes (instance_id);
CREATE INDEX instances_by_owner ON instances (owner_id, region);
CREATE INDEX instances_by_state ON instances (state);
CREATE UNIQUE INDEX instances_by_private_ip ON instances (subnet_id, private_ip) WHERE state <> 'terminated';
CREATE UNIQUE INDEX instances_by_public_ip ON instances (public_ip) WHERE state <> 'terminated';
CREATE INDEX instance_security_groups_by_group ON instance_security_groups (group_id, instance_id);
CREATE UNIQUE INDEX key_pairs_by_name ON key_pairs (owner_id, region, key_name);
CREATE INDEX vpcs_by_owner ON vpcs (owner_id, region);
CREATE UNIQUE INDEX vpcs_by_default ON vpcs (owner_id, region) WHERE is_default = 1;
CREATE INDEX subnets_by_owner ON subnets (owner_id, region);
CREATE INDEX subnets_by_vpc ON subnets (vpc_id);
CREATE INDEX security_groups_by_owner ON security_groups (owner_id, region);
CREATE UNIQUE INDEX security_groups_by_name ON security_groups (vpc_id, group_name);
CREATE INDEX client_tokens_by_time ON client_tokens (create_time);
CREATE INDEX audit_by_time ON audit (time, request_id);
CREATE UNIQUE INDEX jobs_by_key ON jobs (job_key);
CREATE INDEX jobs_by_time ON jobs (run_after, job_id);
CREATE INDEX images_by_owner ON images (owner_id, region, image_id);
CREATE INDEX images_by_bare_name ON images (name, region);
CREATE INDEX tags_by_account ON tags (account_id, region, tag_key, tag_value);
COMMIT;
