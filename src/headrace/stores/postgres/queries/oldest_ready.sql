-- How long the longest ready job of each queue has been ready.
WITH RECURSIVE lines (suspect, line, due_at) AS (
    (SELECT job.suspect, job.line, job.due_at FROM headrace_job AS job WHERE job.state = 1
        ORDER BY job.suspect, job.line, job.seq LIMIT 1)
    UNION ALL
    SELECT next.suspect, next.line, next.due_at FROM lines CROSS JOIN LATERAL (
        SELECT job.suspect, job.line, job.due_at FROM headrace_job AS job
        WHERE job.state = 1 AND (job.suspect, job.line) > (lines.suspect, lines.line)
        ORDER BY job.suspect, job.line, job.seq LIMIT 1
    ) AS next
)
SELECT queue.name, extract(epoch FROM coalesce($1::timestamptz, statement_timestamp()) - min(lines.due_at))::double precision
FROM lines JOIN headrace_line AS line ON line.id = lines.line JOIN headrace_queue AS queue ON queue.id = line.queue
GROUP BY queue.name
