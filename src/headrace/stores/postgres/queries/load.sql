-- How much waits in these queues, by line; at most so many ready and scheduled jobs of each.
SELECT ord, paused, task, priority, ready, older, oldest_s, scheduled
FROM headrace_load_1($1::timestamptz, $2::text[], $3::integer[], $4::double precision[])
