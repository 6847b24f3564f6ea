-- pre: creates that are late, every quarter of a minute, and jobs that are due, at each claim, are not sought among
-- all that waits.
CREATE INDEX operations_creating ON operations (created_at, seq)
    WHERE state NOT IN ('delivering', 'held', 'succeeded', 'failed', 'cancelled') AND kind = 'create';
CREATE INDEX operations_looks_due ON operations (next_run_at, seq)
    WHERE state NOT IN ('delivering', 'held', 'succeeded', 'failed', 'cancelled') AND job_id <> '';
