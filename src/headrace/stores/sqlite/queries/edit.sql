-- Give a failed job other arguments.
UPDATE headrace_call AS call SET args = ?2 WHERE n = (SELECT n FROM headrace_history AS history WHERE id = ?1 AND state = 4)
