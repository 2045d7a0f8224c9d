-- Give a key to a job; the caller has seen that it is free.
INSERT INTO headrace_job_key (task, key, job, digest) VALUES (?1, ?2, ?3, ?4)
ON CONFLICT (task, key) DO UPDATE SET job = excluded.job, digest = excluded.digest
