-- Send a running job back to wait; the caller has checked (id, fence, running).
UPDATE headrace_job AS job SET state = ?2, seq = ?3, run_at = ?4, suspect = coalesce(?5, suspect), attempt = attempt + ?6,
    failures = failures + ?7, crashes = crashes + ?8, snoozes = snoozes + ?9, failure = coalesce(?10, failure),
    settled_fence = ?11, feed_end = feed_end + 1, worker = NULL
WHERE n = ?1
