-- The latest progress wins.
INSERT INTO headrace_progress (n, fence, attempt, feed_offset, at, data) VALUES (?, ?, ?, ?, ?, ?)
ON CONFLICT (n) DO UPDATE SET fence = excluded.fence, attempt = excluded.attempt,
    feed_offset = excluded.feed_offset, at = excluded.at, data = excluded.data
