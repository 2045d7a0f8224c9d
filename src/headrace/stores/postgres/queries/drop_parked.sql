-- Take parked events out of the outbox for good.
DELETE FROM headrace_outbox AS outbox
WHERE sink = (SELECT id FROM headrace_sink WHERE name = $1) AND parked AND n = ANY ($2::bigint[]) RETURNING 1
