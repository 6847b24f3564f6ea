-- pre: what is asked every second, and before each create, looks at nothing else: whatever waits besides.
CREATE INDEX operations_expiring ON operations (expires_at, seq)
    WHERE state NOT IN ('delivering', 'held', 'succeeded', 'failed', 'cancelled')
        AND expires_at IS NOT NULL AND sent = 0;
CREATE INDEX operations_in_doubt ON operations (seq)
    WHERE state NOT IN ('delivering', 'held', 'succeeded', 'failed', 'cancelled')
        AND kind = 'create' AND step = 'lost';
