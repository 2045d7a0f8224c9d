-- The workers that are known and not gone.
SELECT id FROM headrace_worker AS worker WHERE gone_at IS NULL
