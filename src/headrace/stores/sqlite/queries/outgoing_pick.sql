-- Which events wait for a sink, beyond a place, in order, and how large they are.
SELECT n, length(body) FROM headrace_outbox AS outbox WHERE sink = (SELECT id FROM headrace_sink AS sink WHERE name = ?1) AND n > ?2 AND parked = 0
    AND (key IS NULL OR key NOT IN (SELECT value FROM json_each(?3))) ORDER BY n LIMIT ?4
