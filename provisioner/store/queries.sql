-- Every statement of the store, under the name by which `verbs.py` runs it. Placeholders are :name; the
-- PostgreSQL engine rewrites them. /*skip locked*/ is where it adds FOR UPDATE SKIP LOCKED.

-- name: fact
-- One fact by its name.
SELECT value FROM facts WHERE name = :name

-- name: facts_among
-- Those of three facts that there are.
SELECT name, value FROM facts WHERE name IN (:first, :second, :third)

-- name: facts_like
-- All facts whose name begins so.
SELECT name, value FROM facts WHERE name >= :first AND name < :last ORDER BY name

-- name: set_fact
-- Keeps a fact, whether it was there or not.
INSERT INTO facts (name, value, updated_at) VALUES (:name, :value, :now)
ON CONFLICT (name) DO UPDATE SET value = excluded.value, updated_at = excluded.updated_at

-- name: drop_fact
-- Forgets a fact.
DELETE FROM facts WHERE name = :name

-- name: event_by_webhook
-- The event that came under this webhook-id, accepted or rejected.
SELECT * FROM events WHERE billing = :billing AND webhook_id = :webhook_id

-- name: event
-- One event by our id.
SELECT * FROM events WHERE id = :id

-- name: add_event
-- Keeps an event, or judges a rejected one anew; an accepted one is never overwritten.
INSERT INTO events (id, seq, billing, webhook_id, state, type, service_id, operation, digest, body, answer,
    code, message, installation, actor, received_at)
VALUES (:id, :seq, :billing, :webhook_id, :state, :type, :service_id, :operation, :digest, :body, :answer,
    :code, :message, :installation, :actor, :received_at)
ON CONFLICT (billing, webhook_id) DO UPDATE SET state = excluded.state, type = excluded.type,
    service_id = excluded.service_id, operation = excluded.operation, digest = excluded.digest,
    body = excluded.body, answer = excluded.answer, code = excluded.code, message = excluded.message,
    installation = excluded.installation, actor = excluded.actor
WHERE events.state = 'rejected'

-- name: service
-- One service.
SELECT * FROM services WHERE billing = :billing AND service_id = :service_id

-- name: service_by_vmid
-- The service that has this VM.
SELECT * FROM services WHERE vmid = :vmid

-- name: vmid_of_service
-- The VM that a service has, without the rest of it.
SELECT vmid FROM services WHERE billing = :billing AND service_id = :service_id

-- name: services_with_vm
-- Every service that has a VM.
SELECT * FROM services WHERE vmid IS NOT NULL ORDER BY seq

-- name: failed_services
-- Every service whose create has failed.
SELECT * FROM services WHERE status = 'failed' AND vmid IS NULL ORDER BY seq

-- name: owners_of_vms
-- Whose every VM is, and no more of that service.
SELECT vmid, billing, service_id FROM services WHERE vmid IS NOT NULL ORDER BY seq

-- name: add_service
-- A service never seen before.
INSERT INTO services (billing, service_id, seq, status, plan, spec, config, vmid, ips, ips_complete, hostname,
    client_id, suspend_reason, locked, ran_before_suspend, created_at, updated_at)
VALUES (:billing, :service_id, :seq, :status, :plan, :spec, :config, :vmid, :ips, :ips_complete, :hostname,
    :client_id, :suspend_reason, :locked, :ran_before_suspend, :created_at, :updated_at)

-- name: save_service
-- Writes a service back whole.
UPDATE services SET status = :status, plan = :plan, spec = :spec, config = :config, vmid = :vmid, ips = :ips,
    ips_complete = :ips_complete, hostname = :hostname, client_id = :client_id,
    suspend_reason = :suspend_reason, locked = :locked, ran_before_suspend = :ran_before_suspend,
    updated_at = :updated_at
WHERE billing = :billing AND service_id = :service_id

-- name: count_services
-- How many services stand in each status.
SELECT status, count(*) AS count FROM services GROUP BY status

-- name: keep_credentials
-- Fills the service's slot; what was in it is gone.
INSERT INTO credentials (billing, service_id, version, sealed)
VALUES (:billing, :service_id, :version, :sealed)
ON CONFLICT (billing, service_id) DO UPDATE SET version = excluded.version, sealed = excluded.sealed

-- name: credentials
-- The service's slot.
SELECT version, sealed FROM credentials WHERE billing = :billing AND service_id = :service_id

-- name: all_credentials
-- Every slot that is filled.
SELECT billing, service_id, version, sealed FROM credentials ORDER BY billing, service_id

-- name: erase_credentials
-- Empties the slot if it still has this version and no other delivery waits for it.
DELETE FROM credentials WHERE billing = :billing AND service_id = :service_id AND version = :version
    AND NOT EXISTS (SELECT 1 FROM deliveries d WHERE d.billing = :billing AND d.service_id = :service_id
        AND d.state = 'waiting' AND d.with_credentials = 1)

-- name: drop_credentials
-- Empties the slot whatever it has.
DELETE FROM credentials WHERE billing = :billing AND service_id = :service_id

-- name: forget_given_up_credentials
-- Other ones work by now: those that were given up must not be told after them.
UPDATE deliveries SET sealed = '' WHERE billing = :billing AND service_id = :service_id AND state = 'given_up'

-- name: forget_older_credentials
-- Newer ones have arrived: what was told before and is to be told yet tells none, whoever is at it at this moment.
UPDATE deliveries SET sealed = '', with_credentials = 0, claims = claims + 1
WHERE billing = :billing AND service_id = :service_id AND seq < :seq AND with_credentials = 1
    AND (state = 'waiting' OR state = 'given_up')

-- name: add_tombstone
-- This service's VM of that id is dead.
INSERT INTO tombstones (billing, service_id, vmid, at) VALUES (:billing, :service_id, :vmid, :at)
ON CONFLICT (billing, service_id, vmid) DO UPDATE SET at = excluded.at

-- name: tombstones
-- The VMs that a service once had.
SELECT vmid, at FROM tombstones WHERE billing = :billing AND service_id = :service_id ORDER BY at, vmid

-- name: died_at
-- When the last of a service's VMs died.
SELECT max(at) AS at FROM tombstones WHERE billing = :billing AND service_id = :service_id

-- name: tombstoned_since
-- The VMs that died since then.
SELECT vmid FROM tombstones WHERE at >= :since

-- name: add_operation
-- A new operation.
INSERT INTO operations (id, seq, billing, service_id, kind, state, step, args, memo, sent, blocks, attempts,
    failures, claims, next_run_at, failing_since, expires_at, error_code, error_message, error_detail, job_id,
    vmid, actor, event, approvals, created_at, updated_at)
VALUES (:id, :seq, :billing, :service_id, :kind, :state, :step, :args, :memo, :sent, :blocks, :attempts,
    :failures, :claims, :next_run_at, :failing_since, :expires_at, :error_code, :error_message, :error_detail,
    :job_id, :vmid, :actor, :event, :approvals, :created_at, :updated_at)

-- name: save_operation
-- Writes an operation back whole, unless somebody else has claimed or changed it since.
UPDATE operations SET state = :state, step = :step, args = :args, memo = :memo, sent = :sent,
    blocks = :blocks, attempts = :attempts, failures = :failures, claims = :claims,
    next_run_at = :next_run_at, failing_since = :failing_since, expires_at = :expires_at,
    error_code = :error_code, error_message = :error_message, error_detail = :error_detail, job_id = :job_id,
    vmid = :vmid, approvals = :approvals, updated_at = :updated_at
WHERE id = :id AND claims = :fence

-- name: move_operation
-- Gives an operation another place in the order.
UPDATE operations SET seq = :seq WHERE id = :id

-- name: claim_operation
-- Leases the operation that has been due longest and that nothing before it in its service holds back.
-- The states that it is not in, in the words of the index operations_due: those to look for would be looked up one
-- by one, and sorted.
UPDATE operations SET state = 'running', claims = claims + 1, next_run_at = :lease_until,
    attempts = attempts + CASE WHEN attempts = 0 OR failures > 0 THEN 1 ELSE 0 END, updated_at = :now
WHERE id = (
    SELECT o.id FROM operations o
    WHERE o.state <> 'succeeded' AND o.state <> 'failed' AND o.state <> 'cancelled'
        AND o.state <> 'held' AND o.state <> 'delivering'
        AND o.next_run_at <= :now
        AND NOT EXISTS (
            SELECT 1 FROM operations e
            WHERE e.billing = o.billing AND e.service_id = o.service_id AND e.seq < o.seq
                AND e.blocks > 0 AND (e.blocks = 1 OR o.kind <> 'terminate'))
    ORDER BY o.next_run_at, o.seq LIMIT 1 /*skip locked*/)
RETURNING *

-- name: claim_look
-- As claim_operation, of those alone that follow a job of the upstream's: what waits to begin may be many.
UPDATE operations SET state = 'running', claims = claims + 1, next_run_at = :lease_until,
    attempts = attempts + CASE WHEN attempts = 0 OR failures > 0 THEN 1 ELSE 0 END, updated_at = :now
WHERE id = (
    SELECT o.id FROM operations o
    WHERE o.state <> 'succeeded' AND o.state <> 'failed' AND o.state <> 'cancelled'
        AND o.state <> 'held' AND o.state <> 'delivering' AND o.job_id <> ''
        AND o.next_run_at <= :now
        AND NOT EXISTS (
            SELECT 1 FROM operations e
            WHERE e.billing = o.billing AND e.service_id = o.service_id AND e.seq < o.seq
                AND e.blocks > 0 AND (e.blocks = 1 OR o.kind <> 'terminate'))
    ORDER BY o.next_run_at, o.seq LIMIT 1 /*skip locked*/)
RETURNING *

-- name: next_operation_at
-- When the next operation that is not due yet will be.
SELECT min(next_run_at) AS at FROM operations
WHERE state <> 'succeeded' AND state <> 'failed' AND state <> 'cancelled'
    AND state <> 'held' AND state <> 'delivering' AND next_run_at > :now

-- name: oldest_due_operation
-- Since when the operation is due that has been due longest and that nothing holds back.
SELECT o.next_run_at AS at FROM operations o
WHERE o.state <> 'succeeded' AND o.state <> 'failed' AND o.state <> 'cancelled'
    AND o.state <> 'held' AND o.state <> 'delivering' AND o.next_run_at <= :now
    AND NOT EXISTS (
        SELECT 1 FROM operations e
        WHERE e.billing = o.billing AND e.service_id = o.service_id AND e.seq < o.seq
            AND e.blocks > 0 AND (e.blocks = 1 OR o.kind <> 'terminate'))
ORDER BY o.next_run_at, o.seq LIMIT 1

-- name: count_due_operations
-- How many operations are due that nothing holds back.
SELECT count(*) AS count FROM operations o
WHERE o.state <> 'succeeded' AND o.state <> 'failed' AND o.state <> 'cancelled'
    AND o.state <> 'held' AND o.state <> 'delivering' AND o.next_run_at <= :now
    AND NOT EXISTS (
        SELECT 1 FROM operations e
        WHERE e.billing = o.billing AND e.service_id = o.service_id AND e.seq < o.seq
            AND e.blocks > 0 AND (e.blocks = 1 OR o.kind <> 'terminate'))

-- name: release_leases
-- Ends every lease at once: at the start of the only process, whoever had them is dead.
UPDATE operations SET next_run_at = :now WHERE state = 'running'

-- name: release_delivery_leases
-- The same for deliveries that were under way.
UPDATE deliveries SET next_run_at = :now WHERE state = 'waiting' AND attempts > 0 AND last_error = ''

-- name: operation
-- One operation by its id.
SELECT * FROM operations WHERE id = :id

-- name: operations_of_service
-- All operations of a service, in the order of their acceptance.
SELECT * FROM operations WHERE billing = :billing AND service_id = :service_id ORDER BY seq

-- name: open_operations_of_service
-- Those of them that have not ended, and a failed create that holds others back.
SELECT * FROM operations WHERE billing = :billing AND service_id = :service_id AND blocks > 0 ORDER BY seq

-- name: last_operation_of_service
-- The service's newest operation.
SELECT * FROM operations WHERE billing = :billing AND service_id = :service_id ORDER BY seq DESC LIMIT 1

-- name: open_operations_of_kind
-- All operations of a kind that have not ended.
SELECT * FROM operations WHERE state IN ('queued', 'running', 'waiting', 'held') AND kind = :kind ORDER BY seq

-- name: open_terminates
-- All terminates that have not ended; asked before each create is sent.
SELECT * FROM operations
WHERE kind = 'terminate' AND state <> 'succeeded' AND state <> 'failed' AND state <> 'cancelled'
    AND state <> 'delivering' ORDER BY seq

-- name: late_creates
-- The creates that go on, were accepted by then, and that no person has sent on since, the oldest first.
SELECT id, billing, service_id, created_at FROM operations o
WHERE state <> 'succeeded' AND state <> 'failed' AND state <> 'cancelled'
    AND state <> 'held' AND state <> 'delivering' AND kind = 'create'
    AND created_at <= :before
    AND NOT EXISTS (SELECT 1 FROM timeline t WHERE t.operation = o.id AND t.at > :before
        AND (t.what IN ('retried', 'recovered') OR t.what LIKE 'approved%'))
ORDER BY created_at, seq LIMIT :limit

-- name: creates_in_doubt
-- The creates whose answer is out at this moment, or was lost; asked before each create is sent.
SELECT id, seq, state, next_run_at, memo FROM operations
WHERE state <> 'succeeded' AND state <> 'failed' AND state <> 'cancelled'
    AND state <> 'held' AND state <> 'delivering'
    AND kind = 'create' AND step = 'lost' ORDER BY seq

-- name: operations_that_made
-- The creates and links that named a VM.
SELECT * FROM operations WHERE vmid = :vmid AND kind IN ('create', 'link') ORDER BY seq

-- name: operations_of_job
-- The operations that claim a job of the upstream's.
SELECT * FROM operations WHERE job_id = :job_id AND job_id <> '' ORDER BY seq

-- name: expired_operations
-- Those that had to begin by now and have sent nothing; asked every second, so in the words of its index.
SELECT * FROM operations
WHERE state <> 'succeeded' AND state <> 'failed' AND state <> 'cancelled'
    AND state <> 'held' AND state <> 'delivering'
    AND expires_at IS NOT NULL AND sent = 0 AND expires_at <= :now ORDER BY expires_at, seq LIMIT :limit

-- name: count_operations
-- How many operations stand in each state.
SELECT state, count(*) AS count FROM operations GROUP BY state

-- name: count_error_codes
-- How many operations of a state have which error code, since when, and one of them.
SELECT error_code AS code, count(*) AS count, min(updated_at) AS since, min(id) AS example FROM operations
WHERE state = :state GROUP BY error_code ORDER BY error_code

-- name: forgive_pause
-- A pause is over: it does not count towards giving up.
UPDATE operations SET failing_since = failing_since + :now
        - CASE WHEN failing_since > :paused_at THEN failing_since ELSE :paused_at END
WHERE failing_since IS NOT NULL AND state IN ('queued', 'running', 'waiting')

-- name: add_timeline
-- The next line of an operation's history.
INSERT INTO timeline (operation, position, at, what, detail, actor)
VALUES (:operation, (SELECT coalesce(max(position), 0) + 1 FROM timeline WHERE operation = :operation),
    :at, :what, :detail, :actor)

-- name: timeline
-- An operation's history.
SELECT at, what, detail, actor FROM timeline WHERE operation = :operation ORDER BY position

-- name: add_delivery
-- A message to be posted.
INSERT INTO deliveries (id, seq, billing, service_id, operation, concludes, type, data, with_credentials,
    credentials_version, sealed, state, attempts, claims, next_run_at, failing_since, last_error, hooks_due,
    created_at, updated_at)
VALUES (:id, :seq, :billing, :service_id, :operation, :concludes, :type, :data, :with_credentials,
    :credentials_version, :sealed, :state, :attempts, :claims, :next_run_at, :failing_since, :last_error,
    :hooks_due, :created_at, :updated_at)

-- name: claim_delivery
-- Leases the delivery that has been due longest and is the oldest of its service.
UPDATE deliveries SET claims = claims + 1, attempts = attempts + 1, next_run_at = :lease_until,
    updated_at = :now
WHERE id = (
    SELECT d.id FROM deliveries d
    WHERE d.state = 'waiting' AND d.next_run_at <= :now
        AND NOT EXISTS (
            SELECT 1 FROM deliveries e
            WHERE e.billing = d.billing AND e.service_id = d.service_id AND e.seq < d.seq
                AND e.state = 'waiting')
    ORDER BY d.next_run_at, d.seq LIMIT 1 /*skip locked*/)
RETURNING *

-- name: park_deliveries
-- Sets aside, until it would be given up, what waits to be fetched: counted from when it was made or retried.
-- The billing system is compared in a way that no index serves: the few that are due are what is looked at.
UPDATE deliveries SET failing_since = coalesce(failing_since, created_at),
    next_run_at = coalesce(failing_since, created_at) + :most_ms
WHERE state = 'waiting' AND next_run_at <= :now AND billing || '' = :billing
    AND coalesce(failing_since, created_at) + :most_ms > :now

-- name: release_deliveries
-- What waits for a billing system is due at once, as if it were new: it is told in another way from now on.
UPDATE deliveries SET next_run_at = :now, failing_since = :now, last_error = '', attempts = 0
WHERE billing = :billing AND state = 'waiting'

-- name: deliveries_to_fetch
-- What waits for a billing system: the least often offered first, then the oldest. One counts as offered as
-- often as whatever waits before it in its service, so that a service keeps its order wherever the list ends.
WITH waiting AS (
    SELECT id, seq, max(attempts) OVER (PARTITION BY service_id ORDER BY seq) AS offers
    FROM deliveries WHERE billing = :billing AND state = 'waiting'),
chosen AS (SELECT id, offers FROM waiting ORDER BY offers, seq LIMIT :limit)
SELECT d.* FROM chosen JOIN deliveries d ON d.id = chosen.id ORDER BY chosen.offers, d.seq

-- name: take_delivery
-- Takes one that is not done from whoever has it: what another makes of it is dropped.
UPDATE deliveries SET claims = claims + 1 WHERE id = :id AND billing = :billing AND state <> 'done'
RETURNING *

-- name: oldest_waiting_delivery
-- Since when something waits for a billing system, from when it was made or retried.
SELECT min(coalesce(failing_since, created_at)) AS at FROM deliveries
WHERE billing = :billing AND state = 'waiting'

-- name: next_delivery_at
-- When the next delivery that is not due yet will be.
SELECT min(next_run_at) AS at FROM deliveries WHERE state = 'waiting' AND next_run_at > :now

-- name: oldest_due_delivery
-- Since when the delivery is due that has been due longest and is the oldest of its service.
SELECT d.next_run_at AS at FROM deliveries d
WHERE d.state = 'waiting' AND d.next_run_at <= :now
    AND NOT EXISTS (
        SELECT 1 FROM deliveries e
        WHERE e.billing = d.billing AND e.service_id = d.service_id AND e.seq < d.seq
            AND e.state = 'waiting')
ORDER BY d.next_run_at, d.seq LIMIT 1

-- name: count_due_deliveries
-- How many deliveries are due and the oldest of their service.
SELECT count(*) AS count FROM deliveries d
WHERE d.state = 'waiting' AND d.next_run_at <= :now
    AND NOT EXISTS (
        SELECT 1 FROM deliveries e
        WHERE e.billing = d.billing AND e.service_id = d.service_id AND e.seq < d.seq
            AND e.state = 'waiting')

-- name: waiting_deliveries_by_billing
-- For each billing system how many wait, since when (a retry begins anew); how many of them fail, since when;
-- and how many have failed since before then and were tried in vain since :watched.
SELECT billing, count(*) AS waiting, min(coalesce(failing_since, created_at)) AS waiting_since,
    sum(CASE WHEN failing_since IS NOT NULL THEN 1 ELSE 0 END) AS failing, min(failing_since) AS failing_since,
    sum(CASE WHEN failing_since <= :before AND last_error <> '' AND updated_at >= :watched THEN 1 ELSE 0 END)
        AS late
FROM deliveries WHERE state = 'waiting' GROUP BY billing ORDER BY billing

-- name: last_delivery_errors
-- For each billing system that does not take its deliveries just now: how many, since when, and the last answer.
SELECT billing, count(*) AS count, min(failing_since) AS since, max(updated_at) AS at,
    (SELECT last_error FROM deliveries AS latest
        WHERE latest.billing = deliveries.billing AND state = 'waiting' AND failing_since IS NOT NULL
        ORDER BY updated_at DESC, seq DESC LIMIT 1) AS last_error
FROM deliveries WHERE state = 'waiting' AND failing_since IS NOT NULL
GROUP BY billing ORDER BY billing

-- name: count_open_operations
-- How many have not ended, by their state; those that have are the many.
SELECT state, count(*) AS count FROM operations WHERE state IN ('queued', 'running', 'waiting', 'held')
GROUP BY state
UNION ALL SELECT state, count(*) AS count FROM operations WHERE state = 'delivering' GROUP BY state

-- name: recent_operations
-- What became of the operations of late, the newest first, without what they carry. The limit is inside: it
-- looks at no more rows, however long the history and however little was done of late.
SELECT kind, state, sent, error_code, created_at, updated_at
FROM (SELECT * FROM operations ORDER BY seq DESC LIMIT :limit) AS latest
WHERE created_at >= :since ORDER BY seq DESC

-- name: given_up_deliveries_by_billing
-- For each billing system how many were given up since then, and when the first of them was.
SELECT billing, count(*) AS count, min(updated_at) AS since FROM deliveries
WHERE state = 'given_up' AND updated_at >= :since GROUP BY billing ORDER BY billing

-- name: save_delivery
-- Writes a delivery back, unless somebody else has claimed it since.
UPDATE deliveries SET state = :state, next_run_at = :next_run_at, failing_since = :failing_since,
    last_error = :last_error, credentials_version = :credentials_version, sealed = :sealed,
    attempts = :attempts, hooks_due = :hooks_due, updated_at = :updated_at
WHERE id = :id AND claims = :fence

-- name: claim_hooks
-- Leases a delivery that is done and whose after-hooks are still to be called.
UPDATE deliveries SET claims = claims + 1, next_run_at = :lease_until
WHERE id = (
    SELECT d.id FROM deliveries d WHERE d.hooks_due = 1 AND d.next_run_at <= :now
    ORDER BY d.next_run_at, d.seq LIMIT 1 /*skip locked*/)
RETURNING *

-- name: delivery
-- One delivery by its id.
SELECT * FROM deliveries WHERE id = :id

-- name: deliveries_of_operation
-- What an operation had to tell, oldest first.
SELECT * FROM deliveries WHERE operation = :operation ORDER BY seq

-- name: sealed_deliveries
-- Those that carry credentials at this moment.
SELECT * FROM deliveries WHERE sealed <> '' ORDER BY seq

-- name: waiting_deliveries_with_credentials
-- Those that will deliver a password.
SELECT * FROM deliveries WHERE state = 'waiting' AND with_credentials = 1 ORDER BY seq

-- name: later_status_operation
-- An operation of the service that was accepted after this one, asks for another status, and was not in vain.
SELECT id FROM operations WHERE billing = :billing AND service_id = :service_id
    AND seq > (SELECT seq FROM operations WHERE id = :operation)
    AND kind IN ('create', 'link', 'suspend', 'unsuspend', 'terminate')
    AND state <> 'failed' AND state <> 'cancelled' LIMIT 1

-- name: mark
-- What was noted of an operation or delivery under a name.
SELECT value FROM marks WHERE subject = :subject AND name = :name

-- name: set_mark
-- Notes it, whether something was noted before or not.
INSERT INTO marks (subject, name, value, at) VALUES (:subject, :name, :value, :now)
ON CONFLICT (subject, name) DO UPDATE SET value = excluded.value, at = excluded.at

-- name: drop_mark
-- Forgets a note.
DELETE FROM marks WHERE subject = :subject AND name = :name

-- name: count_deliveries
-- How many deliveries wait, and how many were given up; those that are done are the many.
SELECT state, count(*) AS count FROM deliveries WHERE state = 'waiting' GROUP BY state
UNION ALL SELECT state, count(*) AS count FROM deliveries WHERE state = 'given_up' GROUP BY state

-- name: events_above
-- The next events in the order in which they came, with their age.
SELECT seq, received_at AS at FROM events WHERE seq > :above ORDER BY seq LIMIT :limit

-- name: empty_events
-- Takes what they said out of events; that they came, and what was answered, stays.
UPDATE events SET body = '' WHERE seq > :above AND seq <= :last AND body <> ''

-- name: delete_events
-- Forgets events: their ids may be used again.
DELETE FROM events WHERE seq <= :last

-- name: events_of_service
-- Which events were about a service.
SELECT id FROM events WHERE billing = :billing AND service_id = :service_id ORDER BY seq

-- name: erase_event
-- Takes everything out of an event that tells of a customer; its id stays, so that it is not accepted twice.
UPDATE events SET body = '', message = '', actor = '' WHERE id = :id

-- name: deliveries_above
-- The next deliveries in the order in which they were queued, with their age.
SELECT seq, created_at AS at FROM deliveries WHERE seq > :above ORDER BY seq LIMIT :limit

-- name: empty_deliveries
-- Takes what they said out of deliveries that have ended.
UPDATE deliveries SET data = '{}', sealed = ''
WHERE seq > :above AND seq <= :last AND state <> 'waiting' AND data <> '{}'

-- name: delete_deliveries
-- Forgets deliveries that have ended.
DELETE FROM deliveries WHERE seq <= :last AND state <> 'waiting'

-- name: erase_delivery
-- Takes everything out of a delivery that tells of a customer.
UPDATE deliveries SET data = '{}', sealed = '', last_error = '' WHERE id = :id

-- name: operations_above
-- The next operations in the order of their acceptance.
SELECT * FROM operations WHERE seq > :above ORDER BY seq LIMIT :limit

-- name: erase_operation
-- Leaves of an operation what it did, not for whom.
UPDATE operations SET args = :args, memo = :memo, error_detail = error_message, actor = :actor WHERE id = :id

-- name: drop_timeline
-- Forgets an operation's history.
DELETE FROM timeline WHERE operation = :operation

-- name: drop_marks_of
-- Forgets what delivering noted of an operation. What a create may have left behind must stay known.
DELETE FROM marks WHERE subject = :subject AND name <> 'listed'

-- name: drop_marks_before
-- Forgets what was noted so long ago that nothing is tried again. What a create may have left behind has no such end.
DELETE FROM marks WHERE at < :before AND name <> 'listed'

-- name: drop_passages_before
-- Forgets what passed a brake so long ago that it counts no more.
DELETE FROM brake_passages WHERE at < :before

-- name: add_passage
-- An operation passed a brake; once, however often it is asked.
INSERT INTO brake_passages (kind, operation, at) VALUES (:kind, :operation, :at)
ON CONFLICT (kind, operation) DO NOTHING

-- name: passage
-- Whether this operation passed already.
SELECT at FROM brake_passages WHERE kind = :kind AND operation = :operation

-- name: count_passages
-- How many passed a brake since then.
SELECT count(*) AS count FROM brake_passages WHERE kind = :kind AND at > :since

-- name: drop_passages
-- A person resets a brake.
DELETE FROM brake_passages WHERE kind = :kind

-- name: add_audit
-- One more line.
INSERT INTO audit (seq, at, actor, address, action, billing, service_id, operation, vmid, reason, detail,
    erased_by, digest, chain)
VALUES (:seq, :at, :actor, :address, :action, :billing, :service_id, :operation, :vmid, :reason, :detail,
    :erased_by, :digest, :chain)

-- name: audit_line
-- One line by its number.
SELECT * FROM audit WHERE seq = :seq

-- name: audit_after
-- The lines behind a number, in their order.
SELECT * FROM audit WHERE seq > :seq ORDER BY seq LIMIT :limit

-- name: audit_head
-- The oldest lines, as far as pruning must know them.
SELECT seq, at, chain FROM audit ORDER BY seq LIMIT :limit

-- name: prune_audit
-- Removes the oldest lines, this one the last of them.
DELETE FROM audit WHERE seq <= :seq

-- name: erasable_audit
-- The lines about a service; those that tell an erasure stay.
SELECT count(*) AS count, min(seq) AS first FROM audit
WHERE billing = :billing AND service_id = :service_id AND service_id <> '' AND action <> 'service.erased'

-- name: erase_audit
-- Empties them; their digests hold their places.
UPDATE audit SET at = 0, actor = '', address = '', action = '', billing = '', service_id = '', operation = '',
    vmid = NULL, reason = '', detail = '', erased_by = :seq
WHERE billing = :billing AND service_id = :service_id AND service_id <> '' AND action <> 'service.erased'

-- name: count_erased
-- How many lines a line has emptied, and which is the first of them.
SELECT count(*) AS count, min(seq) AS first FROM audit WHERE erased_by = :seq
