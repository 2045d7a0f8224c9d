-- Where keyed items stand that were emitted before; each is looked up by itself, whatever the planner believes.
SELECT write.id, write.key, emitted.feed_offset
FROM unnest($1::uuid[], $2::text[]) AS write (id, key) CROSS JOIN LATERAL (
    SELECT feed.feed_offset FROM headrace_feed AS feed WHERE feed.job = write.id AND feed.key = write.key LIMIT 1
) AS emitted
