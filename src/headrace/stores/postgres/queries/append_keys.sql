-- Where keyed items stand that were emitted before.
SELECT feed.job, feed.key, feed.feed_offset
FROM unnest($1::uuid[], $2::text[]) AS write (id, key) JOIN headrace_feed AS feed ON feed.job = write.id AND feed.key = write.key
