-- Where an enqueue landed, if its job ended.
SELECT state, feed_end FROM headrace_history AS history WHERE id = ?1
