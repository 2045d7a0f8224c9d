-- The rate of a scope has moved on.
INSERT INTO headrace_limit (scope, rate_at) VALUES (?1, ?2) ON CONFLICT (scope) DO UPDATE SET rate_at = excluded.rate_at
