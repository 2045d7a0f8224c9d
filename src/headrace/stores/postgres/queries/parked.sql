-- The parked events of a sink beyond a place, in order.
SELECT n, id, key, target, head, body, failures, failure, extract(epoch FROM coalesce($1::timestamptz, clock_timestamp()) - at)::double precision
FROM headrace_outbox_1($2, true, $3, $4, 1073741824, '{}')
