-- One job as readers see it, and its kept updates after an offset, in order: one snapshot.
SELECT j.id, line.task, queue.name, j.state, '' AS args, line.priority, j.key, j.tags, j.attempt, j.failures, j.crashes, j.snoozes,
    j.max_attempts, j.fence, j.feed_end, j.timeout_s, j.created_at, NULL::timestamptz, j.started_at, j.finished_at, j.deadline_at,
    NULL::text, j.suspect, false, j.result, j.failure, j.progress, j.first_due_at, j.first_claimed_at, j.first_claim_offset,
    statement_timestamp(), j.progress_offset, j.progress_at,
    (SELECT json_agg(json_build_array(feed.feed_offset, feed.kind, feed.attempt, feed.data, feed.micros) ORDER BY feed.feed_offset)::text FROM (
        SELECT feed_offset, kind, attempt, data, round(extract(epoch FROM at) * 1000000)::bigint AS micros FROM headrace_feed
        WHERE job = $1 AND feed_offset > $2 ORDER BY feed_offset LIMIT $3
    ) AS feed)
FROM (
    SELECT id, state, key, tags, attempt, failures, crashes, snoozes, max_attempts, fence, feed_end, timeout_s, created_at,
        started_at, NULL::timestamptz AS finished_at, deadline_at, suspect, NULL::text AS result, failure, line, first_due_at,
        first_claimed_at, first_claim_offset, progress, progress_offset, progress_at
    FROM headrace_job WHERE id = $1
    UNION ALL
    SELECT id, state, key, tags, attempt, failures, crashes, snoozes, max_attempts, fence, feed_end, timeout_s, created_at,
        started_at, finished_at, deadline_at, suspect, result, failure, line, first_due_at, first_claimed_at,
        first_claim_offset, NULL, NULL, NULL
    FROM headrace_history WHERE id = $1 AND finished_at > headrace_pruned_to()
) AS j JOIN headrace_line AS line ON line.id = j.line JOIN headrace_queue AS queue ON queue.id = line.queue
