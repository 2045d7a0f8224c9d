-- Do a chore until an instant; guard: it is ours, or its lease has ended.
INSERT INTO headrace_chore AS chore (name, doer, term, ends_at) VALUES (?1, ?2, 1, ?3)
ON CONFLICT (name) DO UPDATE SET doer = excluded.doer, ends_at = excluded.ends_at,
    term = chore.term + (chore.doer <> excluded.doer)
WHERE chore.doer = excluded.doer OR chore.ends_at <= ?4 RETURNING term
