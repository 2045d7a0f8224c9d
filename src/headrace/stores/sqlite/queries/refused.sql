-- A sink refused an event, perhaps once too often.
UPDATE headrace_outbox AS outbox SET failures = failures + 1, failure = ?3, parked = ?4
WHERE n = ?2 AND sink = (SELECT id FROM headrace_sink AS sink WHERE name = ?1)
