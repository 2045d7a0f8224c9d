-- Events that wait for a sink, beyond a place and up to one, in order.
SELECT n, id, key, target, head, body, failures FROM headrace_outbox AS outbox WHERE sink = (SELECT id FROM headrace_sink AS sink WHERE name = ?1) AND n > ?2 AND parked = 0
    AND (key IS NULL OR key NOT IN (SELECT value FROM json_each(?3))) AND n <= ?4 ORDER BY n
