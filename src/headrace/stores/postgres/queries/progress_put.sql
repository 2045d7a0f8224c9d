-- The latest progress wins; it carries the offset at which it was made.
UPDATE headrace_job AS job SET progress = latest.data, progress_offset = latest.feed_offset, progress_at = $4
FROM unnest($1::uuid[], $2::integer[], $3::text[]) AS latest (id, feed_offset, data) WHERE job.id = ANY (ARRAY[latest.id])
