-- Where a live job's feed ends.
SELECT feed_end FROM headrace_job AS job WHERE id = ?1
