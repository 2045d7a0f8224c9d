-- Events that wait for a sink, beyond a place, in order: so many, of so many bytes but at least one; and whether there are more.
SELECT n, id, key, target, head, body, failures, more FROM (
    SELECT *, sum(octet_length(body)) OVER (ORDER BY n) AS bytes, row_number() OVER (ORDER BY n) AS row, count(*) OVER () > row_number() OVER (ORDER BY n) AS more
    FROM (
        SELECT n, id, key, target, head, body, failures FROM headrace_outbox AS outbox
        WHERE sink = (SELECT id FROM headrace_sink WHERE name = $1) AND n > $2 AND NOT parked AND (key IS NULL OR key <> ALL ($5::text[]))
        ORDER BY n LIMIT $3 + 1
    ) AS first
) AS counted
WHERE row <= $3 AND (bytes <= $4 OR row = 1) ORDER BY n
