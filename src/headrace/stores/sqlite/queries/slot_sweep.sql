-- Forget the slots of a scope whose attempts have ended.
DELETE FROM headrace_slot AS slot WHERE scope = ?1
    AND NOT EXISTS (SELECT 1 FROM headrace_job AS job WHERE job.id = slot.job AND job.fence = slot.fence AND job.state = 2)
