-- The whole truth of the store, for SQLite and PostgreSQL alike. Times are milliseconds since the epoch, UTC;
-- ids are made in Python; JSON is TEXT. Enumerations are CHECKs, held equal to the code by a test; they compare
-- word by word, for of a list of more than two SQLite builds a table at each write.

CREATE TABLE schema_version (
    version BIGINT NOT NULL
);

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

-- A VM has one service at most.
CREATE UNIQUE INDEX services_by_vmid ON services (vmid) WHERE vmid IS NOT NULL;
CREATE INDEX services_by_billing ON services (billing, seq);

CREATE INDEX services_by_status ON services (status, seq);

-- The one slot for a service's credentials, sealed; a delivery's end erases the version that it carried.
CREATE TABLE credentials (
    billing TEXT NOT NULL,
    service_id TEXT NOT NULL,
    version TEXT NOT NULL,
    sealed TEXT NOT NULL,
    PRIMARY KEY (billing, service_id)
);

-- Which VMs a service once had: ids get reused, so the pair is what is dead.
CREATE TABLE tombstones (
    billing TEXT NOT NULL,
    service_id TEXT NOT NULL,
    vmid BIGINT NOT NULL,
    at BIGINT NOT NULL,
    PRIMARY KEY (billing, service_id, vmid)
);

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

-- What is done with an operation next is found without those that have ended, are held or are being told. Their
-- conditions are compared word by word: for a list of words SQLite builds a table at each write. The queries have
-- the same words.
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

CREATE TABLE timeline (
    operation TEXT NOT NULL,
    position BIGINT NOT NULL,
    at BIGINT NOT NULL,
    what TEXT NOT NULL,
    detail TEXT NOT NULL,              -- JSON, redacted
    actor TEXT NOT NULL,
    PRIMARY KEY (operation, position)
);

CREATE TABLE events (
    id TEXT PRIMARY KEY,
    seq BIGINT NOT NULL UNIQUE,
    billing TEXT NOT NULL,
    webhook_id TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('accepted', 'rejected')),
    type TEXT NOT NULL,
    service_id TEXT NOT NULL,
    operation TEXT NOT NULL,
    digest TEXT NOT NULL,              -- of type and data: the same id with another meaning is refused
    body TEXT NOT NULL,
    answer TEXT NOT NULL,              -- the body answered, word for word
    code TEXT NOT NULL,
    message TEXT NOT NULL,
    installation TEXT NOT NULL,
    actor TEXT NOT NULL,
    received_at BIGINT NOT NULL,
    UNIQUE (billing, webhook_id)
);

CREATE INDEX events_by_state ON events (state, seq);
CREATE INDEX events_by_billing ON events (billing, seq);

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

CREATE INDEX deliveries_due ON deliveries (next_run_at, seq) WHERE state = 'waiting';
CREATE INDEX deliveries_waiting ON deliveries (billing, service_id, seq) WHERE state = 'waiting';
CREATE INDEX deliveries_hooks_due ON deliveries (next_run_at, seq) WHERE hooks_due = 1;
CREATE INDEX deliveries_given_up ON deliveries (billing, service_id) WHERE state = 'given_up';
CREATE INDEX deliveries_by_operation ON deliveries (operation);

-- What delivering has done once and must not do again: a mail sent, a ticket opened, by operation. And the VMs that
-- were there before a create was sent (`listed`), while its own is not known.
CREATE TABLE marks (
    subject TEXT NOT NULL,             -- an operation, or a delivery that has none
    name TEXT NOT NULL,
    value TEXT NOT NULL,
    at BIGINT NOT NULL,
    PRIMARY KEY (subject, name)
);

-- What passed a brake, and when; a person's reset empties a kind.
CREATE TABLE brake_passages (
    kind TEXT NOT NULL,
    operation TEXT NOT NULL,
    at BIGINT NOT NULL,
    PRIMARY KEY (kind, operation)
);

CREATE INDEX brake_passages_by_time ON brake_passages (kind, at);

-- Who did what, when, from where and why. Lines are added, never changed: only an erasure empties one, and
-- only retention removes them, from the first one on.
CREATE TABLE audit (
    seq BIGINT PRIMARY KEY,
    at BIGINT NOT NULL,
    actor TEXT NOT NULL,
    address TEXT NOT NULL,
    action TEXT NOT NULL,
    billing TEXT NOT NULL,
    service_id TEXT NOT NULL,
    operation TEXT NOT NULL,
    vmid BIGINT,                       -- the service's, as it was at that moment
    reason TEXT NOT NULL,
    detail TEXT NOT NULL,              -- JSON, redacted
    erased_by BIGINT,                  -- the line that emptied this one
    digest TEXT NOT NULL,              -- of the content above
    chain TEXT NOT NULL                -- of the chain before and this digest
);

CREATE INDEX audit_by_time ON audit (at, seq);
CREATE INDEX audit_by_actor ON audit (actor, seq);
CREATE INDEX audit_by_billing ON audit (billing, seq);
CREATE INDEX audit_by_service ON audit (billing, service_id, seq) WHERE service_id <> '';
CREATE INDEX audit_by_vmid ON audit (vmid, seq) WHERE vmid IS NOT NULL;
CREATE INDEX audit_by_erasure ON audit (erased_by) WHERE erased_by IS NOT NULL;

-- Facts of the whole account: pauses, tripped brakes, pinned installations, the templates as last seen.
CREATE TABLE facts (
    name TEXT PRIMARY KEY,
    value TEXT NOT NULL,               -- JSON
    updated_at BIGINT NOT NULL
);
