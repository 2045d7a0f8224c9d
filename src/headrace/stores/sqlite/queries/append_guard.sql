-- What an append needs to know; guard: (id, fence, running).
SELECT n, attempt, feed_end, items FROM headrace_job AS job WHERE id = ?1 AND fence = ?2 AND state = 2
