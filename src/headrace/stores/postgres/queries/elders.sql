-- The workers that live, and their versions.
SELECT worker.id, host, pid, version FROM headrace_worker AS worker JOIN headrace_lease AS lease ON lease.worker = worker.n
WHERE gone_at IS NULL AND lease.ends_at > clock_timestamp() ORDER BY worker.id
