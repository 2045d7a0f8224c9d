-- How many ended jobs the retention passed by since, at most so many.
SELECT count(*) FROM (
    SELECT FROM headrace_history AS history WHERE finished_at <= $1 AND finished_at > headrace_pruned_to() LIMIT $2
) AS seen
