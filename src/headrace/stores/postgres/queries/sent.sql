-- Take events that were confirmed out of the outbox.
DELETE FROM headrace_outbox AS outbox WHERE sink = (SELECT id FROM headrace_sink WHERE name = $1) AND parked = ANY ('{f,t}') AND n = ANY ($2::bigint[])
