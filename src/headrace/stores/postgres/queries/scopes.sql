-- How many attempts of each scope of limits run, how far its rate is ahead of now, and which live job has its turn, in order.
SELECT (
        SELECT count(*)::integer FROM headrace_slot AS slot
        CROSS JOIN LATERAL (
            SELECT FROM headrace_job AS job
            WHERE job.id = ANY (ARRAY[slot.job]) AND job.fence = slot.fence AND job.state + 0 = 2 LIMIT 1
        ) AS job
        WHERE slot.scope = wanted.scope
    ),
    (SELECT rate_at FROM headrace_limit AS rate WHERE rate.scope = wanted.scope)
        - extract(epoch FROM coalesce($2::timestamptz, clock_timestamp()))::double precision,
    (
        SELECT job.id FROM headrace_limit AS turn
        CROSS JOIN LATERAL (SELECT live.id FROM headrace_job AS live WHERE live.id = ANY (ARRAY[turn.holder]) LIMIT 1) AS job
        WHERE turn.scope = wanted.scope
    )
FROM unnest($1::text[]) WITH ORDINALITY AS wanted (scope, ord) ORDER BY wanted.ord
