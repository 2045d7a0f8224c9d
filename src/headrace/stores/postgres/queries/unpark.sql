-- Let parked events go again, as if never refused.
UPDATE headrace_outbox AS outbox SET parked = false, failures = 0, failure = NULL
WHERE ctid = ANY (ARRAY(SELECT headrace_places_1($1, $2, '{t}'))) RETURNING 1
