-- How far outboxes are, as headrace_mark_1 tells it of jobs; in this order, while the oldest is of before.
SELECT coalesce(pg_sequence_last_value('headrace_outbox_place'), 0), pg_current_xact_id()::text::bigint,
    pg_snapshot_xmin(pg_current_snapshot())::text::bigint, extract(epoch FROM pg_postmaster_start_time())::float8
