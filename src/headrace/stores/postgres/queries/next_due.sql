-- How long until the next scheduled job is due.
SELECT extract(epoch FROM min(due_at) - coalesce($1::timestamptz, clock_timestamp()))::double precision FROM headrace_job AS job WHERE state = 0
