-- Where feeds end after an append.
UPDATE headrace_job AS job SET feed_end = raised.feed_end, items = raised.items
FROM unnest($1::uuid[], $2::integer[], $3::integer[]) AS raised (id, feed_end, items) WHERE job.id = ANY (ARRAY[raised.id])
