-- Where an enqueue landed, if its job lives.
SELECT state, feed_end FROM headrace_job AS job WHERE id = ?1
