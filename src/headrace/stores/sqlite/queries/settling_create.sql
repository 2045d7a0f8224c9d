-- The successes of one exchange, on the writer's connection alone.
CREATE TEMP TABLE settling (n INTEGER PRIMARY KEY, id BLOB NOT NULL, fence INTEGER NOT NULL, result TEXT NOT NULL)
