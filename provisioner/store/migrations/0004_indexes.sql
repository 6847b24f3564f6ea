-- What is asked every second, before each create and at each claim looks at nothing else: whatever waits besides.
CREATE INDEX operations_expiring ON operations (expires_at, seq)
    WHERE state NOT IN ('delivering', 'held', 'succeeded', 'failed', 'cancelled')
        AND expires_at IS NOT NULL AND sent = 0;
CREATE INDEX operations_in_doubt ON operations (seq)
    WHERE state NOT IN ('delivering', 'held', 'succeeded', 'failed', 'cancelled')
        AND kind = 'create' AND step = 'lost';
CREATE INDEX operations_looks_due ON operations (next_run_at, seq)
    WHERE state NOT IN ('delivering', 'held', 'succeeded', 'failed', 'cancelled') AND job_id <> '';
