-- pre: creates that are late, every quarter of a minute, jobs that are due, at each claim, and terminates, before each
-- create, are not sought among all that waits.
CREATE INDEX operations_creating ON operations (created_at, seq)
    WHERE state NOT IN ('delivering', 'held', 'succeeded', 'failed', 'cancelled') AND kind = 'create';
CREATE INDEX operations_looks_due ON operations (next_run_at, seq)
    WHERE state NOT IN ('delivering', 'held', 'succeeded', 'failed', 'cancelled') AND job_id <> '';
CREATE INDEX operations_terminating ON operations (seq)
    WHERE state NOT IN ('delivering', 'succeeded', 'failed', 'cancelled') AND kind = 'terminate';
