-- Waiting jobs end as cancelled; guard: they wait.
WITH leaves AS (
    DELETE FROM headrace_job AS job WHERE id = ANY ($1::uuid[]) AND state < 2 RETURNING *
)
INSERT INTO headrace_history (id, finished_at, created_at, first_due_at, first_claimed_at, started_at, deadline_at, timeout_s, line,
    fence, settled_fence, attempt, failures, crashes, snoozes, max_attempts, feed_end, items, first_claim_offset, state,
    suspect, key, tags, signature, traceparent, args)
SELECT id, coalesce($2::timestamptz, statement_timestamp()), created_at, first_due_at, first_claimed_at, started_at, deadline_at,
    timeout_s, line, fence, settled_fence, attempt, failures, crashes, snoozes, max_attempts, feed_end + 1, items,
    first_claim_offset, 5, suspect, key, tags, signature, traceparent, args
FROM leaves RETURNING id
