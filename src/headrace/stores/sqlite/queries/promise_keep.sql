-- Be free of a promise; guard: nobody kept it.
DELETE FROM headrace_promise AS promise WHERE job = ?1 AND name = ?2
