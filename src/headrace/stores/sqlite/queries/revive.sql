-- Copy a failed or cancelled job back to the live ones, counters from 0; its passed deadline is dropped.
INSERT INTO headrace_job (n, id, lane, state, priority, seq, suspect, cancelling, fence, settled_fence, attempt, failures, crashes,
    snoozes, feed_end, items, first_claimed_at, first_claim_offset, started_at, deadline_at)
SELECT n, id, lane, 1, priority, ?2, suspect, 0, fence, settled_fence, attempt, 0, 0, 0, feed_end + 1, items,
    first_claimed_at, first_claim_offset, started_at, iif(deadline_at <= ?3, NULL, deadline_at)
FROM headrace_history AS history WHERE id = ?1 AND state > 3
