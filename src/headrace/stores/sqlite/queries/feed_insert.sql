-- Add an update to a feed; the caller raises feed_end in the same transaction.
INSERT INTO headrace_feed (n, feed_offset, kind, attempt, at, key, data) VALUES (?, ?, ?, ?, ?, ?, ?)
