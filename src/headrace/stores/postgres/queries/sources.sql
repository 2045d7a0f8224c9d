-- Every source that took something or has bookmarks, how long ago, and where they stand.
SELECT source.name, extract(epoch FROM coalesce($1::timestamptz, clock_timestamp()) - source.taken_at)::double precision, bookmark.part,
    bookmark.next, bookmark.last_ms
FROM headrace_source AS source LEFT JOIN headrace_bookmark AS bookmark ON bookmark.source = source.id
WHERE source.taken_at IS NOT NULL OR bookmark.next IS NOT NULL ORDER BY source.name COLLATE "C", bookmark.part COLLATE "C"
