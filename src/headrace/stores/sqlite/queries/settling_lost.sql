-- Drop what did not move: lost, or a repeat.
DELETE FROM temp.settling WHERE NOT EXISTS (
    SELECT 1 FROM headrace_job AS job
    WHERE job.n = settling.n AND job.id = settling.id AND job.fence = settling.fence AND job.state = 2
) RETURNING id
