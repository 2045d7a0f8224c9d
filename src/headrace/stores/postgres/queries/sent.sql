-- Take events that were confirmed out of the outbox.
DELETE FROM headrace_outbox AS outbox WHERE ctid = ANY (ARRAY(SELECT headrace_places_1($1, $2, '{f,t}')))
