-- Where a part's bookmark stands.
SELECT next FROM headrace_bookmark AS bookmark WHERE source = ?1 AND part = ?2
