-- Let all parked events of a sink go again, as if never refused.
UPDATE headrace_outbox AS outbox SET parked = false, failures = 0, failure = NULL
WHERE sink = (SELECT id FROM headrace_sink WHERE name = $1) AND parked RETURNING 1
