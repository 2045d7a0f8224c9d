-- Let parked events go again, these or all, as if never refused.
UPDATE headrace_outbox AS outbox SET parked = false, failures = 0, failure = NULL
WHERE sink = (SELECT id FROM headrace_sink WHERE name = $1) AND parked AND ($2::bigint[] IS NULL OR n = ANY ($2::bigint[])) RETURNING 1
