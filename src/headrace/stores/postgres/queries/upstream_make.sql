-- A row to lock; whoever else makes it at the same time made it as well.
INSERT INTO headrace_upstream (name, document) VALUES ($1, '') ON CONFLICT (name) DO NOTHING
