-- Give an event up; guard: it is parked.
DELETE FROM headrace_outbox AS outbox
WHERE n = ?2 AND sink = (SELECT id FROM headrace_sink AS sink WHERE name = ?1) AND parked = 1
