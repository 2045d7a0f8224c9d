-- Set one fact about the database.
INSERT INTO headrace_meta AS meta (key, value) VALUES ($1, $2) ON CONFLICT (key) DO UPDATE SET value = excluded.value
