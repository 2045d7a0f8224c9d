-- Take parked events out of the outbox for good.
DELETE FROM headrace_outbox AS outbox WHERE ctid = ANY (ARRAY(SELECT headrace_places_1($1, $2, '{t}'))) RETURNING 1
