-- Take a revived job out of the history.
DELETE FROM headrace_history AS history WHERE id = ?1
