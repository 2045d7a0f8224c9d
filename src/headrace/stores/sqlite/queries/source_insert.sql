-- Number a source.
INSERT INTO headrace_source (name) VALUES (?1) RETURNING id
