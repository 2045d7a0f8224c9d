-- A worker runs nothing that it claimed before this; NULL: nothing at all. Under its lock.
UPDATE headrace_worker AS worker SET runs_from = coalesce($2::bigint, pg_sequence_last_value('headrace_claim') + 1, 0) WHERE n = $1
