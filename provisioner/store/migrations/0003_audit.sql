-- pre: who did what, when, from where and why. Lines are added, never changed: only an erasure empties one, and
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
