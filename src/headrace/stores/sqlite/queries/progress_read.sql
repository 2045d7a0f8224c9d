-- The progress of the running attempt.
SELECT feed_offset, attempt, data, at FROM headrace_progress AS progress WHERE n = ?1 AND fence = ?2
