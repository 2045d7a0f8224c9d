-- Due jobs become ready, the longest due first, at the end of the line.
WITH due AS MATERIALIZED (
    SELECT id FROM headrace_job AS job WHERE state = 0 AND due_at <= coalesce($1::timestamptz, statement_timestamp())
    ORDER BY due_at, seq LIMIT $2 FOR UPDATE SKIP LOCKED
), placed AS MATERIALIZED (
    SELECT id, nextval('headrace_place') AS seq FROM due
), ready AS (
    UPDATE headrace_job AS job SET state = 1, seq = placed.seq, feed_end = job.feed_end + 1,
        due_at = coalesce($1::timestamptz, statement_timestamp())
    FROM placed WHERE job.id = placed.id RETURNING job.id, job.line, job.attempt, job.feed_end
), tells AS (
    INSERT INTO headrace_feed (job, feed_offset, kind, attempt, at, data)
    SELECT id, feed_end, 'state', attempt, coalesce($1::timestamptz, statement_timestamp()),
        '{"state":"ready","attempt":' || attempt || '}'
    FROM ready
)
SELECT id, line FROM ready
