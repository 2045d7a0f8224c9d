-- Forget a part's bookmark.
DELETE FROM headrace_bookmark AS bookmark WHERE source = ?1 AND part = ?2
