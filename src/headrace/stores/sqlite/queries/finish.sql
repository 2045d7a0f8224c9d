-- Copy a live job to the history as ended; the caller has checked its state, and deletes the live row.
INSERT INTO headrace_history (n, id, lane, state, priority, suspect, fence, settled_fence, attempt, failures, crashes, snoozes,
    feed_end, items, worker, first_claimed_at, first_claim_offset, started_at, deadline_at, finished_at, failure, result)
SELECT n, id, lane, ?2, priority, coalesce(?3, suspect), fence, ?4, attempt + ?5, failures + ?6, crashes + ?7,
    snoozes + ?8, feed_end + 1, items, worker, first_claimed_at, first_claim_offset, started_at, deadline_at, ?9, ?10, ?11
FROM headrace_job AS job WHERE n = ?1
