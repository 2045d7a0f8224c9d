-- phase: expand
-- The hot verbs, one round trip each. A function that changes gets a new name, so that older workers go on with theirs.
-- Planner settings stand with each function: its plans must not depend on statistics of tables that fill and drain, nor
-- on what these were when a plan was made that is kept. `= ANY (ARRAY[x.id])` can only be looked up by the index of ids,
-- row by row, and `state + 0` is in no partial index: a table that was thought empty is never read through instead. So
-- does the time for which a lock is waited for, with those that also run in transactions of the user's.

-- The number of a line, which is made if it is new.
CREATE FUNCTION headrace_line_1(p_queue text, p_task text, p_key text, p_priority integer)
RETURNS TABLE (line integer, queue integer)
LANGUAGE plpgsql
SET lock_timeout = '5s'
AS $$
#variable_conflict use_column
DECLARE
    v_queue integer;
    v_line integer;
BEGIN
    SELECT q.id INTO v_queue FROM headrace_queue AS q WHERE q.name = p_queue;
    IF v_queue IS NULL THEN
        INSERT INTO headrace_queue (name) VALUES (p_queue) ON CONFLICT (name) DO NOTHING;
        SELECT q.id INTO v_queue FROM headrace_queue AS q WHERE q.name = p_queue;
    END IF;
    SELECT l.id INTO v_line FROM headrace_line AS l
    WHERE l.queue = v_queue AND l.task = p_task AND l.key = p_key AND l.priority = p_priority;
    IF v_line IS NULL THEN
        INSERT INTO headrace_line (queue, task, key, priority) VALUES (v_queue, p_task, p_key, p_priority)
        ON CONFLICT (queue, task, key, priority) DO NOTHING;
        SELECT l.id INTO v_line FROM headrace_line AS l
        WHERE l.queue = v_queue AND l.task = p_task AND l.key = p_key AND l.priority = p_priority;
    END IF;
    RETURN QUERY SELECT v_line, v_queue;
END
$$;

-- The instant up to which ended jobs count as deleted, whether or not their rows are.
CREATE FUNCTION headrace_pruned_to()
RETURNS timestamptz
LANGUAGE sql STABLE AS $$
    SELECT coalesce((SELECT value::timestamptz FROM headrace_meta WHERE key = 'pruned_to'), '-infinity')
$$;

-- Add jobs, all or none, each id once, live or ended, and each (task, key) once while its job holds it.
-- Answers in one row: the states of all where all were added as they are; else where each landed. A key
-- that is held by a job with another digest is told as `clash`, and nothing was written.
CREATE FUNCTION headrace_enqueue_1(
    p_now timestamptz,                  -- NULL: the database's clock
    p_since timestamptz,                -- no id is older; NULL: who knows
    p_key_retention_s double precision,
    p_ids uuid[], p_lines integer[], p_delays double precision[], p_run_at timestamptz[],
    p_deadline_s double precision[], p_deadline_at timestamptz[], p_max_attempts integer[],
    p_timeouts double precision[], p_signatures text[], p_traceparents text[], p_tags text[], p_args text[],
    p_keys text[], p_digests text[],    -- both NULL: no job has a key
    p_fresh boolean                     -- no id was ever seen before: none can have ended
)
RETURNS TABLE (states smallint[], landed uuid[], ends integer[], created boolean[], clash integer, holder uuid)
LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET enable_material = off SET jit = off SET lock_timeout = '5s'
AS $$
#variable_conflict use_column
DECLARE
    v_now timestamptz := coalesce(p_now, clock_timestamp());
    v_since timestamptz := coalesce(least(p_since, v_now) - interval '1 day', '-infinity');
    v_landings uuid[] := p_ids;
    v_taken uuid[] := '{}';
    v_added uuid[];
    v_states smallint[];
    v_ended uuid[];
    v_until timestamptz := v_now + interval '1 day';  -- days ahead are not looked through
    v_pruned timestamptz;
    r record;
    v_holder record;
BEGIN
    IF p_keys IS NOT NULL OR NOT p_fresh THEN
        v_pruned := headrace_pruned_to();
    END IF;
    IF p_keys IS NOT NULL THEN
        BEGIN
            FOR r IN
                SELECT n.ord::integer AS ord, n.id, line.task, n.key, n.digest
                FROM unnest(p_ids, p_lines, p_keys, p_digests) WITH ORDINALITY AS n (id, line, key, digest, ord)
                LEFT JOIN headrace_line AS line ON line.id = n.line
                WHERE n.key IS NOT NULL ORDER BY line.task, n.key, n.ord
            LOOP
                IF r.task IS NULL THEN
                    RAISE SQLSTATE '40001' USING MESSAGE = 'could not serialize access: a line is newer than the snapshot';
                END IF;
                CONTINUE WHEN EXISTS (SELECT FROM headrace_job AS job WHERE job.id = r.id)
                    OR EXISTS (SELECT FROM headrace_history AS h WHERE h.id = r.id AND h.finished_at > v_pruned);
                LOOP
                    INSERT INTO headrace_job_key (task, key, job, digest) VALUES (r.task, r.key, r.id, r.digest)
                    ON CONFLICT (task, key) DO NOTHING;
                    IF FOUND THEN
                        v_taken := v_taken || r.id;
                        EXIT;
                    END IF;
                    PERFORM FROM headrace_job_key AS k WHERE k.task = r.task AND k.key = r.key FOR UPDATE;
                    SELECT k.job, k.digest, k.job = ANY (v_taken) OR EXISTS (SELECT FROM headrace_job AS job WHERE job.id = k.job) AS lives,
                        (SELECT h.finished_at FROM headrace_history AS h WHERE h.id = k.job AND h.finished_at > v_pruned) AS finished_at
                    INTO v_holder FROM headrace_job_key AS k WHERE k.task = r.task AND k.key = r.key;
                    CONTINUE WHEN NOT FOUND;  -- deleted meanwhile
                    IF v_holder.job <> r.id
                        AND (v_holder.lives OR v_holder.finished_at + p_key_retention_s * interval '1 second' > v_now)
                    THEN
                        IF v_holder.digest <> r.digest AND (clash IS NULL OR r.ord < clash) THEN
                            clash := r.ord;
                            holder := v_holder.job;
                        END IF;
                        v_landings[r.ord] := v_holder.job;
                    ELSE
                        UPDATE headrace_job_key AS k SET job = r.id, digest = r.digest WHERE k.task = r.task AND k.key = r.key;
                        v_taken := v_taken || r.id;
                    END IF;
                    EXIT;
                END LOOP;
            END LOOP;
            IF clash IS NOT NULL THEN
                RAISE SQLSTATE 'HR001';
            END IF;
        EXCEPTION WHEN SQLSTATE 'HR001' THEN
            RETURN NEXT;
            RETURN;
        END;
    END IF;

    PERFORM pg_current_xact_id();  -- before places are drawn, see headrace_mark_1
    WITH added AS (
        INSERT INTO headrace_job (id, seq, line, state, created_at, due_at, first_due_at, deadline_at, timeout_s,
            max_attempts, key, tags, signature, traceparent, args)
        SELECT n.id, nextval('headrace_place'), n.line, CASE WHEN n.due_at > v_now THEN 0 ELSE 1 END, v_now,
            greatest(n.due_at, v_now), CASE WHEN n.due_at > v_now THEN n.due_at END,
            least(n.deadline_at, v_now + n.deadline_s * interval '1 second'), n.timeout_s, n.max_attempts, n.key,
            CASE WHEN n.tags IS NOT NULL THEN ARRAY(SELECT jsonb_array_elements_text(n.tags::jsonb)) END,
            n.signature, n.traceparent, n.args
        FROM (
            SELECT m.*, coalesce(m.run_at, v_now + nullif(m.delay_s, 0) * interval '1 second') AS due_at
            FROM unnest(p_ids, v_landings, p_lines, p_delays, p_run_at, p_deadline_s, p_deadline_at, p_max_attempts,
                p_timeouts, p_keys, p_signatures, p_traceparents, p_tags, p_args)
                AS m (id, landing, line, delay_s, run_at, deadline_s, deadline_at, max_attempts, timeout_s, key, signature,
                    traceparent, tags, args)
            WHERE m.id = m.landing
        ) AS n
        ON CONFLICT (id) DO NOTHING
        RETURNING id, state
    )
    SELECT coalesce(array_agg(a.id), '{}'), array_agg(a.state) INTO v_added, v_states FROM added AS a;

    -- Only now, in a snapshot of its own: a job may have moved to the history while its id was waited for.
    IF NOT p_fresh THEN
        SELECT array_agg(n.id) INTO v_ended FROM unnest(v_added) AS n (id)
        WHERE (SELECT true FROM headrace_history AS h
            WHERE h.id = n.id AND h.finished_at >= v_since AND h.finished_at < v_until AND h.finished_at > v_pruned LIMIT 1);
        IF v_ended IS NOT NULL THEN
            DELETE FROM headrace_job AS job WHERE job.id = ANY (v_ended);
            v_added := ARRAY(SELECT a FROM unnest(v_added) AS a WHERE a <> ALL (v_ended));
        END IF;
    END IF;

    IF cardinality(v_added) = cardinality(p_ids) THEN
        states := v_states;
        RETURN NEXT;
        RETURN;
    END IF;
    SELECT array_agg(coalesce(job.state, h.state, 1::smallint) ORDER BY n.ord), array_agg(coalesce(job.feed_end, h.feed_end, 1) ORDER BY n.ord),
        array_agg(n.id = n.own AND n.id = ANY (v_added)
            AND n.ord = (SELECT min(s.ord) FROM unnest(v_landings) WITH ORDINALITY AS s (id, ord) WHERE s.id = n.id) ORDER BY n.ord)
    INTO states, ends, created
    FROM unnest(v_landings, p_ids) WITH ORDINALITY AS n (id, own, ord)
        LEFT JOIN headrace_job AS job ON job.id = ANY (ARRAY[n.id])
        LEFT JOIN headrace_history AS h ON h.id = ANY (ARRAY[n.id]) AND job.id IS NULL
            AND h.finished_at > coalesce(v_pruned, headrace_pruned_to());
    landed := v_landings;
    RETURN NEXT;
END
$$;

-- End attempts as their verdicts say; guard: (id, fence, running). Told are those that did end, with the line of those
-- that wait again. A job that somebody asked to cancel never waits again: it ends as cancelled.
CREATE FUNCTION headrace_end_1(p_now timestamptz, p_ends jsonb)
RETURNS TABLE (ord integer, line integer, suspect smallint)
LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET enable_material = off SET jit = off SET lock_timeout = '5s'
AS $$
#variable_conflict use_column
DECLARE
    v_now timestamptz := coalesce(p_now, clock_timestamp());
BEGIN
    RETURN QUERY
    WITH told AS MATERIALIZED (
        SELECT * FROM jsonb_to_recordset(p_ends) AS told (
            ord integer, id uuid, fence integer, state smallint, delay_s double precision, attempt integer, failures integer,
            crashes integer, snoozes integer, suspect smallint, settles boolean, outcome text, failure text, result text,
            head text, tail text
        )
    ), live AS MATERIALIZED (
        SELECT told.ord, told.state AS to_state, told.delay_s, told.attempt AS more_attempts, told.failures AS more_failures,
            told.crashes AS more_crashes, told.snoozes AS more_snoozes, coalesce(told.suspect, job.suspect) AS to_suspect,
            told.outcome, told.failure AS to_failure, told.result, told.head, told.tail,
            CASE WHEN told.settles THEN job.fence ELSE job.settled_fence END AS to_settled,
            CASE WHEN told.state > 2 THEN told.state WHEN job.cancelling THEN 5 END AS end_state, job.*
        FROM told JOIN headrace_job AS job ON job.id = ANY (ARRAY[told.id]) AND job.fence = told.fence AND job.state + 0 = 2
        ORDER BY told.id
        FOR UPDATE OF job
    ), waits AS (
        UPDATE headrace_job AS job SET state = live.to_state, seq = nextval('headrace_place'), worker = NULL,
            due_at = CASE WHEN live.to_state = 0 THEN v_now + live.delay_s * interval '1 second' ELSE v_now END,
            suspect = live.to_suspect, attempt = live.attempt + live.more_attempts,
            failures = live.failures + live.more_failures, crashes = live.crashes + live.more_crashes,
            snoozes = live.snoozes + live.more_snoozes, failure = coalesce(live.to_failure, live.failure),
            settled_fence = live.to_settled, feed_end = live.feed_end + 1, progress = NULL, progress_at = NULL, progress_offset = NULL
        FROM live WHERE live.end_state IS NULL AND job.id = ANY (ARRAY[live.id])
    ), tells AS (
        INSERT INTO headrace_feed (job, feed_offset, kind, attempt, at, data)
        SELECT live.id, live.feed_end + 1, 'state', live.attempt + live.more_attempts, v_now,
            live.head || (live.attempt + live.more_attempts) || live.tail
        FROM live WHERE live.end_state IS NULL
    ), leaves AS (
        DELETE FROM headrace_job AS job USING live WHERE live.end_state IS NOT NULL AND job.id = ANY (ARRAY[live.id])
    ), keeps AS (
        INSERT INTO headrace_history (id, finished_at, created_at, first_due_at, first_claimed_at, started_at, deadline_at,
            timeout_s, line, worker, fence, settled_fence, attempt, failures, crashes, snoozes, max_attempts, feed_end, items,
            first_claim_offset, state, suspect, key, tags, signature, traceparent, failure, result, args)
        SELECT live.id, v_now, live.created_at, live.first_due_at, live.first_claimed_at, live.started_at, live.deadline_at,
            live.timeout_s, live.line, live.worker, live.fence, live.to_settled, live.attempt + live.more_attempts,
            live.failures + live.more_failures, live.crashes + live.more_crashes, live.snoozes + live.more_snoozes,
            live.max_attempts, live.feed_end + 1, live.items, live.first_claim_offset, live.end_state, live.to_suspect,
            live.key, live.tags, live.signature, live.traceparent, CASE WHEN live.end_state = 4 THEN live.to_failure END,
            live.result, live.args
        FROM live WHERE live.end_state IS NOT NULL
    ), counts AS (
        INSERT INTO headrace_attempt (job, fence, attempt, worker, started_at, ended_at, outcome, failure)
        SELECT live.id, live.fence, live.attempt, live.worker, live.started_at, v_now, live.outcome, live.to_failure
        FROM live WHERE live.more_attempts = 0 AND live.end_state IS DISTINCT FROM 3
    )
    SELECT live.ord, CASE WHEN live.end_state IS NULL THEN live.line END, live.to_suspect FROM live;
END
$$;

-- Settle ended attempts, then claim. `done` are successes, `ends` all others (see headrace_end_1). Claims go over pools,
-- in each over its lanes in the order given, and in each lane over its lines, the highest priority first; the three are
-- slices of the arrays behind them. The last row is the answer's other half; `more` says that work was left.
CREATE FUNCTION headrace_exchange_1(
    p_now timestamptz, p_worker text,
    p_done uuid[], p_done_fences integer[], p_done_results text[], p_ends jsonb,
    p_pool_from integer[], p_pool_to integer[], p_pool_limits integer[],
    p_lane_from integer[], p_lane_to integer[], p_lane_shares integer[], p_lane_queues integer[],
    p_kinds smallint[], p_lines integer[], p_floors bigint[]
)
RETURNS TABLE (
    id uuid, fence integer, line integer, seq bigint, args text, attempt integer, failures integer, crashes integer,
    snoozes integer, max_attempts integer, timeout_s double precision, deadline_in_s double precision, tags text[],
    signature text, feed_end integer, suspect smallint, traceparent text, emitted text[],
    next_due_s double precision, more boolean, moved integer[], ended integer[], ended_lines integer[], ended_suspects smallint[]
)
LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET enable_material = off SET jit = off
AS $$
#variable_conflict use_column
DECLARE
    v_now timestamptz := coalesce(p_now, clock_timestamp());
    v_worker integer;
    v_held integer[];
    v_count integer;
    v_more boolean := false;
    v_moved integer[];
    v_ended integer[];
    v_ended_lines integer[];
    v_ended_suspects smallint[];
BEGIN
    IF p_done IS NOT NULL THEN
        WITH leaves AS (
            DELETE FROM headrace_job AS job
            USING unnest(p_done, p_done_fences, p_done_results) WITH ORDINALITY AS done (id, fence, result, ord)
            WHERE job.id = ANY (ARRAY[done.id]) AND job.fence = done.fence AND job.state + 0 = 2
            RETURNING job.*, done.result, done.ord
        ), keeps AS (
            INSERT INTO headrace_history (id, finished_at, created_at, first_due_at, first_claimed_at, started_at, deadline_at,
                timeout_s, line, worker, fence, settled_fence, attempt, failures, crashes, snoozes, max_attempts, feed_end,
                items, first_claim_offset, state, suspect, key, tags, signature, traceparent, result, args)
            SELECT job.id, v_now, job.created_at, job.first_due_at, job.first_claimed_at, job.started_at, job.deadline_at,
                job.timeout_s, job.line, job.worker, job.fence, job.fence, job.attempt, job.failures, job.crashes,
                job.snoozes, job.max_attempts, job.feed_end + 1, job.items, job.first_claim_offset, 3, 0, job.key, job.tags,
                job.signature, job.traceparent, job.result, job.args
            FROM leaves AS job
        )
        SELECT array_agg(leaves.ord::integer) INTO v_moved FROM leaves;
    END IF;
    IF p_ends IS NOT NULL THEN
        SELECT array_agg(e.ord), array_agg(e.line), array_agg(e.suspect) INTO v_ended, v_ended_lines, v_ended_suspects
        FROM headrace_end_1(p_now, p_ends) AS e;
    END IF;

    IF p_pool_limits IS NOT NULL THEN
        SELECT w.n INTO v_worker FROM headrace_worker AS w WHERE w.id = p_worker AND w.gone_at IS NULL FOR KEY SHARE;
    END IF;
    IF v_worker IS NOT NULL THEN
        SELECT coalesce(array_agg(q.id), '{}') INTO v_held FROM headrace_queue AS q WHERE q.paused;
        RETURN QUERY
        WITH picked AS MATERIALIZED (
            SELECT lane.id
            FROM unnest(p_pool_from, p_pool_to, p_pool_limits) AS pool (from_, to_, limit_)
            CROSS JOIN LATERAL (
                SELECT line.id
                FROM unnest(p_lane_from[pool.from_:pool.to_], p_lane_to[pool.from_:pool.to_], p_lane_shares[pool.from_:pool.to_],
                    p_lane_queues[pool.from_:pool.to_]) AS lane (from_, to_, share, queue)
                CROSS JOIN LATERAL (
                    SELECT job.id
                    FROM unnest(p_kinds[lane.from_:lane.to_], p_lines[lane.from_:lane.to_], p_floors[lane.from_:lane.to_])
                        AS line (kind, id, floor)
                    CROSS JOIN LATERAL (
                        SELECT job.id FROM headrace_job AS job
                        WHERE job.state = 1 AND job.suspect = line.kind AND job.line = line.id AND job.seq > line.floor
                        ORDER BY job.seq
                        LIMIT lane.share FOR UPDATE SKIP LOCKED
                    ) AS job
                    LIMIT lane.share
                ) AS line
                WHERE lane.queue <> ALL (v_held)
                LIMIT pool.limit_
            ) AS lane
        ), started AS (
            UPDATE headrace_job AS job SET state = 2, fence = job.fence + 1, attempt = job.attempt + 1, worker = v_worker,
                claim = nextval('headrace_claim'), started_at = v_now, due_at = NULL, feed_end = job.feed_end + 1,
                first_claimed_at = coalesce(job.first_claimed_at, v_now),
                first_claim_offset = coalesce(job.first_claim_offset, job.feed_end + 1)
            FROM picked WHERE job.id = ANY (ARRAY[picked.id])
            RETURNING job.*
        ), tells AS (
            INSERT INTO headrace_feed (job, feed_offset, kind, attempt, at, data)
            SELECT job.id, job.feed_end, 'state', job.attempt, v_now, '{"state":"running","attempt":' || job.attempt || '}'
            FROM started AS job WHERE job.fence > 1
        )
        SELECT job.id, job.fence, job.line, job.seq, job.args, job.attempt, job.failures, job.crashes, job.snoozes,
            job.max_attempts, job.timeout_s, extract(epoch FROM job.deadline_at - v_now)::double precision, job.tags,
            job.signature, job.feed_end, job.suspect, job.traceparent,
            CASE WHEN job.fence > 1 THEN ARRAY(SELECT feed.key FROM headrace_feed AS feed WHERE feed.job = job.id AND feed.key IS NOT NULL) END,
            NULL::double precision, NULL::boolean, NULL::integer[], NULL::integer[], NULL::integer[], NULL::smallint[]
        FROM started AS job;
        GET DIAGNOSTICS v_count = ROW_COUNT;
        v_more := v_count > 0 AND EXISTS (
            SELECT FROM unnest(p_lane_from, p_lane_to, p_lane_queues) AS lane (from_, to_, queue)
            CROSS JOIN LATERAL unnest(p_kinds[lane.from_:lane.to_], p_lines[lane.from_:lane.to_], p_floors[lane.from_:lane.to_])
                AS line (kind, id, floor)
            CROSS JOIN LATERAL (
                SELECT FROM headrace_job AS job
                WHERE job.state = 1 AND job.suspect = line.kind AND job.line = line.id AND job.seq > line.floor LIMIT 1
            ) AS job
            WHERE lane.queue <> ALL (v_held)
        );
    END IF;
    RETURN QUERY SELECT NULL::uuid, NULL::integer, NULL::integer, NULL::bigint, NULL::text, NULL::integer, NULL::integer, NULL::integer,
        NULL::integer, NULL::integer, NULL::double precision, NULL::double precision, NULL::text[], NULL::text, NULL::integer,
        NULL::smallint, NULL::text, NULL::text[],
        (SELECT extract(epoch FROM job.due_at - v_now)::double precision FROM headrace_job AS job WHERE job.state = 0
            ORDER BY job.due_at LIMIT 1),
        v_more, v_moved, v_ended, v_ended_lines, v_ended_suspects;
END
$$;

-- What limits leave room for in these of their scopes, as far as this statement sees: how many may start now, and how long
-- a rate alone keeps the next one back (NULL: it waits for the end of another one, or for nothing). A rate is that of the
-- generic cell rate algorithm, as in core/limits.py. Slots up to a scope's floor are known to be dead, and are not read: a
-- held snapshot may keep many. `first` is the first that is not.
CREATE FUNCTION headrace_rooms_1(
    p_now timestamptz, p_wanted integer[],
    p_scopes text[], p_concurrency integer[], p_intervals_s double precision[], p_bursts integer[], p_floors bigint[]
)
RETURNS TABLE (ord integer, room integer, wait_s double precision, first bigint)
LANGUAGE plpgsql STABLE
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET enable_material = off SET jit = off
AS $$
#variable_conflict use_column
DECLARE
    v_now double precision := extract(epoch FROM p_now);
BEGIN
    RETURN QUERY
    SELECT found.ord, greatest(0, least(found.left_, found.starts)),
        CASE WHEN found.starts < 1 AND coalesce(found.left_, 1) > 0 THEN found.ahead_s - (found.burst - 1) * found.interval_s END,
        found.first
    FROM (
        SELECT wanted.ord, p_intervals_s[wanted.ord] AS interval_s, p_bursts[wanted.ord] AS burst, rate.ahead_s,
            p_concurrency[wanted.ord] - running.count AS left_, running.first,
            CASE WHEN p_bursts[wanted.ord] IS NOT NULL THEN
                greatest(0, floor(p_bursts[wanted.ord] - rate.ahead_s / p_intervals_s[wanted.ord] + 1e-6))::integer
            END AS starts
        FROM unnest(p_wanted) AS wanted (ord)
        LEFT JOIN LATERAL (
            SELECT count(*)::integer AS count, min(slot.n) AS first FROM headrace_slot AS slot
            CROSS JOIN LATERAL (
                SELECT FROM headrace_job AS job
                WHERE job.id = ANY (ARRAY[slot.job]) AND job.fence = slot.fence AND job.state + 0 = 2 LIMIT 1
            ) AS job
            WHERE slot.scope = p_scopes[wanted.ord] AND slot.n > p_floors[wanted.ord]
        ) AS running ON p_concurrency[wanted.ord] IS NOT NULL
        LEFT JOIN LATERAL (
            SELECT greatest(0, least(coalesce(limited.rate_at, 0) - v_now, p_intervals_s[wanted.ord] * p_bursts[wanted.ord])) AS ahead_s
            FROM (VALUES (1)) AS one LEFT JOIN headrace_limit AS limited ON limited.scope = p_scopes[wanted.ord]
        ) AS rate ON p_bursts[wanted.ord] IS NOT NULL
    ) AS found;
END
$$;

-- In these of the lanes that are ordered, the job whose turn it is, where that is ready in the lane and such a suspect. Who
-- started last has its turn as long as it lives, in whatever state it is. Where nobody has it, the first ready one is next,
-- suspects and others in one line.
CREATE FUNCTION headrace_turns_1(
    p_wanted integer[], p_lane_turns integer[], p_scopes text[],
    p_lane_from integer[], p_lane_to integer[], p_kinds smallint[], p_lines integer[], p_floors bigint[]
)
RETURNS TABLE (ord integer, id uuid)
LANGUAGE plpgsql STABLE
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET enable_material = off SET jit = off
AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    SELECT wanted.ord, next.id FROM unnest(p_wanted) AS wanted (ord)
    LEFT JOIN LATERAL (
        SELECT live.* FROM headrace_limit AS turn
        CROSS JOIN LATERAL (
            SELECT job.id, job.state, job.suspect, job.line FROM headrace_job AS job
            WHERE job.id = ANY (ARRAY[turn.holder]) LIMIT 1
        ) AS live
        WHERE turn.scope = p_scopes[p_lane_turns[wanted.ord]]
    ) AS held ON true
    CROSS JOIN LATERAL (
        SELECT held.id, held.suspect
        WHERE held.state = 1 AND held.line = ANY (p_lines[p_lane_from[wanted.ord]:p_lane_to[wanted.ord]])
        UNION ALL
        (SELECT first.id, kind.suspect
        FROM unnest(p_lines[p_lane_from[wanted.ord]:p_lane_to[wanted.ord]], p_floors[p_lane_from[wanted.ord]:p_lane_to[wanted.ord]])
            WITH ORDINALITY AS line (id, floor, ord)
        CROSS JOIN (VALUES (0::smallint), (1::smallint), (2::smallint)) AS kind (suspect)
        CROSS JOIN LATERAL (
            SELECT job.id, job.seq FROM headrace_job AS job
            WHERE job.state = 1 AND job.suspect = kind.suspect AND job.line = line.id
                AND job.seq > CASE WHEN kind.suspect = 0 THEN line.floor ELSE 0 END
            ORDER BY job.seq LIMIT 1
        ) AS first
        WHERE held.id IS NULL
        ORDER BY line.ord, first.seq LIMIT 1)
    ) AS next (id, suspect)
    WHERE p_lane_turns[wanted.ord] > 0 AND next.suspect = p_kinds[p_lane_from[wanted.ord]];
END
$$;

-- Claim jobs of tasks that have limits: pools, lanes and lines as in headrace_exchange_1, and for each lane the places of
-- its scopes (0: none) among those behind. What is full is left out as far as it is seen without a lock; the scopes of what
-- is then taken are locked first, and looked at again: nobody else claims from them until this has committed. A scope that
-- another claim has locked is left to the next one. The last row tells which lanes have more (`more_lanes`), which are kept
-- back by their limits (`kept_lanes`), and until when the first of those by a rate alone. From an ordered lane comes the job
-- whose turn it is, and none but that, see headrace_turns_1; nothing will ever be ready below the floors of its lines.
CREATE FUNCTION headrace_claim_limited_1(
    p_now timestamptz, p_worker text,
    p_pool_from integer[], p_pool_to integer[], p_pool_limits integer[],
    p_lane_from integer[], p_lane_to integer[], p_lane_shares integer[], p_lane_queues integer[],
    p_kinds smallint[], p_lines integer[], p_floors bigint[],
    p_lane_runs integer[], p_lane_rates integer[], p_lane_turns integer[],  -- the scope of its concurrency, rate, turns
    p_scopes text[], p_concurrency integer[], p_intervals_s double precision[], p_bursts integer[],
    p_slot_floors bigint[]
)
RETURNS TABLE (
    id uuid, fence integer, line integer, seq bigint, args text, attempt integer, failures integer, crashes integer,
    snoozes integer, max_attempts integer, timeout_s double precision, deadline_in_s double precision, tags text[],
    signature text, feed_end integer, suspect smallint, traceparent text, emitted text[],
    more_lanes integer[], kept_lanes integer[], wait_s double precision, slot_floors bigint[]
)
LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET enable_material = off SET jit = off
AS $$
#variable_conflict use_column
DECLARE
    v_now timestamptz := coalesce(p_now, clock_timestamp());
    v_worker integer;
    v_ready integer[];                          -- lanes in which something is
    v_wanted integer[];                         -- scopes
    v_rooms integer[] := array_fill(NULL::integer, ARRAY[cardinality(p_scopes)]);
    v_waits double precision[] := array_fill(NULL::double precision, ARRAY[cardinality(p_scopes)]);
    v_busy boolean[] := array_fill(false, ARRAY[cardinality(p_scopes)]);    -- scopes that another claim has locked
    v_starts integer[] := array_fill(0, ARRAY[cardinality(p_scopes)]);
    v_try integer[] := '{}';
    v_left integer;
    v_pool integer;
    v_lane integer;
    v_runs integer;
    v_rate integer;
    v_turn integer;
    v_room integer;
    v_nexts uuid[] := array_fill(NULL::uuid, ARRAY[cardinality(p_lane_from)]);  -- in ordered lanes: whose turn it is
    v_takers uuid[] := array_fill(NULL::uuid, ARRAY[cardinality(p_scopes)]);    -- of turns: who took it
    v_ids uuid[];
    v_picked uuid[] := '{}';
    v_slots text[] := '{}';
    v_again integer[] := '{}';
    v_more integer[] := '{}';
    v_kept integer[] := '{}';
    v_wait double precision;
    v_floors bigint[] := p_slot_floors;
    v_each record;
BEGIN
    SELECT w.n INTO v_worker FROM headrace_worker AS w WHERE w.id = p_worker AND w.gone_at IS NULL FOR KEY SHARE;
    IF v_worker IS NOT NULL THEN
        SELECT array_agg(lane.ord::integer ORDER BY lane.ord) INTO v_ready
        FROM unnest(p_lane_from, p_lane_to, p_lane_queues) WITH ORDINALITY AS lane (from_, to_, queue, ord)
        WHERE lane.queue <> ALL (ARRAY(SELECT q.id FROM headrace_queue AS q WHERE q.paused)) AND EXISTS (
            SELECT FROM unnest(p_kinds[lane.from_:lane.to_], p_lines[lane.from_:lane.to_], p_floors[lane.from_:lane.to_])
                AS line (kind, id, floor)
            CROSS JOIN LATERAL (
                SELECT FROM headrace_job AS job
                WHERE job.state = 1 AND job.suspect = line.kind AND job.line = line.id AND job.seq > line.floor LIMIT 1
            ) AS job
        );
    END IF;
    IF v_ready IS NOT NULL THEN
        v_wanted := ARRAY(SELECT DISTINCT scope FROM unnest(v_ready) AS lane (ord)
            CROSS JOIN LATERAL (VALUES (p_lane_runs[lane.ord]), (p_lane_rates[lane.ord])) AS scopes (scope) WHERE scope > 0);
        FOR v_each IN SELECT * FROM headrace_rooms_1(v_now, v_wanted, p_scopes, p_concurrency, p_intervals_s, p_bursts, p_slot_floors) LOOP
            v_rooms[v_each.ord] := v_each.room;
            v_waits[v_each.ord] := v_each.wait_s;
        END LOOP;

        IF 0 < ANY (p_lane_turns) THEN
            FOR v_each IN SELECT * FROM headrace_turns_1(v_ready, p_lane_turns, p_scopes, p_lane_from, p_lane_to, p_kinds, p_lines, p_floors) LOOP
                v_nexts[v_each.ord] := v_each.id;
            END LOOP;
        END IF;

        -- Of each pool the first lanes that have room; the others are full, or for the next claim.
        FOR v_pool IN 1 .. cardinality(p_pool_limits) LOOP
            v_left := p_pool_limits[v_pool];
            FOREACH v_lane IN ARRAY v_ready LOOP
                CONTINUE WHEN v_lane < p_pool_from[v_pool];
                EXIT WHEN v_lane > p_pool_to[v_pool];
                IF p_lane_turns[v_lane] > 0 AND v_nexts[v_lane] IS NULL THEN
                    v_kept := v_kept || v_lane;
                    CONTINUE;
                END IF;
                v_room := least(v_rooms[nullif(p_lane_runs[v_lane], 0)], v_rooms[nullif(p_lane_rates[v_lane], 0)]);
                IF v_room = 0 OR v_left = 0 THEN
                    v_again := v_again || v_lane;
                ELSE
                    v_try := v_try || v_lane;
                    v_left := v_left - 1;
                END IF;
            END LOOP;
        END LOOP;
    END IF;
    IF cardinality(v_try) > 0 THEN
        v_wanted := ARRAY(SELECT DISTINCT scope FROM unnest(v_try) AS lane (ord)
            CROSS JOIN LATERAL (VALUES (p_lane_runs[lane.ord]), (p_lane_rates[lane.ord]), (p_lane_turns[lane.ord]))
                AS scopes (scope) WHERE scope > 0);
        INSERT INTO headrace_limit (scope)
        SELECT p_scopes[wanted.ord] FROM unnest(v_wanted) AS wanted (ord)
        WHERE NOT EXISTS (SELECT FROM headrace_limit AS limited WHERE limited.scope = p_scopes[wanted.ord] OFFSET 0)
        ORDER BY 1
        ON CONFLICT (scope) DO NOTHING;
        FOREACH v_lane IN ARRAY v_wanted LOOP
            v_busy[v_lane] := true;
        END LOOP;
        v_wanted := ARRAY(SELECT wanted.ord FROM unnest(v_wanted) AS wanted (ord)
            CROSS JOIN LATERAL (
                SELECT FROM headrace_limit AS limited WHERE limited.scope = p_scopes[wanted.ord] FOR UPDATE SKIP LOCKED
            ) AS limited);
        v_now := coalesce(p_now, clock_timestamp());
        FOREACH v_runs IN ARRAY v_wanted LOOP
            CONTINUE WHEN p_concurrency[v_runs] IS NULL;
            DELETE FROM headrace_slot AS slot WHERE slot.scope = p_scopes[v_runs] AND slot.n > p_slot_floors[v_runs] AND NOT EXISTS (
                SELECT FROM headrace_job AS job
                WHERE job.id = ANY (ARRAY[slot.job]) AND job.fence = slot.fence AND job.state + 0 = 2 OFFSET 0
            );
        END LOOP;
        FOR v_each IN SELECT * FROM headrace_rooms_1(v_now, v_wanted, p_scopes, p_concurrency, p_intervals_s, p_bursts, p_slot_floors) LOOP
            v_busy[v_each.ord] := false;
            v_rooms[v_each.ord] := v_each.room;
            v_waits[v_each.ord] := v_each.wait_s;
        END LOOP;
        IF 0 < ANY (p_lane_turns) THEN
            v_nexts := array_fill(NULL::uuid, ARRAY[cardinality(p_lane_from)]);
            FOR v_each IN SELECT * FROM headrace_turns_1(v_try, p_lane_turns, p_scopes, p_lane_from, p_lane_to, p_kinds, p_lines, p_floors) LOOP
                v_nexts[v_each.ord] := v_each.id;
            END LOOP;
        END IF;
        v_pool := 0;
        FOREACH v_lane IN ARRAY v_try LOOP
            WHILE v_pool = 0 OR v_lane > p_pool_to[v_pool] LOOP
                v_pool := v_pool + 1;
                v_left := p_pool_limits[v_pool];
            END LOOP;
            v_runs := nullif(p_lane_runs[v_lane], 0);
            v_rate := nullif(p_lane_rates[v_lane], 0);
            v_turn := nullif(p_lane_turns[v_lane], 0);
            v_room := least(v_rooms[v_runs], v_rooms[v_rate], p_lane_shares[v_lane], v_left);
            IF coalesce(v_busy[v_runs], false) OR coalesce(v_busy[v_rate], false) OR coalesce(v_busy[v_turn], false) THEN
                v_more := v_more || v_lane;
            ELSE
                IF v_turn IS NOT NULL AND (v_nexts[v_lane] IS NULL OR v_takers[v_turn] IS NOT NULL) THEN
                    v_kept := v_kept || v_lane;  -- taken: in a lane of another queue
                    CONTINUE;
                END IF;
                v_again := v_again || v_lane;
                CONTINUE WHEN v_room = 0;
                IF v_turn IS NOT NULL THEN
                    v_ids := ARRAY(SELECT job.id FROM headrace_job AS job WHERE job.id = ANY (ARRAY[v_nexts[v_lane]])
                        AND job.state + 0 = 1 AND job.suspect + 0 = p_kinds[p_lane_from[v_lane]] FOR UPDATE SKIP LOCKED);
                    v_takers[v_turn] := v_ids[1];
                ELSE
                    SELECT coalesce(array_agg(picked.id), '{}') INTO v_ids FROM (
                        SELECT job.id
                        FROM unnest(p_kinds[p_lane_from[v_lane]:p_lane_to[v_lane]], p_lines[p_lane_from[v_lane]:p_lane_to[v_lane]],
                            p_floors[p_lane_from[v_lane]:p_lane_to[v_lane]]) AS line (kind, id, floor)
                        CROSS JOIN LATERAL (
                            SELECT job.id FROM headrace_job AS job
                            WHERE job.state = 1 AND job.suspect = line.kind AND job.line = line.id AND job.seq > line.floor
                            ORDER BY job.seq
                            LIMIT v_room FOR UPDATE SKIP LOCKED
                        ) AS job
                        LIMIT v_room
                    ) AS picked;
                END IF;
                v_picked := v_picked || v_ids;
                v_slots := v_slots || array_fill(p_scopes[v_runs], ARRAY[cardinality(v_ids)]);
                v_left := v_left - cardinality(v_ids);
                IF v_runs IS NOT NULL THEN
                    v_rooms[v_runs] := v_rooms[v_runs] - cardinality(v_ids);
                END IF;
                IF v_rate IS NOT NULL THEN
                    v_starts[v_rate] := v_starts[v_rate] + cardinality(v_ids);
                    v_rooms[v_rate] := v_rooms[v_rate] - CASE WHEN v_rate = v_runs THEN 0 ELSE cardinality(v_ids) END;
                END IF;
            END IF;
        END LOOP;

        FOREACH v_rate IN ARRAY v_wanted LOOP
            CONTINUE WHEN v_starts[v_rate] = 0;
            UPDATE headrace_limit AS limited SET rate_at = extract(epoch FROM v_now) + p_intervals_s[v_rate] * v_starts[v_rate]
                + greatest(0, least(coalesce(limited.rate_at, 0) - extract(epoch FROM v_now), p_intervals_s[v_rate] * p_bursts[v_rate]))
            WHERE limited.scope = p_scopes[v_rate];
        END LOOP;
        IF 0 < ANY (p_lane_turns) THEN
            UPDATE headrace_limit AS turn SET holder = taker.job FROM unnest(v_takers, p_scopes) AS taker (job, scope)
            WHERE taker.job IS NOT NULL AND turn.scope = taker.scope AND turn.holder IS DISTINCT FROM taker.job;
        END IF;
        RETURN QUERY
        WITH started AS (
            UPDATE headrace_job AS job SET state = 2, fence = job.fence + 1, attempt = job.attempt + 1, worker = v_worker,
                claim = nextval('headrace_claim'), started_at = v_now, due_at = NULL, feed_end = job.feed_end + 1,
                first_claimed_at = coalesce(job.first_claimed_at, v_now),
                first_claim_offset = coalesce(job.first_claim_offset, job.feed_end + 1)
            FROM unnest(v_picked, v_slots) AS picked (id, scope) WHERE job.id = ANY (ARRAY[picked.id])
            RETURNING job.*, picked.scope
        ), tells AS (
            INSERT INTO headrace_feed (job, feed_offset, kind, attempt, at, data)
            SELECT job.id, job.feed_end, 'state', job.attempt, v_now, '{"state":"running","attempt":' || job.attempt || '}'
            FROM started AS job WHERE job.fence > 1
        ), slots AS (
            INSERT INTO headrace_slot (scope, job, fence) SELECT job.scope, job.id, job.fence FROM started AS job WHERE job.scope IS NOT NULL
        )
        SELECT job.id, job.fence, job.line, job.seq, job.args, job.attempt, job.failures, job.crashes, job.snoozes,
            job.max_attempts, job.timeout_s, extract(epoch FROM job.deadline_at - v_now)::double precision, job.tags,
            job.signature, job.feed_end, job.suspect, job.traceparent,
            CASE WHEN job.fence > 1 THEN ARRAY(SELECT feed.key FROM headrace_feed AS feed WHERE feed.job = job.id AND feed.key IS NOT NULL) END,
            NULL::integer[], NULL::integer[], NULL::double precision, NULL::bigint[]
        FROM started AS job;
        -- What the rates keep back now, and up to where slots are dead.
        FOR v_each IN SELECT * FROM headrace_rooms_1(v_now, v_wanted, p_scopes, p_concurrency, p_intervals_s, p_bursts, p_slot_floors) LOOP
            v_rooms[v_each.ord] := v_each.room;
            v_waits[v_each.ord] := v_each.wait_s;
            IF v_each.first IS NOT NULL THEN
                v_floors[v_each.ord] := v_each.first - 1;
            ELSIF p_concurrency[v_each.ord] IS NOT NULL THEN
                v_floors[v_each.ord] := nextval('headrace_slot_n_seq');
            END IF;
        END LOOP;
        v_again := ARRAY(
            SELECT lane.ord FROM unnest(v_again) AS lane (ord) WHERE EXISTS (
                SELECT FROM unnest(p_kinds[p_lane_from[lane.ord]:p_lane_to[lane.ord]], p_lines[p_lane_from[lane.ord]:p_lane_to[lane.ord]],
                    p_floors[p_lane_from[lane.ord]:p_lane_to[lane.ord]]) AS line (kind, id, floor)
                CROSS JOIN LATERAL (
                    SELECT FROM headrace_job AS job
                    WHERE job.state = 1 AND job.suspect = line.kind AND job.line = line.id AND job.seq > line.floor LIMIT 1
                ) AS job
            )
        );
    END IF;
    FOREACH v_lane IN ARRAY v_again LOOP
        v_runs := nullif(p_lane_runs[v_lane], 0);
        v_rate := nullif(p_lane_rates[v_lane], 0);
        IF v_takers[nullif(p_lane_turns[v_lane], 0)] IS NOT NULL THEN
            v_kept := v_kept || v_lane;
        ELSIF coalesce(least(v_rooms[v_runs], v_rooms[v_rate]), 1) > 0 THEN
            v_more := v_more || v_lane;
        ELSE
            v_kept := v_kept || v_lane;
            IF v_runs IS NULL OR v_runs = v_rate OR v_rooms[v_runs] > 0 THEN
                v_wait := least(v_wait, v_waits[v_rate]);
            END IF;
        END IF;
    END LOOP;
    RETURN QUERY SELECT NULL::uuid, NULL::integer, NULL::integer, NULL::bigint, NULL::text, NULL::integer, NULL::integer, NULL::integer,
        NULL::integer, NULL::integer, NULL::double precision, NULL::double precision, NULL::text[], NULL::text, NULL::integer,
        NULL::smallint, NULL::text, NULL::text[], v_more, v_kept, v_wait, v_floors;
END
$$;

-- The last place that was drawn; then a transaction id, which is above all that were given before (a snapshot's xmax is
-- not); then the oldest one under way; and when the server started. VOLATILE: each statement sees what is so when it runs.
CREATE FUNCTION headrace_mark_1(OUT place bigint, OUT above bigint, OUT oldest bigint, OUT since double precision)
LANGUAGE plpgsql VOLATILE
AS $$
BEGIN
    place := coalesce(pg_sequence_last_value('headrace_place'), 0);
    above := pg_current_xact_id()::text::bigint;
    SELECT pg_snapshot_xmin(now)::text::bigint INTO oldest FROM pg_current_snapshot() AS now;
    since := extract(epoch FROM pg_postmaster_start_time());
END
$$;

-- The non-empty lines and where their first ready jobs stand, one seek of the index each, whatever waits in them; from
-- this degree of suspicion on. In the lines given, of jobs that are no suspects, it looks from their floors on: below
-- may stand many rows that are dead and that a held snapshot keeps. They are in order.
CREATE FUNCTION headrace_survey_1(p_suspect smallint, p_lines integer[], p_floors bigint[])
RETURNS TABLE (suspect smallint, line integer, seq bigint, due_at timestamptz)
LANGUAGE plpgsql STABLE
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off SET enable_bitmapscan = off SET enable_sort = off SET jit = off
AS $$
#variable_conflict use_column
BEGIN
    IF p_suspect = 0 THEN
        RETURN QUERY
        SELECT 0::smallint, known.line, first.seq, first.due_at FROM unnest(p_lines, p_floors) AS known (line, floor)
        CROSS JOIN LATERAL (
            SELECT job.seq, job.due_at FROM headrace_job AS job
            WHERE job.state = 1 AND job.suspect = 0 AND job.line = known.line AND job.seq > known.floor
            ORDER BY job.suspect, job.line, job.seq LIMIT 1
        ) AS first;
        RETURN QUERY
        WITH RECURSIVE gaps AS MATERIALIZED (
            SELECT coalesce(lag(gap.line) OVER (), -1) AS above, gap.line AS below
            FROM unnest(p_lines || 2147483647) WITH ORDINALITY AS gap (line, ord)
        ), lines AS (
            SELECT first.*, gaps.below FROM gaps CROSS JOIN LATERAL (
                SELECT job.line, job.seq, job.due_at FROM headrace_job AS job
                WHERE job.state = 1 AND job.suspect = 0 AND job.line > gaps.above AND job.line < gaps.below
                ORDER BY job.suspect, job.line, job.seq LIMIT 1
            ) AS first
            UNION ALL
            SELECT next.*, lines.below FROM lines CROSS JOIN LATERAL (
                SELECT job.line, job.seq, job.due_at FROM headrace_job AS job
                WHERE job.state = 1 AND job.suspect = 0 AND job.line > lines.line AND job.line < lines.below
                ORDER BY job.suspect, job.line, job.seq LIMIT 1
            ) AS next
        )
        SELECT 0::smallint, lines.line, lines.seq, lines.due_at FROM lines;
    END IF;
    RETURN QUERY
    WITH RECURSIVE lines AS (
        (SELECT job.suspect, job.line, job.seq, job.due_at FROM headrace_job AS job
            WHERE job.state = 1 AND job.suspect >= greatest(p_suspect, 1::smallint)
            ORDER BY job.suspect, job.line, job.seq LIMIT 1)
        UNION ALL
        SELECT next.* FROM lines CROSS JOIN LATERAL (
            SELECT job.suspect, job.line, job.seq, job.due_at FROM headrace_job AS job
            WHERE job.state = 1 AND (job.suspect, job.line) > (lines.suspect, lines.line)
            ORDER BY job.suspect, job.line, job.seq LIMIT 1
        ) AS next
    )
    SELECT * FROM lines;
END
$$;

-- Due jobs become ready, the longest due first, at the end of the line.
CREATE FUNCTION headrace_promote_1(p_now timestamptz, p_limit integer)
RETURNS TABLE (id uuid, line integer)
LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET enable_material = off SET jit = off
AS $$
#variable_conflict use_column
DECLARE
    v_now timestamptz := coalesce(p_now, statement_timestamp());
BEGIN
    RETURN QUERY
    WITH due AS MATERIALIZED (
        SELECT job.id FROM headrace_job AS job WHERE job.state = 0 AND job.due_at <= v_now
        ORDER BY job.due_at, job.seq LIMIT p_limit FOR UPDATE SKIP LOCKED
    ), placed AS MATERIALIZED (
        SELECT due.id, nextval('headrace_place') AS seq FROM due
    ), ready AS (
        UPDATE headrace_job AS job SET state = 1, seq = placed.seq, feed_end = job.feed_end + 1, due_at = v_now
        FROM placed WHERE job.id = ANY (ARRAY[placed.id]) RETURNING job.id, job.line, job.attempt, job.feed_end
    ), tells AS (
        INSERT INTO headrace_feed (job, feed_offset, kind, attempt, at, data)
        SELECT ready.id, ready.feed_end, 'state', ready.attempt, v_now, '{"state":"ready","attempt":' || ready.attempt || '}'
        FROM ready
    )
    SELECT ready.id, ready.line FROM ready;
END
$$;

-- How long until the next scheduled job is due.
CREATE FUNCTION headrace_next_due_1(p_now timestamptz)
RETURNS double precision
LANGUAGE plpgsql STABLE
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off SET enable_bitmapscan = off SET enable_sort = off SET jit = off
AS $$
BEGIN
    RETURN (SELECT extract(epoch FROM job.due_at - coalesce(p_now, clock_timestamp()))::double precision
        FROM headrace_job AS job WHERE job.state = 0 ORDER BY job.due_at LIMIT 1);
END
$$;

-- How much waits in these queues, by line, the highest priorities first; a row without a line tells that a queue is there.
CREATE FUNCTION headrace_load_1(
    p_now timestamptz,                  -- NULL: the database's clock
    p_queues text[], p_jobs_max integer[],  -- how many jobs of each are worth counting
    p_since_s double precision[]        -- ready jobs that are ready for so long are told apart
)
RETURNS TABLE (ord integer, paused boolean, task text, priority integer, ready integer, older integer,
    oldest_s double precision, scheduled integer)
LANGUAGE plpgsql STABLE
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off SET enable_bitmapscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off
AS $$
#variable_conflict use_column
DECLARE
    v_now timestamptz := coalesce(p_now, statement_timestamp());
    v_ready integer;
    v_scheduled integer;
    q record;
    l record;
    r record;
BEGIN
    FOR q IN
        SELECT asked.ord::integer AS ord, queue.id, queue.paused, asked.jobs_max,
            v_now - asked.since_s * interval '1 second' AS since
        FROM unnest(p_queues, p_jobs_max, p_since_s) WITH ORDINALITY AS asked (name, jobs_max, since_s, ord)
            JOIN headrace_queue AS queue ON queue.name = asked.name
    LOOP
        RETURN QUERY SELECT q.ord, q.paused, NULL::text, 0, 0, 0, NULL::double precision, 0;
        v_ready := q.jobs_max;
        v_scheduled := q.jobs_max;
        FOR l IN
            SELECT line.id, line.task, line.priority FROM (
                SELECT line.id, line.task, line.priority FROM headrace_line AS line WHERE line.queue = q.id LIMIT 2000
            ) AS line ORDER BY line.priority DESC, line.id
        LOOP
            SELECT least(count(*)::integer, v_ready) AS jobs,
                least((count(*) FILTER (WHERE first.due_at <= q.since))::integer, v_ready) AS older, min(first.due_at) AS oldest
            INTO r FROM (
                SELECT job.due_at FROM headrace_job AS job WHERE job.state = 1 AND job.suspect = 0 AND job.line = l.id
                ORDER BY job.suspect, job.line, job.seq LIMIT greatest(v_ready, 1)
            ) AS first;
            v_ready := v_ready - r.jobs;
            scheduled := 0;
            IF v_scheduled > 0 THEN
                SELECT count(*)::integer INTO scheduled FROM (
                    SELECT FROM headrace_job AS job WHERE job.state + 0 = 0 AND job.line = l.id LIMIT v_scheduled
                ) AS later;
                v_scheduled := v_scheduled - scheduled;
            END IF;
            IF r.oldest IS NOT NULL OR scheduled > 0 THEN
                RETURN QUERY SELECT q.ord, q.paused, l.task, l.priority, r.jobs, r.older,
                    extract(epoch FROM v_now - r.oldest)::double precision, scheduled;
            END IF;
        END LOOP;
    END LOOP;
END
$$;
