-- The first caller's secret stays.
INSERT INTO headrace_secret (name, value) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING
