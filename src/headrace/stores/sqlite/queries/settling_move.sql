-- Move succeeded jobs to the history; guard: (id, fence, running).
INSERT INTO headrace_history (n, id, lane, state, priority, suspect, fence, settled_fence, attempt, failures, crashes, snoozes,
    feed_end, items, worker, first_claimed_at, first_claim_offset, started_at, deadline_at, finished_at, result)
SELECT job.n, job.id, job.lane, 3, job.priority, 0, job.fence, job.fence, job.attempt, job.failures,
    job.crashes, job.snoozes, job.feed_end + 1, job.items, job.worker, job.first_claimed_at, job.first_claim_offset,
    job.started_at, job.deadline_at, ?1, settling.result
FROM temp.settling CROSS JOIN headrace_job AS job
    ON job.n = settling.n AND job.id = settling.id AND job.fence = settling.fence AND job.state = 2
