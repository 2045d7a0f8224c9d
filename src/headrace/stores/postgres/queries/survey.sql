-- The non-empty lines and where their first ready jobs stand, one seek of the index each, whatever waits in them.
WITH RECURSIVE lines (suspect, line, seq) AS (
    (SELECT job.suspect, job.line, job.seq FROM headrace_job AS job WHERE job.state = 1
        ORDER BY job.suspect, job.line, job.seq LIMIT 1)
    UNION ALL
    SELECT next.suspect, next.line, next.seq FROM lines CROSS JOIN LATERAL (
        SELECT job.suspect, job.line, job.seq FROM headrace_job AS job
        WHERE job.state = 1 AND (job.suspect, job.line) > (lines.suspect, lines.line)
        ORDER BY job.suspect, job.line, job.seq LIMIT 1
    ) AS next
)
SELECT suspect, line, seq FROM lines
