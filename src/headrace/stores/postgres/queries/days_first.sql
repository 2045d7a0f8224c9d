-- The first days of the history.
DO $$
DECLARE
    v_day date := (now() AT TIME ZONE 'UTC')::date;
BEGIN
    FOR i IN 0..3 LOOP
        EXECUTE format('CREATE TABLE %I PARTITION OF headrace_history FOR VALUES FROM (%L) TO (%L)',
            'headrace_history_' || to_char(v_day + i, 'YYYYMMDD'),
            (v_day + i)::timestamp AT TIME ZONE 'UTC', (v_day + i + 1)::timestamp AT TIME ZONE 'UTC');
    END LOOP;
END
$$
