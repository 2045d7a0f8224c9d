-- Every sink, what waits for it up to so many, since when, and what is parked.
SELECT sink.name,
    (SELECT count(*) FROM (SELECT 1 FROM headrace_outbox AS outbox WHERE outbox.sink = sink.id AND parked = 0 LIMIT ?1)),
    (SELECT at FROM headrace_outbox AS outbox WHERE outbox.sink = sink.id AND parked = 0 ORDER BY n LIMIT 1),
    (SELECT count(*) FROM (SELECT 1 FROM headrace_outbox AS outbox WHERE outbox.sink = sink.id AND parked = 1 LIMIT ?1))
FROM headrace_sink AS sink ORDER BY sink.name
