-- The non-empty lanes of suspects of one kind, one seek of the index each, whatever waits in them.
WITH RECURSIVE lanes (lane) AS (
    SELECT min(lane) FROM headrace_job AS job WHERE state = 1 AND suspect > 0 AND suspect = ?1
    UNION ALL
    SELECT (
        SELECT min(lane) FROM headrace_job AS job WHERE state = 1 AND suspect > 0 AND suspect = ?1 AND lane > lanes.lane
    )
    FROM lanes WHERE lanes.lane IS NOT NULL
)
SELECT lane FROM lanes WHERE lane IS NOT NULL
