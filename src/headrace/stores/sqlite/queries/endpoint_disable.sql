-- Send nothing more to an endpoint; the first instant stays.
INSERT INTO headrace_endpoint (name, disabled_at, why) VALUES (?1, ?2, ?3) ON CONFLICT (name) DO UPDATE SET why = excluded.why
