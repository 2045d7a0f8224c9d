-- Delete letters of jobs that are gone, among so many that are as old.
WITH old AS MATERIALIZED (
    SELECT job FROM (SELECT job FROM headrace_letter WHERE at <= $1 ORDER BY at LIMIT $2) AS letter
    WHERE NOT EXISTS (SELECT FROM headrace_job AS live WHERE live.id = ANY (ARRAY[letter.job]))
        AND NOT EXISTS (SELECT FROM headrace_history AS h WHERE h.id = letter.job AND h.finished_at > $1)
    LIMIT $3
)
DELETE FROM headrace_letter AS letter USING old WHERE letter.job = ANY (ARRAY[old.job]) RETURNING 1
