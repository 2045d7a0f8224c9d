-- Number a queue.
INSERT INTO headrace_queue (name) VALUES (?1) RETURNING id
