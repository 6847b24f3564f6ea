-- pre: what is looked for every quarter of a minute, creates that are late, is not sought among all that waits.
CREATE INDEX operations_creating ON operations (created_at, seq)
    WHERE state NOT IN ('delivering', 'held', 'succeeded', 'failed', 'cancelled') AND kind = 'create';
