-- The last fence that a settle of an ended job ended.
SELECT settled_fence FROM headrace_history AS history WHERE id = ?1
