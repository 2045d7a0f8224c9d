-- Let an event go again, as if never refused; guard: it is parked.
UPDATE headrace_outbox AS outbox SET parked = 0, failures = 0, failure = NULL
WHERE sink = (SELECT id FROM headrace_sink AS sink WHERE name = ?1) AND parked = 1 AND n = ?2
