-- How many jobs of a lane and priority are ready, how many of them since ?3, and since when the first is; at most ?4.
SELECT count(*), coalesce(sum(seq <= ?3), 0), min(seq) FROM (
    SELECT seq FROM headrace_job AS job WHERE state = 1 AND suspect = 0 AND lane = ?1 AND priority = ?2 ORDER BY seq LIMIT ?4
)
