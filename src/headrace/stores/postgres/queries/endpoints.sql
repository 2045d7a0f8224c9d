-- The endpoints to which nothing is sent, why, and for how long already.
SELECT name, why, extract(epoch FROM coalesce($1::timestamptz, clock_timestamp()) - disabled_at)::double precision
FROM headrace_endpoint AS endpoint ORDER BY name COLLATE "C"
