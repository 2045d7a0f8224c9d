-- A worker ended, in order or not; its past attempts still name it.
UPDATE headrace_worker AS worker SET gone_at = ?2 WHERE n = ?1
