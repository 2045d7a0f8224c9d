-- The number of a worker that is known and not gone, and from which claim on it runs; what it claims just now is waited for.
SELECT n, runs_from FROM headrace_worker AS worker WHERE id = $1 AND gone_at IS NULL FOR UPDATE
