-- How many attempts of a scope run, and where its rate stands.
SELECT (
        SELECT count(*) FROM headrace_slot AS slot CROSS JOIN headrace_job AS job
        WHERE slot.scope = ?1 AND job.id = slot.job AND job.fence = slot.fence AND job.state = 2
    ),
    (SELECT rate_at FROM headrace_limit AS rate WHERE scope = ?1)
