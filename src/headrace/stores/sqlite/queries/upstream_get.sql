-- One upstream's document; guard: the write lock is held until it is put.
SELECT document FROM headrace_upstream AS upstream WHERE name = ?1
