-- phase: expand
-- Where messages come in and events go out. Columns of jobs as in headrace_job.

-- Sources by number; never deleted.
CREATE TABLE headrace_source (
    id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text NOT NULL UNIQUE,
    taken_at timestamptz                -- when it last took something, to a second
) WITH (fillfactor = 20, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 500, autovacuum_vacuum_cost_delay = 0);

-- How far a source has read each part of its stream.
CREATE TABLE headrace_bookmark (
    source integer NOT NULL,            -- source.id
    part text NOT NULL,
    next bigint NOT NULL,               -- the first place that it has not read
    last_ms bigint,                     -- of the message before it, by its broker's clock
    PRIMARY KEY (source, part)
) WITH (fillfactor = 20, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 500, autovacuum_vacuum_cost_delay = 0);

-- Messages that became jobs, and (source 0) events that were published once; for a while.
CREATE TABLE headrace_seen (
    source integer NOT NULL,            -- source.id
    digest uuid NOT NULL,               -- of the message's id; that of the event
    at timestamptz NOT NULL,
    PRIMARY KEY (source, digest)
) WITH (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_insert_scale_factor = 0.1, autovacuum_vacuum_cost_delay = 0);
CREATE INDEX headrace_seen_at ON headrace_seen (source, at);    -- all of an intake have one instant, so it stays small

-- Messages that do not fit their task, as they came, with the jobs that they became.
CREATE TABLE headrace_letter (
    job uuid PRIMARY KEY,               -- job.id
    source integer NOT NULL,            -- source.id
    at timestamptz NOT NULL,
    why text NOT NULL,
    content_type text,
    headers text NOT NULL,              -- JSON
    place text NOT NULL,                -- at the broker
    size bigint NOT NULL,               -- of the body, there
    body bytea NOT NULL                 -- at least its beginning
);
ALTER TABLE headrace_letter ALTER COLUMN body SET STORAGE EXTERNAL;
CREATE INDEX headrace_letter_at ON headrace_letter (at);    -- for what a drop of the history's day leaves behind

-- Sinks by number; never deleted.
CREATE TABLE headrace_sink (
    id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text NOT NULL UNIQUE
);

-- Places in the outbox. Not cached by sessions: a later event must not take an earlier place.
CREATE SEQUENCE headrace_outbox_place;

-- Events that wait for their sink to confirm them.
CREATE TABLE headrace_outbox (
    sink integer NOT NULL,              -- sink.id
    n bigint NOT NULL,                  -- the place: from the sequence, so none is given twice
    id uuid NOT NULL,
    at timestamptz NOT NULL,
    failures integer NOT NULL DEFAULT 0,    -- times that the sink refused it
    parked boolean NOT NULL DEFAULT false,  -- until a person lets it go again, or drops it
    failure text,                       -- why it was refused the last time
    key text,                           -- events of one key go out in order
    target text NOT NULL,
    head text NOT NULL,                 -- JSON
    body bytea NOT NULL,
    PRIMARY KEY (sink, parked, n)       -- so that those that wait are not looked for among parked ones
) WITH (autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 2000, autovacuum_vacuum_cost_delay = 0);

-- Outcomes of jobs that are to be told when they have ended.
CREATE TABLE headrace_promise (
    job uuid NOT NULL,                  -- job.id
    name text COLLATE "C" NOT NULL,     -- of the outcome
    at timestamptz NOT NULL,
    PRIMARY KEY (job, name)
) WITH (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0);
CREATE INDEX headrace_promise_at ON headrace_promise (at);  -- as for letters

-- What one process at a time does for all, and which.
CREATE TABLE headrace_chore (
    name text PRIMARY KEY,
    doer text NOT NULL,
    term bigint NOT NULL,               -- raised when the doer changes
    ends_at timestamptz NOT NULL
) WITH (fillfactor = 20, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 500, autovacuum_vacuum_cost_delay = 0);

-- The number of a source, which is made if it is new.
CREATE FUNCTION headrace_source_1(p_name text)
RETURNS integer
LANGUAGE plpgsql
SET lock_timeout = '5s'
AS $$
DECLARE
    v_source integer;
BEGIN
    SELECT s.id INTO v_source FROM headrace_source AS s WHERE s.name = p_name;
    IF v_source IS NULL THEN
        INSERT INTO headrace_source (name) VALUES (p_name) ON CONFLICT (name) DO NOTHING;
        SELECT s.id INTO v_source FROM headrace_source AS s WHERE s.name = p_name;
    END IF;
    RETURN v_source;
END
$$;

-- Make jobs of messages and move bookmarks, all or nothing: see headrace_enqueue_1 for what becomes of an id. Answers in
-- one row: `added`, NULL where all were; or `moved`, the parts whose bookmarks do not stand where they were thought to, and
-- where these stand, and nothing was written.
CREATE FUNCTION headrace_receive_1(
    p_now timestamptz, p_since timestamptz, p_fresh boolean, p_source text,
    p_parts text[], p_known bigint[], p_next bigint[], p_last_ms bigint[],     -- in the order of parts
    p_ids uuid[], p_digests uuid[], p_lines integer[],
    p_delays double precision[], p_run_at timestamptz[], p_deadline_s double precision[], p_deadline_at timestamptz[],
    p_max_attempts integer[], p_timeouts double precision[], p_signatures text[],  -- of each, or one of all
    p_traceparents text[], p_tags text[], p_args text[],
    p_promised integer[], p_promises text[],        -- which of the jobs, and the outcome
    p_lettered integer[], p_whys text[], p_content_types text[], p_headers text[], p_places text[], p_sizes bigint[], p_bodies bytea[]
)
RETURNS TABLE (added boolean[], moved text[], moved_to bigint[])
LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET enable_material = off SET jit = off SET lock_timeout = '5s'
AS $$
#variable_conflict use_column
DECLARE
    v_now timestamptz := coalesce(p_now, clock_timestamp());
    v_since timestamptz := coalesce(least(p_since, v_now) - interval '1 day', '-infinity');
    v_until timestamptz := v_now + interval '1 day';
    v_pruned timestamptz;
    v_source integer := headrace_source_1(p_source);
    v_new uuid[];
    v_keep boolean[];                   -- NULL: all
    v_added uuid[];
    v_ended uuid[];
BEGIN
    IF p_parts IS NOT NULL THEN
        LOOP
            BEGIN
                FOR v_at IN 1 .. cardinality(p_parts) LOOP
                    IF p_known[v_at] IS NULL THEN
                        INSERT INTO headrace_bookmark (source, part, next, last_ms)
                        VALUES (v_source, p_parts[v_at], p_next[v_at], p_last_ms[v_at])
                        ON CONFLICT (source, part) DO NOTHING;
                    ELSE
                        UPDATE headrace_bookmark AS b SET next = p_next[v_at], last_ms = p_last_ms[v_at]
                        WHERE b.source = v_source AND b.part = p_parts[v_at] AND b.next = p_known[v_at];
                    END IF;
                    IF NOT FOUND THEN
                        RAISE SQLSTATE 'HR003';
                    END IF;
                END LOOP;
                EXIT;
            EXCEPTION WHEN SQLSTATE 'HR003' THEN
                SELECT array_agg(m.part), array_agg(b.next) INTO moved, moved_to
                FROM unnest(p_parts, p_known) AS m (part, known)
                    LEFT JOIN headrace_bookmark AS b ON b.source = v_source AND b.part = m.part
                WHERE b.next IS DISTINCT FROM m.known;
                IF moved IS NOT NULL THEN  -- else it was put back meanwhile
                    RETURN NEXT;
                    RETURN;
                END IF;
            END;
        END LOOP;
    END IF;

    IF p_digests IS NOT NULL THEN  -- sorted, so that two intakes do not wait for each other
        WITH seen AS (
            INSERT INTO headrace_seen (source, digest, at)
            SELECT v_source, m.digest, v_now FROM unnest(p_digests) AS m (digest) WHERE m.digest IS NOT NULL ORDER BY m.digest
            ON CONFLICT (source, digest) DO NOTHING
            RETURNING digest
        )
        SELECT array_agg(seen.digest) INTO v_new FROM seen;
        IF coalesce(cardinality(v_new), 0) < cardinality(array_remove(p_digests, NULL)) THEN
            v_keep := ARRAY(
                SELECT m.digest IS NULL OR (coalesce(m.digest = ANY (v_new), false) AND m.again = 1)
                FROM (
                    SELECT n.ord, n.digest, row_number() OVER (PARTITION BY n.digest ORDER BY n.ord) AS again
                    FROM unnest(p_digests) WITH ORDINALITY AS n (digest, ord)
                ) AS m
                ORDER BY m.ord
            );
        END IF;
    END IF;

    PERFORM pg_current_xact_id();  -- before places are drawn, see headrace_mark_1
    WITH made AS (
        INSERT INTO headrace_job (id, seq, line, state, created_at, due_at, first_due_at, deadline_at, timeout_s,
            max_attempts, tags, signature, traceparent, args)
        SELECT n.id, nextval('headrace_place'), n.line, CASE WHEN n.due_at > v_now THEN 0 ELSE 1 END, v_now,
            greatest(n.due_at, v_now), CASE WHEN n.due_at > v_now THEN n.due_at END,
            least(n.deadline_at, v_now + n.deadline_s * interval '1 second'), coalesce(n.timeout_s, p_timeouts[1]),
            coalesce(n.max_attempts, p_max_attempts[1]),
            CASE WHEN n.tags IS NOT NULL THEN ARRAY(SELECT jsonb_array_elements_text(n.tags::jsonb)) END,
            coalesce(n.signature, p_signatures[1]), n.traceparent, n.args
        FROM (
            SELECT m.*, coalesce(m.run_at, v_now + nullif(m.delay_s, 0) * interval '1 second') AS due_at
            FROM unnest(p_ids, v_keep, p_lines, p_delays, p_run_at, p_deadline_s, p_deadline_at, p_max_attempts,
                p_timeouts, p_signatures, p_traceparents, p_tags, p_args)
                AS m (id, keep, line, delay_s, run_at, deadline_s, deadline_at, max_attempts, timeout_s, signature,
                    traceparent, tags, args)
            WHERE m.keep IS NOT FALSE AND m.id IS NOT NULL
        ) AS n
        ON CONFLICT (id) DO NOTHING
        RETURNING id
    )
    SELECT coalesce(array_agg(made.id), '{}') INTO v_added FROM made;

    IF NOT p_fresh THEN  -- only now, see headrace_enqueue_1
        v_pruned := headrace_pruned_to();
        SELECT array_agg(n.id) INTO v_ended FROM unnest(v_added) AS n (id)
        WHERE (SELECT true FROM headrace_history AS h
            WHERE h.id = n.id AND h.finished_at >= v_since AND h.finished_at < v_until AND h.finished_at > v_pruned LIMIT 1);
        IF v_ended IS NOT NULL THEN
            DELETE FROM headrace_job AS job WHERE job.id = ANY (v_ended);
            v_added := ARRAY(SELECT a FROM unnest(v_added) AS a WHERE a <> ALL (v_ended));
        END IF;
    END IF;

    IF cardinality(v_added) < cardinality(p_ids) THEN
        added := ARRAY(
            SELECT m.keep AND m.again = 1 AND m.id = ANY (v_added)
            FROM (
                SELECT n.ord, n.id, n.keep IS NOT FALSE AS keep,
                    row_number() OVER (PARTITION BY n.id, n.keep IS NOT FALSE ORDER BY n.ord) AS again
                FROM unnest(p_ids, v_keep) WITH ORDINALITY AS n (id, keep, ord)
            ) AS m
            ORDER BY m.ord
        );
    END IF;
    IF p_promises IS NOT NULL THEN
        INSERT INTO headrace_promise (job, name, at)
        SELECT p_ids[m.ord], m.name, v_now FROM unnest(p_promised, p_promises) AS m (ord, name) WHERE added IS NULL OR added[m.ord]
        ON CONFLICT (job, name) DO NOTHING;
    END IF;
    IF p_lettered IS NOT NULL THEN
        INSERT INTO headrace_letter (job, source, at, why, content_type, headers, place, size, body)
        SELECT p_ids[m.ord], v_source, v_now, m.why, m.content_type, m.headers, m.place, m.size, m.body
        FROM unnest(p_lettered, p_whys, p_content_types, p_headers, p_places, p_sizes, p_bodies)
            AS m (ord, why, content_type, headers, place, size, body)
        WHERE added IS NULL OR added[m.ord]
        ON CONFLICT (job) DO NOTHING;
    END IF;
    UPDATE headrace_source AS s SET taken_at = v_now WHERE s.id = (
        SELECT o.id FROM headrace_source AS o
        WHERE o.id = v_source AND (o.taken_at IS NULL OR o.taken_at <= v_now - interval '1 second') FOR UPDATE SKIP LOCKED
    );
    RETURN NEXT;
END
$$;

-- Put events into the outboxes of their sinks, all or none; guard: that the attempt runs, if one is given: else NULL. Told is
-- which were: with `once`, an id that was published so a while ago is not published again.
CREATE FUNCTION headrace_publish_1(
    p_now timestamptz, p_job uuid, p_fence integer, p_once_s double precision,     -- NULL: however often
    p_ids uuid[], p_sinks text[], p_keys text[], p_targets text[], p_heads text[], p_bodies bytea[]
)
RETURNS boolean[]
LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET enable_material = off SET jit = off SET lock_timeout = '5s'
AS $$
#variable_conflict use_column
DECLARE
    v_now timestamptz := coalesce(p_now, clock_timestamp());
    v_new uuid[];
    v_keep boolean[] := array_fill(true, ARRAY[cardinality(p_ids)]);
BEGIN
    IF p_job IS NOT NULL THEN
        PERFORM FROM headrace_job AS job
        WHERE job.id = ANY (ARRAY[p_job]) AND job.fence = p_fence AND job.state + 0 = 2 FOR KEY SHARE;
        IF NOT FOUND THEN
            RETURN NULL;
        END IF;
    END IF;
    IF p_once_s IS NOT NULL THEN
        WITH seen AS (
            INSERT INTO headrace_seen AS old (source, digest, at)
            SELECT DISTINCT 0, m.id, v_now FROM unnest(p_ids) AS m (id) ORDER BY m.id
            ON CONFLICT (source, digest) DO UPDATE SET at = excluded.at WHERE old.at <= excluded.at - p_once_s * interval '1 second'
            RETURNING digest
        )
        SELECT array_agg(seen.digest) INTO v_new FROM seen;
        v_keep := ARRAY(
            SELECT coalesce(m.id = ANY (v_new), false) AND m.again = 1
            FROM (
                SELECT n.ord, n.id, row_number() OVER (PARTITION BY n.id ORDER BY n.ord) AS again
                FROM unnest(p_ids) WITH ORDINALITY AS n (id, ord)
            ) AS m
            ORDER BY m.ord
        );
    END IF;
    INSERT INTO headrace_sink (name)
    SELECT DISTINCT m.name FROM unnest(p_sinks, v_keep) AS m (name, keep)
    WHERE m.keep AND NOT EXISTS (SELECT FROM headrace_sink AS s WHERE s.name = m.name) ORDER BY m.name
    ON CONFLICT (name) DO NOTHING;
    PERFORM pg_current_xact_id();  -- before places are drawn, as for jobs
    INSERT INTO headrace_outbox (sink, n, id, at, key, target, head, body)
    SELECT (SELECT s.id FROM headrace_sink AS s WHERE s.name = m.sink), nextval('headrace_outbox_place'), m.id, v_now, m.key,
        m.target, m.head, m.body
    FROM unnest(p_ids, v_keep, p_sinks, p_keys, p_targets, p_heads, p_bodies) AS m (id, keep, sink, key, target, head, body)
    WHERE m.keep;
    RETURN v_keep;
END
$$;

-- Events that wait for a sink (or are parked) beyond a place, in order: so many, of so many bytes but at least one, and none
-- of some keys. `more`: there are others beyond.
CREATE FUNCTION headrace_outbox_1(
    p_sink text, p_parked boolean, p_after bigint, p_limit integer, p_bytes_max bigint, p_without text[]
)
RETURNS TABLE (
    n bigint, id uuid, key text, target text, head text, body bytea, failures integer, failure text, at timestamptz, more boolean
)
LANGUAGE plpgsql STABLE
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off SET enable_bitmapscan = off SET enable_sort = off SET enable_material = off SET jit = off
AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    SELECT o.n, o.id, o.key, o.target, o.head, o.body, o.failures, o.failure, o.at, o.left_ > 0 FROM (
        SELECT f.*, sum(octet_length(f.body)) OVER w AS bytes, row_number() OVER w AS row,
            count(*) OVER () - row_number() OVER w AS left_
        FROM (
            SELECT e.n, e.id, e.key, e.target, e.head, e.body, e.failures, e.failure, e.at FROM headrace_outbox AS e
            WHERE e.sink = (SELECT s.id FROM headrace_sink AS s WHERE s.name = p_sink) AND e.parked = p_parked AND e.n > p_after
                AND (e.key IS NULL OR e.key <> ALL (p_without))
            ORDER BY e.n LIMIT p_limit + 1
        ) AS f
        WINDOW w AS (ORDER BY f.n)
    ) AS o
    WHERE o.row <= p_limit AND (o.bytes <= p_bytes_max OR o.row = 1);
END
$$;

-- Forget what a source has seen from one instant to another, the oldest first, at most so many. Told is when each was seen.
CREATE FUNCTION headrace_forget_1(p_source integer, p_from timestamptz, p_before timestamptz, p_limit integer)
RETURNS SETOF timestamptz
LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off SET enable_bitmapscan = off SET enable_sort = off SET enable_material = off SET jit = off SET lock_timeout = '5s'
AS $$
BEGIN
    RETURN QUERY
    DELETE FROM headrace_seen AS seen WHERE seen.ctid = ANY (ARRAY(
        SELECT s.ctid FROM headrace_seen AS s WHERE s.source = p_source AND s.at >= p_from AND s.at < p_before ORDER BY s.at LIMIT p_limit
    ))
    RETURNING seen.at;
END
$$;

-- Promises beyond one, in order, so many of them; and whether their jobs have ended.
CREATE FUNCTION headrace_promised_1(p_job uuid, p_name text, p_limit integer)
RETURNS TABLE (job uuid, name text, ended boolean)
LANGUAGE plpgsql STABLE
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off SET enable_bitmapscan = off SET enable_sort = off SET enable_hashjoin = off SET enable_mergejoin = off
SET enable_material = off SET jit = off
AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    SELECT o.job, o.name, NOT EXISTS (SELECT FROM headrace_job AS live WHERE live.id = ANY (ARRAY[o.job])) FROM (
        SELECT p.job, p.name::text AS name FROM headrace_promise AS p
        WHERE (p.job, p.name) > (p_job, p_name) ORDER BY p.job, p.name LIMIT p_limit
    ) AS o;
END
$$;

-- Where the events at these places are, whichever of them are there, parked or not as is asked for.
CREATE FUNCTION headrace_places_1(p_sink text, p_places bigint[], p_parked boolean[])
RETURNS SETOF tid
LANGUAGE plpgsql STABLE
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off SET enable_bitmapscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET enable_material = off
SET jit = off
AS $$
DECLARE
    v_sink integer := (SELECT s.id FROM headrace_sink AS s WHERE s.name = p_sink);
BEGIN
    RETURN QUERY
    SELECT found.at FROM unnest(p_places) AS one (n) CROSS JOIN unnest(p_parked) AS is_ (parked)
    CROSS JOIN LATERAL (
        SELECT e.ctid AS at FROM headrace_outbox AS e WHERE e.sink = v_sink AND e.parked = is_.parked AND e.n = one.n LIMIT 1
    ) AS found;
END
$$;

-- Note that events were refused, and park some.
CREATE FUNCTION headrace_refuse_1(p_sink text, p_places bigint[], p_whys text[], p_parks boolean[])
RETURNS void
LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off SET enable_bitmapscan = off SET jit = off SET lock_timeout = '5s'
AS $$
DECLARE
    v_sink integer := (SELECT s.id FROM headrace_sink AS s WHERE s.name = p_sink);
BEGIN
    FOR v_at IN 1 .. cardinality(p_places) LOOP
        UPDATE headrace_outbox AS e SET failures = e.failures + 1, failure = p_whys[v_at], parked = p_parks[v_at]
        WHERE e.sink = v_sink AND e.parked = false AND e.n = p_places[v_at];
        CONTINUE WHEN FOUND;
        UPDATE headrace_outbox AS e SET failures = e.failures + 1, failure = p_whys[v_at]
        WHERE e.sink = v_sink AND e.parked = true AND e.n = p_places[v_at];
    END LOOP;
END
$$;
