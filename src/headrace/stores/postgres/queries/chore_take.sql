-- Take a chore, or keep it; guard: it is this doer's, or its lease has ended.
INSERT INTO headrace_chore AS chore (name, doer, term, ends_at)
VALUES ($2, $3, 1, coalesce($1::timestamptz, clock_timestamp()) + $4 * interval '1 second')
ON CONFLICT (name) DO UPDATE SET doer = excluded.doer, ends_at = coalesce($1::timestamptz, clock_timestamp()) + $4 * interval '1 second',
    term = chore.term + CASE WHEN chore.doer = excluded.doer THEN 0 ELSE 1 END
WHERE chore.doer = excluded.doer OR chore.ends_at <= coalesce($1::timestamptz, clock_timestamp())
RETURNING term
