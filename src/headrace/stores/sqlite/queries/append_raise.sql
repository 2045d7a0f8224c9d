-- Where a feed ends after an append.
UPDATE headrace_job AS job SET feed_end = ?2, items = ?3 WHERE n = ?1
