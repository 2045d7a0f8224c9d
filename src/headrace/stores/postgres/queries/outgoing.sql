-- Events that wait for a sink, beyond a place, in order: so many, of so many bytes but at least one; and whether there are more.
SELECT n, id, key, target, head, body, failures, more FROM headrace_outbox_1($1, false, $2, $3, $4, $5)
