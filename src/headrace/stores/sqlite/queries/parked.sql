-- Events that are parked, beyond a place, in order.
SELECT n, id, key, target, head, body, failures, failure, at FROM headrace_outbox AS outbox
WHERE sink = (SELECT id FROM headrace_sink AS sink WHERE name = ?1) AND parked = 1 AND n > ?2 ORDER BY n LIMIT ?3
