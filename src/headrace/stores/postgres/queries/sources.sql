-- Sources and their bookmarks, and how long ago each took something.
SELECT source.name, bookmark.part, bookmark.next, bookmark.last_ms,
    extract(epoch FROM coalesce($1::timestamptz, clock_timestamp()) - greatest(source.taken_at, seen.at,
        max(bookmark.taken_at) OVER (PARTITION BY source.id)))::double precision
FROM headrace_source AS source
LEFT JOIN headrace_bookmark AS bookmark ON bookmark.source = source.id
LEFT JOIN LATERAL (SELECT at FROM headrace_seen WHERE headrace_seen.source = source.id ORDER BY at DESC LIMIT 1) AS seen ON true
ORDER BY source.name COLLATE "C"
