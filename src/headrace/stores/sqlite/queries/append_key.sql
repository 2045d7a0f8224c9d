-- Where a keyed item stands that was emitted before.
SELECT feed_offset FROM headrace_feed AS feed WHERE n = ?1 AND key = ?2
