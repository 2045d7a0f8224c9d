-- Every source that took something or has bookmarks, and where they stand.
SELECT source.name, source.taken_at, bookmark.part, bookmark.next, bookmark.last_ms
FROM headrace_source AS source LEFT JOIN headrace_bookmark AS bookmark ON bookmark.source = source.id
WHERE source.taken_at IS NOT NULL OR bookmark.next IS NOT NULL ORDER BY source.name, bookmark.part
