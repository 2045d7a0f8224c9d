-- A source took something; guard: that is not told for a second already.
UPDATE headrace_source AS source SET taken_at = ?2 WHERE id = ?1 AND (taken_at IS NULL OR taken_at <= ?2 - 1000000)
