-- One upstream's document, locked until it is put.
SELECT document FROM headrace_upstream AS upstream WHERE name = $1 FOR UPDATE
