-- Start the jobs just picked: raise the fence; guard: still ready, in the same transaction.
UPDATE headrace_job AS job SET state = 2, fence = fence + 1, attempt = attempt + 1, worker = ?1, started_at = ?2,
    feed_end = feed_end + 1, first_claimed_at = coalesce(first_claimed_at, ?2),
    first_claim_offset = coalesce(first_claim_offset, feed_end + 1)
WHERE n IN (SELECT value FROM json_each(?3)) AND state = 1
