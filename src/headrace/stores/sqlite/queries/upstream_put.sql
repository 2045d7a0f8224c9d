-- The next document of an upstream.
INSERT INTO headrace_upstream (name, document) VALUES (?1, ?2) ON CONFLICT (name) DO UPDATE SET document = excluded.document
