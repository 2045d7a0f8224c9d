-- Running jobs that match, newest id first, as find_live: the few there are, sorted (OFFSET keeps off the walk of all ids).
WITH scanned AS MATERIALIZED (
    SELECT * FROM (SELECT * FROM headrace_job AS job WHERE state = 2 OFFSET 0) AS running WHERE id < $1 ORDER BY id DESC LIMIT $8
), matching AS (
    SELECT j.id, line.task, queue.name, j.state, j.args, line.priority, j.key, j.tags, j.attempt, j.failures, j.crashes, j.snoozes,
        j.max_attempts, j.fence, j.feed_end, j.timeout_s, j.created_at, CASE WHEN j.state = 0 THEN j.due_at END, j.started_at,
        NULL::timestamptz, j.deadline_at, worker.id, j.suspect, j.cancelling, NULL::text, j.failure, j.progress, j.first_due_at,
        j.first_claimed_at, j.first_claim_offset, statement_timestamp(), NULL::bigint
    FROM scanned AS j JOIN headrace_line AS line ON line.id = j.line JOIN headrace_queue AS queue ON queue.id = line.queue
        LEFT JOIN headrace_worker AS worker ON worker.n = j.worker AND j.state = 2
    WHERE ($2::text IS NULL OR line.task = $2) AND ($3::text IS NULL OR queue.name = $3) AND ($4::smallint IS NULL OR j.state = $4)
        AND ($5::text IS NULL OR $5 = ANY (j.tags)) AND ($6::timestamptz IS NULL OR j.created_at >= $6)
        AND ($7::timestamptz IS NULL OR j.created_at < $7)
    ORDER BY j.id DESC LIMIT $9
)
SELECT * FROM matching
UNION ALL
SELECT (SELECT id FROM scanned ORDER BY id LIMIT 1), NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL,
    NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, (SELECT count(*) FROM scanned)
