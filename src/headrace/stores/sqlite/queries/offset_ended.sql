-- Where an ended job's feed ends.
SELECT feed_end FROM headrace_history AS history WHERE id = ?1
