-- Where a bounded scan stops; nothing: it saw all.
SELECT id FROM headrace_history AS history WHERE id < ?1 ORDER BY id DESC LIMIT 1 OFFSET ?2
