-- The highest number in use; the next jobs take the numbers after it.
SELECT coalesce(max(n), 0) FROM headrace_call AS call
