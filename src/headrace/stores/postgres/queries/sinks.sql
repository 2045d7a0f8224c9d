-- Every sink, what waits for it up to so many, how long the first already, and what is parked.
SELECT sink.name, waiting.count, extract(epoch FROM coalesce($1::timestamptz, clock_timestamp()) - first.at)::double precision, parked.count
FROM headrace_sink AS sink
CROSS JOIN LATERAL (
    SELECT count(*) FROM (SELECT FROM headrace_outbox AS outbox WHERE outbox.sink = sink.id AND NOT parked ORDER BY n LIMIT $2) AS those
) AS waiting
LEFT JOIN LATERAL (
    SELECT at FROM headrace_outbox AS outbox WHERE outbox.sink = sink.id AND NOT parked ORDER BY n LIMIT 1
) AS first ON true
CROSS JOIN LATERAL (
    SELECT count(*) FROM (SELECT FROM headrace_outbox AS outbox WHERE outbox.sink = sink.id AND parked LIMIT $2) AS those
) AS parked
ORDER BY sink.name COLLATE "C"
