-- Forget digests that are old, at most so many.
DELETE FROM headrace_seen AS seen WHERE source = ?1 AND digest IN
    (SELECT digest FROM headrace_seen AS seen WHERE source = ?1 AND at < ?2 ORDER BY at LIMIT ?3)
