-- What a worker runs.
SELECT n, id, lane, state, suspect, cancelling, fence, settled_fence, attempt, crashes, feed_end, worker, started_at
FROM headrace_job AS job WHERE state = 2 AND worker = ?1
