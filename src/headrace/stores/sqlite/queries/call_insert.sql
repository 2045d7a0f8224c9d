-- Keep what was enqueued.
INSERT INTO headrace_call (n, created_at, first_due_at, max_attempts, timeout_s, key, tags, signature, traceparent, args)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
