-- Nouns: a key, the columns that queries use, and the noun itself as JSON in doc.

CREATE TABLE accounts (
    account_id TEXT NOT NULL PRIMARY KEY,
    name TEXT NOT NULL,
    doc_version BIGINT NOT NULL,
    doc TEXT NOT NULL
);
CREATE UNIQUE INDEX accounts_by_name ON accounts (name);

-- No doc: the secret must be a column of its own, so that a dump can hide it.
CREATE TABLE access_keys (
    access_key_id TEXT NOT NULL PRIMARY KEY,
    account_id TEXT NOT NULL REFERENCES accounts (account_id),
    secret_access_key TEXT NOT NULL,
    create_time BIGINT NOT NULL
);
CREATE INDEX access_keys_by_account ON access_keys (account_id);

CREATE TABLE domains (
    domain TEXT NOT NULL PRIMARY KEY,
    account_id TEXT NOT NULL REFERENCES accounts (account_id),
    region TEXT NOT NULL,
    secret {blob} NOT NULL
);
CREATE INDEX domains_by_account ON domains (account_id, region);

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
CREATE UNIQUE INDEX images_by_name ON images (owner_id, region, name);

CREATE TABLE image_launch_permissions (
    image_id TEXT NOT NULL,
    grantee TEXT NOT NULL,
    PRIMARY KEY (image_id, grantee)
);
CREATE INDEX image_launch_permissions_by_grantee ON image_launch_permissions (grantee, image_id);

CREATE TABLE image_snapshots (
    image_id TEXT NOT NULL,
    snapshot_id TEXT NOT NULL,
    PRIMARY KEY (image_id, snapshot_id)
);
CREATE INDEX image_snapshots_by_snapshot ON image_snapshots (snapshot_id, image_id);

CREATE TABLE image_tombstones (
    image_id TEXT NOT NULL PRIMARY KEY,
    owner_id TEXT NOT NULL,
    region TEXT NOT NULL,
    deregistration_time BIGINT NOT NULL
);

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
CREATE INDEX snapshots_by_owner ON snapshots (owner_id, region);
CREATE INDEX snapshots_by_volume ON snapshots (volume_id);
CREATE INDEX snapshots_by_state ON snapshots (state, origin);

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
CREATE INDEX volumes_by_owner ON volumes (owner_id, region);
CREATE INDEX volumes_by_instance ON volumes (instance_id);

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
CREATE INDEX instances_by_owner ON instances (owner_id, region);
CREATE INDEX instances_by_state ON instances (state);
-- A terminated instance stays visible for a while but holds no address.
CREATE UNIQUE INDEX instances_by_private_ip ON instances (subnet_id, private_ip) WHERE state <> 'terminated';
CREATE UNIQUE INDEX instances_by_public_ip ON instances (public_ip) WHERE state <> 'terminated';

CREATE TABLE instance_security_groups (
    instance_id TEXT NOT NULL,
    group_id TEXT NOT NULL,
    PRIMARY KEY (instance_id, group_id)
);
CREATE INDEX instance_security_groups_by_group ON instance_security_groups (group_id, instance_id);

CREATE TABLE key_pairs (
    key_pair_id TEXT NOT NULL PRIMARY KEY,
    owner_id TEXT NOT NULL,
    region TEXT NOT NULL,
    key_name TEXT NOT NULL,
    doc_version BIGINT NOT NULL,
    doc TEXT NOT NULL
);
CREATE UNIQUE INDEX key_pairs_by_name ON key_pairs (owner_id, region, key_name);

CREATE TABLE vpcs (
    vpc_id TEXT NOT NULL PRIMARY KEY,
    owner_id TEXT NOT NULL,
    region TEXT NOT NULL,
    is_default BIGINT NOT NULL,
    doc_version BIGINT NOT NULL,
    doc TEXT NOT NULL
);
CREATE INDEX vpcs_by_owner ON vpcs (owner_id, region);
-- Two first requests of an account at once must not make two default networks.
CREATE UNIQUE INDEX vpcs_by_default ON vpcs (owner_id, region) WHERE is_default = 1;

CREATE TABLE subnets (
    subnet_id TEXT NOT NULL PRIMARY KEY,
    vpc_id TEXT NOT NULL,
    owner_id TEXT NOT NULL,
    region TEXT NOT NULL,
    doc_version BIGINT NOT NULL,
    doc TEXT NOT NULL
);
CREATE INDEX subnets_by_owner ON subnets (owner_id, region);
CREATE INDEX subnets_by_vpc ON subnets (vpc_id);

CREATE TABLE security_groups (
    group_id TEXT NOT NULL PRIMARY KEY,
    owner_id TEXT NOT NULL,
    region TEXT NOT NULL,
    vpc_id TEXT NOT NULL,
    group_name TEXT NOT NULL,
    doc_version BIGINT NOT NULL,
    doc TEXT NOT NULL
);
CREATE INDEX security_groups_by_owner ON security_groups (owner_id, region);
CREATE UNIQUE INDEX security_groups_by_name ON security_groups (vpc_id, group_name);

CREATE TABLE tags (
    resource_id TEXT NOT NULL,
    tag_key TEXT NOT NULL,
    tag_value TEXT NOT NULL,
    resource_type TEXT NOT NULL,
    account_id TEXT NOT NULL,
    region TEXT NOT NULL,
    PRIMARY KEY (resource_id, tag_key)
);
CREATE INDEX tags_by_account ON tags (account_id, region);

-- What clients have put into snapshots that they upload block by block.
CREATE TABLE upload_blocks (
    snapshot_id TEXT NOT NULL,
    block_index BIGINT NOT NULL,
    sha256 {blob} NOT NULL,
    PRIMARY KEY (snapshot_id, block_index)
);

CREATE TABLE client_tokens (
    account_id TEXT NOT NULL,
    region TEXT NOT NULL,
    action TEXT NOT NULL,
    token TEXT NOT NULL,
    request_hash {blob} NOT NULL,
    response {blob} NOT NULL,
    create_time BIGINT NOT NULL,
    PRIMARY KEY (account_id, region, action, token)
);
CREATE INDEX client_tokens_by_time ON client_tokens (create_time);

CREATE TABLE audit (
    request_id TEXT NOT NULL PRIMARY KEY,
    time BIGINT NOT NULL,
    account_id TEXT,
    region TEXT,
    action TEXT NOT NULL,
    code TEXT,
    resource_ids TEXT NOT NULL
);
CREATE INDEX audit_by_time ON audit (time, request_id);

CREATE TABLE settings (
    name TEXT NOT NULL PRIMARY KEY,
    setting TEXT NOT NULL
);

-- Numbers that must never be given out twice, whatever is deleted.
CREATE TABLE counters (
    name TEXT NOT NULL PRIMARY KEY,
    last_value BIGINT NOT NULL
);
INSERT INTO counters (name, last_value) VALUES ('job_id', 0);

-- Live jobs only: a job that is done has no row.
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
CREATE UNIQUE INDEX jobs_by_key ON jobs (job_key);
CREATE INDEX jobs_by_time ON jobs (run_after, job_id);
