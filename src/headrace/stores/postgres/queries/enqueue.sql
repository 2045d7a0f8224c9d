-- Add jobs, all or none; guard: no id is live or ended, no key is held.
SELECT states, landed::text[], ends, created, clash, holder::text,
    CASE WHEN clash IS NULL AND $19::text IS NOT NULL THEN pg_notify($19::text, $20::text) END
FROM headrace_enqueue_1($1::timestamptz, $2::timestamptz, $3::double precision, $4::uuid[], $5::integer[], $6::double precision[],
    $7::timestamptz[], $8::double precision[], $9::timestamptz[], $10::integer[], $11::double precision[], $12::text[], $13::text[],
    $14::text[], $15::text[], $16::text[], $17::text[], $18::boolean)
