-- Number a sink.
INSERT INTO headrace_sink (name) VALUES (?1) RETURNING id
