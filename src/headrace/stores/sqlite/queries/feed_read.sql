-- Kept updates of a feed after an offset, in order.
SELECT feed_offset, kind, attempt, data, at FROM headrace_feed AS feed WHERE n = ?1 AND feed_offset > ?2 ORDER BY feed_offset LIMIT ?3
