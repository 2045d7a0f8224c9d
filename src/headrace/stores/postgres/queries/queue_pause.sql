-- Hold or release a queue: one row, whatever waits in it.
INSERT INTO headrace_queue AS queue (name, paused) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET paused = excluded.paused
