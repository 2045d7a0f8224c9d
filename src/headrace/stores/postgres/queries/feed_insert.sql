-- Add updates to feeds; the caller raises feed_end in the same transaction.
INSERT INTO headrace_feed (job, feed_offset, kind, attempt, at, key, data)
SELECT job, feed_offset, kind, attempt, at, key, data
FROM unnest($1::uuid[], $2::integer[], $3::text[], $4::integer[], $5::timestamptz[], $6::text[], $7::text[])
    AS update (job, feed_offset, kind, attempt, at, key, data)
