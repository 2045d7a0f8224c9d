-- The next document of an upstream; guard: it is locked since it was read.
UPDATE headrace_upstream AS upstream SET document = $2 WHERE name = $1
