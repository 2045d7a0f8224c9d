-- The number of a lane.
SELECT id FROM headrace_lane AS lane WHERE queue = ?1 AND task = ?2 AND key = ?3
