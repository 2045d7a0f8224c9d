-- Ended jobs that match, newest id first; the last row tells where the scan stopped and how many rows it saw.
WITH scanned AS MATERIALIZED (
    SELECT * FROM headrace_history AS history WHERE id < $1 AND finished_at > headrace_pruned_to()
        AND ($4::smallint IS NULL OR state = $4) ORDER BY id DESC LIMIT $8
), matching AS (
    SELECT j.id, line.task, queue.name, j.state, j.args, line.priority, j.key, j.tags, j.attempt, j.failures, j.crashes, j.snoozes,
        j.max_attempts, j.fence, j.feed_end, j.timeout_s, j.created_at, NULL::timestamptz, j.started_at, j.finished_at,
        j.deadline_at, NULL::text, j.suspect, false, j.result, j.failure, NULL::text, j.first_due_at, j.first_claimed_at,
        j.first_claim_offset, statement_timestamp(), NULL::bigint
    FROM scanned AS j JOIN headrace_line AS line ON line.id = j.line JOIN headrace_queue AS queue ON queue.id = line.queue
    WHERE ($2::text IS NULL OR line.task = $2) AND ($3::text IS NULL OR queue.name = $3)
        AND ($5::text IS NULL OR $5 = ANY (j.tags)) AND ($6::timestamptz IS NULL OR j.created_at >= $6)
        AND ($7::timestamptz IS NULL OR j.created_at < $7)
    ORDER BY j.id DESC LIMIT $9
)
SELECT * FROM matching
UNION ALL
SELECT (SELECT id FROM scanned ORDER BY id LIMIT 1), NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL,
    NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, (SELECT count(*) FROM scanned)
