-- Move a failed or cancelled job back to the live ones, counters from 0; its passed deadline is dropped.
WITH leaves AS (
    DELETE FROM headrace_history AS history WHERE id = $1 AND state > 3 AND finished_at > headrace_pruned_to() RETURNING *
)
INSERT INTO headrace_job (id, seq, created_at, due_at, first_due_at, first_claimed_at, started_at, deadline_at, timeout_s, line, fence,
    settled_fence, attempt, max_attempts, feed_end, items, first_claim_offset, state, suspect, key, tags, signature, traceparent, args)
SELECT id, nextval('headrace_place'), created_at, now.at, first_due_at, first_claimed_at, started_at,
    CASE WHEN deadline_at > now.at THEN deadline_at END, timeout_s, line, fence, settled_fence, attempt, max_attempts,
    feed_end + 1, items, first_claim_offset, 1, suspect, key, tags, signature, traceparent, args
FROM leaves CROSS JOIN (SELECT coalesce($2::timestamptz, statement_timestamp()) AS at) AS now
RETURNING id, (SELECT coalesce($2::timestamptz, statement_timestamp()))
