-- A worker ended, in order or not; its past attempts still name it.
WITH lease AS (DELETE FROM headrace_lease WHERE worker = $1)
UPDATE headrace_worker AS worker SET gone_at = coalesce($2::timestamptz, clock_timestamp()) WHERE n = $1
