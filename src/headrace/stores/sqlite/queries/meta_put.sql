-- Set one fact about the file.
INSERT INTO headrace_meta (key, value) VALUES (?1, ?2) ON CONFLICT (key) DO UPDATE SET value = excluded.value
