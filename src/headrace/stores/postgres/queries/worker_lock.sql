-- The number of a worker that is known and not gone; what it claims just now is waited for.
SELECT n FROM headrace_worker AS worker WHERE id = $1 AND gone_at IS NULL FOR UPDATE
