-- Where a bounded scan of failed or cancelled jobs stops; nothing: it saw all.
SELECT id FROM headrace_history AS history WHERE state = ?3 AND state > 3 AND id < ?1 ORDER BY id DESC LIMIT 1 OFFSET ?2
