-- Let all events of a sink that are parked go again, as if never refused.
UPDATE headrace_outbox AS outbox SET parked = 0, failures = 0, failure = NULL
WHERE sink = (SELECT id FROM headrace_sink AS sink WHERE name = ?1) AND parked = 1
