-- The parked events of a sink beyond a place, in order.
SELECT n, id, key, target, head, body, failures, failure, extract(epoch FROM coalesce($1::timestamptz, clock_timestamp()) - at)::double precision
FROM headrace_outbox AS outbox
WHERE sink = (SELECT id FROM headrace_sink WHERE name = $2) AND parked AND n > $3 ORDER BY n LIMIT $4
