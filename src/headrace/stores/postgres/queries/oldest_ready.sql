-- How long the longest ready job of each queue has been ready.
SELECT queue.name, extract(epoch FROM coalesce($1::timestamptz, statement_timestamp()) - min(first.due_at))::double precision
FROM headrace_survey_1(0::smallint, '{}', '{}') AS first
    JOIN headrace_line AS line ON line.id = first.line JOIN headrace_queue AS queue ON queue.id = line.queue
GROUP BY queue.name
