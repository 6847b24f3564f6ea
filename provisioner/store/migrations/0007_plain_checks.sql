-- sqlite: the same tables, under conditions that are compared word by word: of a list of more than two words SQLite
-- builds a table at each write. It cannot change a condition, so the rows go into new tables.
ALTER TABLE services RENAME TO services_before;
ALTER TABLE operations RENAME TO operations_before;
ALTER TABLE deliveries RENAME TO deliveries_before;

CREATE TABLE services (
    billing TEXT NOT NULL,
    service_id TEXT NOT NULL,
    seq BIGINT NOT NULL UNIQUE,
    status TEXT NOT NULL CHECK (status = 'pending' OR status = 'active' OR status = 'suspended'
        OR status = 'terminating' OR status = 'terminated' OR status = 'failed'),
    plan TEXT NOT NULL,
    spec TEXT NOT NULL,                -- JSON, as last asked for and carried out; '' before that
    config TEXT NOT NULL,              -- JSON, as the upstream last showed it; '' before that
    vmid BIGINT,
    ips TEXT NOT NULL,                 -- JSON list
    ips_complete INTEGER NOT NULL CHECK (ips_complete IN (0, 1)),
    hostname TEXT NOT NULL,
    client_id TEXT NOT NULL,
    suspend_reason TEXT NOT NULL,
    locked INTEGER NOT NULL CHECK (locked IN (0, 1)),
    ran_before_suspend INTEGER CHECK (ran_before_suspend IN (0, 1)),
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    PRIMARY KEY (billing, service_id)
);
INSERT INTO services (billing, service_id, seq, status, plan, spec, config, vmid, ips, ips_complete,
    hostname, client_id, suspend_reason, locked, ran_before_suspend, created_at, updated_at)
SELECT billing, service_id, seq, status, plan, spec, config, vmid, ips, ips_complete, hostname, client_id,
    suspend_reason, locked, ran_before_suspend, created_at, updated_at FROM services_before;

CREATE TABLE operations (
    id TEXT PRIMARY KEY,
    seq BIGINT NOT NULL UNIQUE,        -- the order of acceptance
    billing TEXT NOT NULL,
    service_id TEXT NOT NULL,
    kind TEXT NOT NULL CHECK (kind = 'create' OR kind = 'link' OR kind = 'change' OR kind = 'suspend'
        OR kind = 'unsuspend' OR kind = 'terminate' OR kind = 'start' OR kind = 'shutdown' OR kind = 'stop'
        OR kind = 'reboot' OR kind = 'force_reboot' OR kind = 'reinstall' OR kind = 'reset_password'
        OR kind = 'set_rdns' OR kind = 'backup' OR kind = 'restore'),
    state TEXT NOT NULL CHECK (state = 'queued' OR state = 'running' OR state = 'waiting'
        OR state = 'delivering' OR state = 'held' OR state = 'succeeded' OR state = 'failed'
        OR state = 'cancelled'),
    step TEXT NOT NULL,
    args TEXT NOT NULL,                -- JSON, what was asked, resolved at acceptance
    memo TEXT NOT NULL,                -- JSON, what its steps must remember
    sent INTEGER NOT NULL CHECK (sent IN (0, 1)),
    blocks INTEGER NOT NULL CHECK (blocks BETWEEN 0 AND 2),  -- 0 holds nothing back, 1 all, 2 all but a terminate
    attempts BIGINT NOT NULL,
    failures BIGINT NOT NULL,
    claims BIGINT NOT NULL,            -- the fence of every write-back
    next_run_at BIGINT NOT NULL,       -- while running: when its lease ends
    failing_since BIGINT,
    expires_at BIGINT,
    error_code TEXT NOT NULL,
    error_message TEXT NOT NULL,       -- words for a customer
    error_detail TEXT NOT NULL,        -- words for the operator
    job_id TEXT NOT NULL,
    vmid BIGINT,
    actor TEXT NOT NULL,
    event TEXT NOT NULL,
    approvals TEXT NOT NULL,           -- JSON list of the reasons that a person has lifted
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    FOREIGN KEY (billing, service_id) REFERENCES services (billing, service_id)
);
INSERT INTO operations (id, seq, billing, service_id, kind, state, step, args, memo, sent, blocks, attempts,
    failures, claims, next_run_at, failing_since, expires_at, error_code, error_message, error_detail,
    job_id, vmid, actor, event, approvals, created_at, updated_at)
SELECT id, seq, billing, service_id, kind, state, step, args, memo, sent, blocks, attempts, failures,
    claims, next_run_at, failing_since, expires_at, error_code, error_message, error_detail, job_id, vmid,
    actor, event, approvals, created_at, updated_at FROM operations_before;

CREATE TABLE deliveries (
    id TEXT PRIMARY KEY,               -- the webhook-id it is sent under
    seq BIGINT NOT NULL UNIQUE,
    billing TEXT NOT NULL,
    service_id TEXT NOT NULL,
    operation TEXT NOT NULL,           -- '' where none was
    concludes INTEGER NOT NULL CHECK (concludes IN (0, 1)),  -- its end is the operation's end
    type TEXT NOT NULL,
    data TEXT NOT NULL,                -- JSON, without credentials
    with_credentials INTEGER NOT NULL CHECK (with_credentials IN (0, 1)),
    credentials_version TEXT NOT NULL, -- taken at the first try, '' before
    sealed TEXT NOT NULL,              -- those credentials, '' before and after
    state TEXT NOT NULL CHECK (state = 'waiting' OR state = 'done' OR state = 'given_up'),
    attempts BIGINT NOT NULL,
    claims BIGINT NOT NULL,
    next_run_at BIGINT NOT NULL,
    failing_since BIGINT,
    last_error TEXT NOT NULL,
    hooks_due INTEGER NOT NULL CHECK (hooks_due IN (0, 1)),
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL
);
INSERT INTO deliveries (id, seq, billing, service_id, operation, concludes, type, data, with_credentials,
    credentials_version, sealed, state, attempts, claims, next_run_at, failing_since, last_error, hooks_due,
    created_at, updated_at)
SELECT id, seq, billing, service_id, operation, concludes, type, data, with_credentials,
    credentials_version, sealed, state, attempts, claims, next_run_at, failing_since, last_error, hooks_due,
    created_at, updated_at FROM deliveries_before;

DROP TABLE deliveries_before;
DROP TABLE operations_before;
DROP TABLE services_before;

CREATE UNIQUE INDEX services_by_vmid ON services (vmid) WHERE vmid IS NOT NULL;
CREATE INDEX services_by_billing ON services (billing, seq);
CREATE INDEX services_by_status ON services (status, seq);
CREATE INDEX operations_due ON operations (next_run_at, seq)
    WHERE state <> 'succeeded' AND state <> 'failed' AND state <> 'cancelled' AND state <> 'held'
        AND state <> 'delivering';
CREATE INDEX operations_looks_due ON operations (next_run_at, seq)
    WHERE job_id <> '' AND state <> 'succeeded' AND state <> 'failed' AND state <> 'cancelled'
        AND state <> 'held' AND state <> 'delivering';
CREATE INDEX operations_expiring ON operations (expires_at, seq)
    WHERE expires_at IS NOT NULL AND sent = 0 AND state <> 'succeeded' AND state <> 'failed'
        AND state <> 'cancelled' AND state <> 'held' AND state <> 'delivering';
CREATE INDEX operations_in_doubt ON operations (seq)
    WHERE step = 'lost' AND kind = 'create' AND state <> 'succeeded' AND state <> 'failed'
        AND state <> 'cancelled' AND state <> 'held' AND state <> 'delivering';
CREATE INDEX operations_creating ON operations (created_at, seq)
    WHERE kind = 'create' AND state <> 'succeeded' AND state <> 'failed' AND state <> 'cancelled'
        AND state <> 'held' AND state <> 'delivering';
CREATE INDEX operations_terminating ON operations (seq)
    WHERE kind = 'terminate' AND state <> 'succeeded' AND state <> 'failed' AND state <> 'cancelled'
        AND state <> 'delivering';
CREATE INDEX operations_by_service ON operations (billing, service_id, seq);
CREATE INDEX operations_blocking ON operations (billing, service_id, seq) WHERE blocks > 0;
CREATE INDEX operations_by_state ON operations (state, seq);
CREATE INDEX operations_by_billing ON operations (billing, seq);
CREATE INDEX operations_by_vmid ON operations (vmid, seq) WHERE vmid IS NOT NULL;
CREATE INDEX operations_by_job ON operations (job_id) WHERE job_id <> '';
CREATE INDEX deliveries_due ON deliveries (next_run_at, seq) WHERE state = 'waiting';
CREATE INDEX deliveries_waiting ON deliveries (billing, service_id, seq) WHERE state = 'waiting';
CREATE INDEX deliveries_hooks_due ON deliveries (next_run_at, seq) WHERE hooks_due = 1;
CREATE INDEX deliveries_given_up ON deliveries (billing, service_id) WHERE state = 'given_up';
CREATE INDEX deliveries_by_operation ON deliveries (operation);
