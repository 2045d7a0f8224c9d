-- Note that events were refused, and park some.
SELECT headrace_refuse_1($1, $2, $3, $4)
