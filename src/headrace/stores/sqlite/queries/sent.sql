-- An event leaves the outbox: its sink has it.
DELETE FROM headrace_outbox AS outbox WHERE n = ?2 AND sink = (SELECT id FROM headrace_sink AS sink WHERE name = ?1)
