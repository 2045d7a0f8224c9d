-- Due jobs become ready, the longest due first, at the end of the line.
SELECT id, line FROM headrace_promote_1($1::timestamptz, $2::integer)
