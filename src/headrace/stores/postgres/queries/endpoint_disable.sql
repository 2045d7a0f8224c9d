-- Send nothing more to an endpoint.
INSERT INTO headrace_endpoint AS endpoint (name, disabled_at, why) VALUES ($2, coalesce($1::timestamptz, clock_timestamp()), $3)
ON CONFLICT (name) DO UPDATE SET why = excluded.why
