-- The key of a deleted job goes with it, unless another job took it over.
DELETE FROM headrace_job_key AS job_key WHERE job = ?3 AND task = (SELECT task FROM headrace_lane AS lane WHERE id = ?2)
    AND key = (SELECT key FROM headrace_call AS call WHERE n = ?1)
