-- What a move of one live job needs to know.
SELECT n, id, lane, state, suspect, cancelling, fence, settled_fence, attempt, crashes, feed_end, worker, started_at
FROM headrace_job AS job WHERE id = ?1
