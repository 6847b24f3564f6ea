-- pre: the same indexes, under conditions that SQLite compares word by word: for a list of words it builds a table at
-- each write. PostgreSQL, and a version before on it, take both for the same.
DROP INDEX operations_due;
CREATE INDEX operations_due ON operations (next_run_at, seq)
    WHERE state <> 'succeeded' AND state <> 'failed' AND state <> 'cancelled' AND state <> 'held'
        AND state <> 'delivering';
DROP INDEX operations_looks_due;
CREATE INDEX operations_looks_due ON operations (next_run_at, seq)
    WHERE job_id <> '' AND state <> 'succeeded' AND state <> 'failed' AND state <> 'cancelled'
        AND state <> 'held' AND state <> 'delivering';
DROP INDEX operations_expiring;
CREATE INDEX operations_expiring ON operations (expires_at, seq)
    WHERE expires_at IS NOT NULL AND sent = 0 AND state <> 'succeeded' AND state <> 'failed'
        AND state <> 'cancelled' AND state <> 'held' AND state <> 'delivering';
DROP INDEX operations_in_doubt;
CREATE INDEX operations_in_doubt ON operations (seq)
    WHERE step = 'lost' AND kind = 'create' AND state <> 'succeeded' AND state <> 'failed'
        AND state <> 'cancelled' AND state <> 'held' AND state <> 'delivering';
DROP INDEX operations_creating;
CREATE INDEX operations_creating ON operations (created_at, seq)
    WHERE kind = 'create' AND state <> 'succeeded' AND state <> 'failed' AND state <> 'cancelled'
        AND state <> 'held' AND state <> 'delivering';
DROP INDEX operations_terminating;
CREATE INDEX operations_terminating ON operations (seq)
    WHERE kind = 'terminate' AND state <> 'succeeded' AND state <> 'failed' AND state <> 'cancelled'
        AND state <> 'delivering';
