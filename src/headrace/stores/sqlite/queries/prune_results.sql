-- Drop a result that is past its retention.
UPDATE headrace_history AS history SET result = NULL WHERE seq = ?1
