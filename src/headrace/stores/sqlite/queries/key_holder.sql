-- Who holds a key: the job, its digest, whether it lives, and when it ended.
SELECT job_key.job, job_key.digest,
    EXISTS (SELECT 1 FROM headrace_job AS job WHERE id = job_key.job),
    (SELECT finished_at FROM headrace_history AS history WHERE id = job_key.job)
FROM headrace_job_key AS job_key WHERE task = ?1 AND key = ?2
