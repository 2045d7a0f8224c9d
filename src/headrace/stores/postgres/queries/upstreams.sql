-- What the fleet knows of each upstream, and the instant.
SELECT NULL::text, NULL::text, extract(epoch FROM coalesce($1, clock_timestamp()))::double precision
UNION ALL
SELECT name, document, NULL FROM headrace_upstream AS upstream
