-- Gather a success.
INSERT OR IGNORE INTO temp.settling (n, id, fence, result) VALUES (?, ?, ?, ?)
