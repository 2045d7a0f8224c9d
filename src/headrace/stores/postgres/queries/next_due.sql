-- How long until the next scheduled job is due.
SELECT headrace_next_due_1($1::timestamptz)
