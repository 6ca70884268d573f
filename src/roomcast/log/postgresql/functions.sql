-- The functions of version 1. Each function that changes the log first locks its one row, until the transaction ends.
-- `sync` and `publish` do not lock it. Parameters of functions that servers call begin with an underscore, so that none
-- is mistaken for a column.

-- The current life of the database. A promoted standby has a new timeline and so a new life. If commits do not wait for
-- the disk, each start is a new life, since the last acknowledged messages may have been lost.
CREATE FUNCTION roomcast.life() RETURNS text LANGUAGE sql STABLE AS $$
    SELECT CASE
        WHEN pg_is_in_recovery() THEN 'standby'
        ELSE left(pg_walfile_name(pg_current_wal_lsn()), 8)
    END || CASE
        WHEN current_setting('synchronous_commit') = 'off' OR current_setting('fsync') = 'off'
        THEN ' ' || extract(epoch FROM pg_postmaster_start_time())::bigint
        ELSE ''
    END
$$;

-- Whether a commit waits for a synchronous standby.
CREATE FUNCTION roomcast.is_replicated() RETURNS boolean LANGUAGE sql STABLE AS $$
    SELECT current_setting('synchronous_standby_names') <> ''
        AND current_setting('synchronous_commit') NOT IN ('off', 'local')
$$;

-- Takes the lock. Fails with RC001 if the log has another epoch, with RC002 if it lost messages that this server has
-- seen (up to `_seen`, whose append had `_nonce`), with RC003 if the database has begun another life. The advisory lock
-- comes first because it is granted in the order of requests, and a session that waited for it finds the row as it is;
-- a session that waited for the row would have to find its new version first. With it, 6,000 publishes to three servers
-- took 1.2 s instead of 1.5 s.
CREATE FUNCTION roomcast.lock(_epoch text, _seen bigint, _nonce bigint) RETURNS roomcast.log LANGUAGE plpgsql AS $$
DECLARE
    l roomcast.log;
BEGIN
    PERFORM pg_advisory_xact_lock(7234190522766);
    SELECT * INTO l FROM roomcast.log WHERE id = 1 FOR UPDATE;
    IF l.epoch IS DISTINCT FROM _epoch THEN
        RAISE EXCEPTION 'the log has another epoch' USING ERRCODE = 'RC001';
    ELSIF l.newest < _seen OR (l.newest = _seen AND l.nonce <> _nonce) THEN
        RAISE EXCEPTION 'the log has another history' USING ERRCODE = 'RC002';
    ELSIF l.life <> roomcast.life() THEN
        RAISE EXCEPTION 'the database has begun another life' USING ERRCODE = 'RC003';
    END IF;
    RETURN l;
END $$;

-- Writes the row back, except `epoch`, `life`, `max_message` and `revoked`, which other statements write.
CREATE FUNCTION roomcast.save(l roomcast.log) RETURNS void LANGUAGE sql AS $$
    UPDATE roomcast.log SET
        newest = l.newest, newest_at = l.newest_at, durable = l.durable, trimmed = l.trimmed, messages = l.messages, bytes = l.bytes,
        deletions = l.deletions, changes = l.changes, forgotten = l.forgotten, forgotten_at = l.forgotten_at,
        nonce = l.nonce, replicated = l.replicated
    WHERE id = 1
$$;

-- The position up to which the log may be trimmed: all servers that hold back trimming and were seen within 5 s have
-- delivered up to there. `_floor`: the calling server's own position, NULL if it holds back no trimming.
CREATE FUNCTION roomcast.floor(_newest bigint, _floor bigint, _server text) RETURNS bigint LANGUAGE sql AS $$
    SELECT least(_newest, _floor, (
        SELECT min(position) FROM roomcast.servers
        WHERE server <> _server AND seen_at > clock_timestamp() - interval '5 seconds'
    ))
$$;

-- Keeps `_rooms` empty rooms and forgets those whose last messages are the oldest, at most `_most` of them.
CREATE FUNCTION roomcast.forget(l roomcast.log, _rooms int, _most int) RETURNS roomcast.log LANGUAGE plpgsql AS $$
DECLARE
    excess bigint;
    edge bigint;
    edge_at bigint;
BEGIN
    SELECT count(*) - _rooms INTO excess FROM roomcast.rooms WHERE messages = 0;
    IF excess > 0 THEN
        SELECT newest, newest_at INTO edge, edge_at FROM roomcast.rooms WHERE messages = 0
            ORDER BY newest OFFSET least(excess, _most) - 1 LIMIT 1;
        -- `edge` may be lower than before: a room with older messages may have become empty since.
        l.forgotten := greatest(l.forgotten, edge);
        l.forgotten_at := greatest(l.forgotten_at, edge_at);
        DELETE FROM roomcast.rooms WHERE messages = 0 AND newest <= edge;
    END IF;
    RETURN l;
END $$;

-- Sets times after `_now` to `_now`. Called when no retained message has such a time, or for a new epoch.
CREATE FUNCTION roomcast.begin_times(l roomcast.log, _now bigint) RETURNS roomcast.log LANGUAGE plpgsql AS $$
BEGIN
    UPDATE roomcast.rooms SET newest_at = least(newest_at, _now), trimmed_at = least(trimmed_at, _now)
        WHERE newest_at > _now OR trimmed_at > _now;
    UPDATE roomcast.keys SET stored_at = _now WHERE stored_at > _now;
    l.newest_at := least(l.newest_at, _now);
    l.forgotten_at := least(l.forgotten_at, _now);
    RETURN l;
END $$;

-- Trims the oldest messages of the whole log, up to `_end`, at most `_most`, as long as the log is over its caps.
CREATE FUNCTION roomcast.trim_oldest(
    l roomcast.log, _end bigint, _max_messages bigint, _max_bytes bigint, _oldest_at bigint, _most int
) RETURNS roomcast.log LANGUAGE plpgsql AS $$
DECLARE
    edge bigint;
    count_gone bigint;
    bytes_gone bigint;
BEGIN
    -- Rows of a deleted room are no longer in any count.
    SELECT max(seq), coalesce(sum(live), 0), coalesce(sum(size), 0) INTO edge, count_gone, bytes_gone FROM (
        SELECT
            seq, stored_at, live, size,
            sum(live) OVER so_far - live AS live_before, sum(size) OVER so_far - size AS size_before
        FROM (
            SELECT
                m.seq, m.stored_at, (p.room IS NULL)::int AS live,
                CASE WHEN p.room IS NULL THEN octet_length(m.body) ELSE 0 END AS size
            FROM (
                SELECT seq, room, stored_at, body FROM roomcast.messages
                WHERE seq > l.trimmed AND seq <= _end ORDER BY seq LIMIT _most
            ) AS m LEFT JOIN roomcast.purges AS p ON p.room = m.room AND m.seq <= p.upto
        ) AS oldest
        WINDOW so_far AS (ORDER BY seq ROWS UNBOUNDED PRECEDING)
    ) AS counted
    WHERE l.messages - live_before > _max_messages OR l.bytes - size_before > _max_bytes OR stored_at < _oldest_at;
    IF edge IS NULL THEN
        RETURN l;
    END IF;
    WITH gone AS (
        DELETE FROM roomcast.messages WHERE seq > l.trimmed AND seq <= edge
        RETURNING seq, room, stored_at, octet_length(body) AS size, deleted
    ), counted AS (
        SELECT
            gone.room, max(seq) AS seq, max(stored_at) AS at, count(*) AS messages, sum(size) AS bytes,
            coalesce(max(seq) FILTER (WHERE deleted IS NULL), 0) AS capped
        FROM gone LEFT JOIN roomcast.purges AS p ON p.room = gone.room AND gone.seq <= p.upto
        WHERE p.room IS NULL GROUP BY gone.room
    )
    UPDATE roomcast.rooms AS r SET
        trimmed = c.seq, trimmed_at = c.at, lost = r.lost + c.messages, capped = greatest(r.capped, c.capped),
        messages = r.messages - c.messages, bytes = r.bytes - c.bytes
    FROM counted AS c WHERE r.room = c.room;
    UPDATE roomcast.keys SET gone = true WHERE NOT gone AND first <= edge;
    l.trimmed := edge;
    l.messages := l.messages - count_gone;
    l.bytes := l.bytes - bytes_gone;
    RETURN l;
END $$;

-- Records for all servers that messages of a room are gone.
CREATE FUNCTION roomcast.note_cut(l roomcast.log, _room text, _upto bigint, _gone bigint) RETURNS roomcast.log
LANGUAGE plpgsql AS $$
BEGIN
    l.changes := l.changes + 1;
    INSERT INTO roomcast.cuts VALUES (l.changes, _room, _upto, _gone);
    DELETE FROM roomcast.cuts WHERE number <= l.changes - 10000;
    RETURN l;
END $$;

-- Stores a group of publishes. `_requests`: for each message the number of its request. A request whose idempotency key
-- (`_key_…`) is known is not stored; what is kept of that key is returned (`known_…`). `_nonce`: the append's random
-- number. If that append is already stored, because only its answer was lost, `again` is true and nothing is stored
-- now. `_alone`: no other server runs and could wait for the lock, so the commit may wait for the disk. `synced`: this
-- commit waits for the disk, or nothing depends on that; otherwise the server must call `sync`. `newest`, `nonce`: the
-- newest message, and the random number of its append.
CREATE FUNCTION roomcast.append(
    _epoch text, _seen bigint, _seen_nonce bigint, _nonce bigint, _now bigint, _server text,
    _rooms text[], _types text[], _bodies bytea[], _requests int[],
    _key_requests int[], _scopes text[], _keys text[], _digests bytea[],
    _floor bigint, _max_messages bigint, _max_bytes bigint, _oldest_at bigint, _empty_rooms int, _alone boolean,
    OUT again boolean, OUT synced boolean, OUT nonce bigint, OUT first bigint, OUT stored_at bigint, OUT prevs bigint[],
    OUT known_requests int[], OUT known_digests bytea[], OUT known_firsts bigint[], OUT known_counts int[],
    OUT known_ats bigint[],
    OUT room_names text[], OUT room_messages bigint[], OUT room_bytes bigint[],
    OUT newest bigint, OUT trimmed bigint, OUT messages bigint, OUT bytes bigint, OUT changes bigint
) LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    l roomcast.log;
    known roomcast.appends;
    before bigint;
    size bigint;
    count_stored bigint := 0;
    stored_rooms text[];
BEGIN
    l := roomcast.lock(_epoch, _seen, _seen_nonce);
    SELECT * INTO known FROM roomcast.appends AS a WHERE a.nonce = _nonce;
    again := FOUND;
    IF array_length(_keys, 1) > 0 THEN
        SELECT
            array_agg(asked.request), array_agg(k.digest), array_agg(k.first), array_agg(k.count),
            array_agg(k.stored_at)
        INTO known_requests, known_digests, known_firsts, known_counts, known_ats
        FROM unnest(_key_requests, _scopes, _keys) AS asked (request, scope, key)
        JOIN roomcast.keys AS k ON k.scope = asked.scope AND k.key = asked.key
        WHERE NOT k.gone OR k.stored_at > _now - 600000;
    END IF;
    IF again THEN
        first := known.first;
        stored_at := known.stored_at;
        SELECT array_agg(m.prev ORDER BY m.seq) INTO prevs
            FROM roomcast.messages AS m WHERE m.seq BETWEEN known.first AND known.last;
    ELSE
        before := l.newest;
        IF _empty_rooms >= 0 THEN
            l := roomcast.forget(l, _empty_rooms, 1000);
        END IF;
        IF l.messages = 0 AND greatest(l.newest_at, l.forgotten_at) > _now THEN
            l := roomcast.begin_times(l, _now);
        END IF;
        first := before + 1;
        stored_at := CASE WHEN l.messages > 0 THEN greatest(_now, l.newest_at) ELSE _now END;
        WITH placed AS (
            SELECT
                before + d.n AS seq, d.room, d.type, d.body,
                coalesce(lag(before + d.n) OVER own, r.newest, l.forgotten) AS prev
            FROM (
                SELECT room, type, body, row_number() OVER (ORDER BY number) AS n
                FROM unnest(_rooms, _types, _bodies, _requests)
                    WITH ORDINALITY AS given (room, type, body, request, number)
                WHERE known_requests IS NULL OR request <> ALL (known_requests)
            ) AS d LEFT JOIN roomcast.rooms AS r ON r.room = d.room
            WINDOW own AS (PARTITION BY d.room ORDER BY d.n)
        ), stored AS (
            INSERT INTO roomcast.messages (seq, room, type, stored_at, prev, body)
            SELECT p.seq, p.room, p.type, stored_at, p.prev, p.body FROM placed AS p
            RETURNING seq, room, prev, octet_length(body) AS size
        ), noted AS (
            INSERT INTO roomcast.rooms AS r (room, newest, newest_at, trimmed, trimmed_at, lost, capped, messages, bytes)
            SELECT
                s.room, max(s.seq), stored_at, l.forgotten, l.forgotten_at, l.forgotten, l.forgotten, count(*),
                sum(s.size)
            FROM stored AS s GROUP BY s.room ORDER BY s.room
            ON CONFLICT (room) DO UPDATE SET
                newest = excluded.newest, newest_at = excluded.newest_at,
                messages = r.messages + excluded.messages, bytes = r.bytes + excluded.bytes
            RETURNING r.room, r.messages, r.bytes
        )
        SELECT s.prevs, s.rooms, s.count, s.size, n.names, n.messages, n.bytes
        INTO prevs, stored_rooms, count_stored, size, room_names, room_messages, room_bytes
        FROM (
            SELECT
                array_agg(prev ORDER BY seq) AS prevs, array_agg(room ORDER BY seq) AS rooms, count(*) AS count, coalesce(sum(size), 0) AS size
            FROM stored
        ) AS s, (
            SELECT array_agg(room) AS names, array_agg(messages) AS messages, array_agg(bytes) AS bytes FROM noted
        ) AS n;
        IF count_stored > 0 THEN
            l.newest := before + count_stored;
            l.newest_at := stored_at;
            l.messages := l.messages + count_stored;
            l.bytes := l.bytes + size;
            l.nonce := _nonce;
            l.replicated := roomcast.is_replicated();
            INSERT INTO roomcast.appends (nonce, first, last, stored_at, rooms)
                VALUES (_nonce, before + 1, l.newest, stored_at, stored_rooms);
            IF array_length(_keys, 1) > 0 THEN
                INSERT INTO roomcast.keys (scope, key, digest, first, count, stored_at)
                SELECT k.scope, k.key, k.digest, before + d.first, d.count, stored_at
                FROM unnest(_key_requests, _scopes, _keys, _digests) AS k (request, scope, key, digest)
                JOIN (
                    SELECT request, min(n) AS first, count(*) AS count FROM (
                        SELECT request, row_number() OVER (ORDER BY number) AS n
                        FROM unnest(_requests) WITH ORDINALITY AS given (request, number)
                        WHERE known_requests IS NULL OR request <> ALL (known_requests)
                    ) AS numbered GROUP BY request
                ) AS d USING (request)
                ON CONFLICT (scope, key) DO UPDATE SET
                    digest = excluded.digest, first = excluded.first, count = excluded.count,
                    stored_at = excluded.stored_at, gone = false;
            END IF;
            -- Trims at most twice what is added, plus 8, so that no commit takes longer however far the log is over its
            -- caps.
            IF l.messages > _max_messages OR l.bytes > _max_bytes OR _oldest_at >= 0 THEN
                l := roomcast.trim_oldest(
                    l, roomcast.floor(before, _floor, _server), _max_messages, _max_bytes, _oldest_at,
                    (2 * count_stored + 8)::int
                );
            END IF;
            IF _alone THEN
                l.durable := l.newest;
            ELSE
                PERFORM set_config('synchronous_commit', 'off', true);
            END IF;
            PERFORM roomcast.save(l);
        END IF;
    END IF;
    synced := CASE WHEN again THEN false WHEN count_stored > 0 THEN _alone ELSE known_requests IS NULL END;
    newest := l.newest;
    nonce := l.nonce;
    trimmed := l.trimmed;
    messages := l.messages;
    bytes := l.bytes;
    changes := l.changes;
END $$;

-- Waits until all messages up to `_newest`, whose append had `_nonce`, are on the disk: it writes a row of `synced`,
-- so its commit waits for the disk. Returns whether the log has that append. By now the connection may be to another
-- primary, which never got it.
CREATE FUNCTION roomcast.sync(_server text, _epoch text, _newest bigint, _nonce bigint) RETURNS boolean LANGUAGE sql AS $$
    WITH written AS (
        INSERT INTO roomcast.synced AS s (server, epoch, seq)
        SELECT _server, l.epoch, a.last FROM roomcast.log AS l, roomcast.appends AS a
        WHERE l.id = 1 AND l.epoch = _epoch AND a.nonce = _nonce AND a.last = _newest
        ON CONFLICT (server, epoch) DO UPDATE SET seq = greatest(s.seq, excluded.seq)
        RETURNING seq
    )
    SELECT EXISTS (SELECT 1 FROM written)
$$;

-- One step of trimming: rooms over their rules, the oldest of the whole log, rows of deleted rooms; at most `_most` of
-- each. `still_over`: the rooms of `_rooms` that may have more to go; `more`: whether anything else may.
CREATE FUNCTION roomcast.trim(
    _epoch text, _seen bigint, _seen_nonce bigint, _server text,
    _floor bigint, _max_messages bigint, _max_bytes bigint, _oldest_at bigint, _most int, _empty_rooms int,
    _rooms text[], _room_messages bigint[], _room_bytes bigint[], _room_oldest_at bigint[],
    OUT still_over text[], OUT more boolean,
    OUT newest bigint, OUT trimmed bigint, OUT messages bigint, OUT bytes bigint, OUT changes bigint
) LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    l roomcast.log;
    was roomcast.log;
    r roomcast.rooms;
    edge bigint;
    budget int := _most;
    going bigint[];
    going_bytes bigint;
    going_capped bigint;
    going_at bigint;
BEGIN
    l := roomcast.lock(_epoch, _seen, _seen_nonce);
    was := l;
    still_over := '{}';
    more := false;
    edge := roomcast.floor(l.newest, _floor, _server);
    IF _empty_rooms >= 0 THEN
        l := roomcast.forget(l, _empty_rooms, 1000);
    END IF;
    FOR i IN 1 .. coalesce(array_length(_rooms, 1), 0) LOOP
        IF budget <= 0 THEN
            still_over := still_over || _rooms[i:];
            EXIT;
        END IF;
        SELECT * INTO r FROM roomcast.rooms WHERE room = _rooms[i];
        CONTINUE WHEN NOT FOUND;
        SELECT array_agg(seq ORDER BY seq), sum(octet), max(seq) FILTER (WHERE deleted IS NULL), max(stored)
        INTO going, going_bytes, going_capped, going_at FROM (
            SELECT
                m.seq, m.stored_at AS stored, m.deleted, octet_length(m.body) AS octet,
                row_number() OVER so_far AS n, sum(octet_length(m.body)) OVER so_far - octet_length(m.body) AS before
            FROM (
                SELECT seq, stored_at, deleted, body FROM roomcast.messages
                WHERE room = _rooms[i] AND seq > r.trimmed AND seq <= edge ORDER BY seq LIMIT budget
            ) AS m
            WINDOW so_far AS (ORDER BY m.seq ROWS UNBOUNDED PRECEDING)
        ) AS oldest
        WHERE r.messages - n + 1 > _room_messages[i] OR r.bytes - before > _room_bytes[i]
            OR stored < _room_oldest_at[i];
        IF going IS NOT NULL THEN
            DELETE FROM roomcast.messages WHERE seq = ANY (going);
            UPDATE roomcast.keys SET gone = true WHERE NOT gone AND first = ANY (going);
            budget := budget - cardinality(going);
            r.messages := r.messages - cardinality(going);
            r.bytes := r.bytes - going_bytes;
            r.lost := r.lost + cardinality(going);
            r.capped := greatest(r.capped, going_capped);
            UPDATE roomcast.rooms SET
                trimmed = going[cardinality(going)], trimmed_at = going_at, lost = r.lost, capped = r.capped,
                messages = r.messages, bytes = r.bytes
            WHERE room = r.room;
            l.messages := l.messages - cardinality(going);
            l.bytes := l.bytes - going_bytes;
            l := roomcast.note_cut(l, r.room, going[cardinality(going)], cardinality(going));
        END IF;
        IF r.messages > _room_messages[i] OR r.bytes > _room_bytes[i] OR budget <= 0 THEN
            still_over := still_over || r.room;
        END IF;
    END LOOP;
    IF l.messages > _max_messages OR l.bytes > _max_bytes OR _oldest_at >= 0 THEN
        l := roomcast.trim_oldest(l, edge, _max_messages, _max_bytes, _oldest_at, _most);
        more := l.messages > _max_messages OR l.bytes > _max_bytes OR (_oldest_at >= 0 AND l.trimmed >= was.trimmed + _most);
    END IF;
    IF EXISTS (SELECT 1 FROM roomcast.purges) THEN
        WITH gone AS (
            DELETE FROM roomcast.messages WHERE seq IN (
                SELECT m.seq FROM roomcast.purges AS p
                CROSS JOIN LATERAL (
                    SELECT seq FROM roomcast.messages WHERE room = p.room AND seq <= p.upto LIMIT _most
                ) AS m LIMIT _most
            ) RETURNING seq
        )
        UPDATE roomcast.keys SET gone = true FROM gone WHERE NOT keys.gone AND keys.first = gone.seq;
        DELETE FROM roomcast.purges AS p WHERE NOT EXISTS (
            SELECT 1 FROM roomcast.messages AS m WHERE m.room = p.room AND m.seq <= p.upto
        );
        more := more OR EXISTS (SELECT 1 FROM roomcast.purges);
    END IF;
    IF l IS DISTINCT FROM was THEN
        PERFORM roomcast.save(l);
    END IF;
    newest := l.newest;
    trimmed := l.trimmed;
    messages := l.messages;
    bytes := l.bytes;
    changes := l.changes;
END $$;

-- Deletes one message: an empty row stays in its place until the caps remove it. Returns whether the message was
-- retained.
CREATE FUNCTION roomcast.delete_message(_epoch text, _seen bigint, _seen_nonce bigint, _seq bigint) RETURNS boolean
LANGUAGE plpgsql AS $$
DECLARE
    l roomcast.log;
    found_room text;
    size bigint;
BEGIN
    l := roomcast.lock(_epoch, _seen, _seen_nonce);
    SELECT m.room, octet_length(m.body) INTO found_room, size
        FROM roomcast.messages AS m JOIN roomcast.rooms AS r ON r.room = m.room
        WHERE m.seq = _seq AND m.deleted IS NULL AND m.seq > r.trimmed;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    l.deletions := l.deletions + 1;
    l.bytes := l.bytes - size;
    UPDATE roomcast.messages SET deleted = l.deletions, type = NULL, body = '' WHERE seq = _seq;
    UPDATE roomcast.rooms SET bytes = bytes - size WHERE room = found_room;
    l := roomcast.note_cut(l, found_room, _seq, 1);
    PERFORM roomcast.save(l);
    RETURN true;
END $$;

-- Deletes all messages of a room: its row says that all up to its newest are gone, and the messages' rows are removed
-- in steps.
CREATE FUNCTION roomcast.delete_room(_epoch text, _seen bigint, _seen_nonce bigint, _room text) RETURNS boolean
LANGUAGE plpgsql AS $$
DECLARE
    l roomcast.log;
    r roomcast.rooms;
BEGIN
    l := roomcast.lock(_epoch, _seen, _seen_nonce);
    SELECT * INTO r FROM roomcast.rooms WHERE room = _room AND messages > 0;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    INSERT INTO roomcast.purges VALUES (_room, r.newest) ON CONFLICT (room) DO UPDATE SET upto = excluded.upto;
    UPDATE roomcast.rooms SET
        lost = lost + messages, trimmed = newest, trimmed_at = newest_at, messages = 0, bytes = 0
    WHERE room = _room;
    l.messages := l.messages - r.messages;
    l.bytes := l.bytes - r.bytes;
    l := roomcast.note_cut(l, _room, r.newest, r.messages);
    PERFORM roomcast.save(l);
    RETURN true;
END $$;

-- Decides under which epoch the log goes on in this life of the database. `_seen` and `_nonce`: the history that the
-- calling server knows, `_seen` = 0 if it knows none; `_anew`: begin a new epoch in any case. The epoch changes if
-- acknowledged messages may be gone: if the server's newest message is missing, or if the life is a new one and the
-- last append did not wait for a standby. If another server has begun an epoch since `_epoch`, that one is taken. This
-- commit waits for the disk, so all messages are durable afterwards.
CREATE FUNCTION roomcast.begin_life(
    _epoch text, _seen bigint, _nonce bigint, _new_epoch text, _anew boolean, _now bigint,
    OUT epoch text, OUT begun boolean, OUT timed bigint
) LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    l roomcast.log;
    here text := roomcast.life();
    forked boolean;
BEGIN
    SELECT * INTO l FROM roomcast.log WHERE id = 1 FOR UPDATE;
    -- If that append's row was removed from `appends` meanwhile, it is enough that the log reaches `_seen`.
    forked := _epoch = l.epoch AND (
        l.newest < _seen OR (l.newest = _seen AND l.nonce <> _nonce) OR EXISTS (
            SELECT 1 FROM roomcast.appends AS a WHERE a.first <= _seen AND a.last >= _seen AND a.nonce <> _nonce
        )
    );
    begun := _anew OR forked OR (l.life <> here AND NOT l.replicated);
    timed := 0;
    IF _anew THEN
        UPDATE roomcast.messages SET stored_at = _now WHERE stored_at > _now;
        GET DIAGNOSTICS timed = ROW_COUNT;
        l := roomcast.begin_times(l, _now);
        PERFORM roomcast.save(l);
    END IF;
    epoch := CASE WHEN begun THEN _new_epoch ELSE l.epoch END;
    IF begun OR l.life <> here OR l.durable <> l.newest THEN
        UPDATE roomcast.log SET epoch = begin_life.epoch, life = here, durable = newest WHERE id = 1;
    END IF;
END $$;

-- Publishes inside the caller's own transaction: the message exists if and only if that commits. It neither waits for a
-- lock of the log nor holds one, since a server moves it to the log afterwards. `message`: a JSON object as for POST
-- /messages, without its room; it is text, since `jsonb` changes numbers. `notify`: a server moves it at once
-- instead of at its next poll. That takes a lock of the whole database server when the transaction commits.
CREATE FUNCTION roomcast.publish(room text, message text, notify boolean DEFAULT false) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on AS $$
DECLARE
    no_controls constant text := '[^\u0001-\u001f\u007f-\u009f]';
    name text;
    value json;
    content boolean := false;
    named boolean := false;
    size int;
    most int;
BEGIN
    IF publish.room IS NULL OR publish.room !~ ('^(?!\$)' || no_controls || '{1,128}$') THEN
        RAISE EXCEPTION 'room must be 1 to 128 characters, no control characters, not starting with $'
            USING ERRCODE = 'invalid_parameter_value';
    ELSIF publish.message IS NULL OR json_typeof(publish.message::json) <> 'object' THEN
        RAISE EXCEPTION 'message must be a JSON object such as {"text": "…"}' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    FOR name, value IN SELECT * FROM json_each(publish.message::json) LOOP
        IF name = 'text' AND (json_typeof(value) <> 'string' OR value #>> '{}' = '') THEN
            RAISE EXCEPTION 'text must be a string of at least one character' USING ERRCODE = 'invalid_parameter_value';
        ELSIF name = 'user' AND (
            json_typeof(value) <> 'string' OR value #>> '{}' !~ ('^' || no_controls || '{1,128}$')
        ) THEN
            RAISE EXCEPTION 'user must be 1 to 128 characters, no control characters'
                USING ERRCODE = 'invalid_parameter_value';
        ELSIF name = 'type' AND (
            json_typeof(value) <> 'string' OR value #>> '{}' ~ '^(gap|live|open|error|message|roomcast\..*)$'
            OR value #>> '{}' !~ '^[^\u0001-\u001f\u007f-\u009f\u2028\u2029]{1,64}$'
        ) THEN
            RAISE EXCEPTION 'type must be 1 to 64 characters, no control characters and no line or paragraph separators, '
                'none of the reserved gap, live, open, error, message, and not starting with roomcast.'
                USING ERRCODE = 'invalid_parameter_value';
        ELSIF name NOT IN ('text', 'user', 'type', 'data') THEN
            RAISE EXCEPTION 'message has an unknown field %: use text, data, user, type', to_json(name)
                USING ERRCODE = 'invalid_parameter_value';
        END IF;
        content := content OR name IN ('text', 'data');
        named := named OR name = 'user';
    END LOOP;
    IF NOT content THEN
        RAISE EXCEPTION 'message has neither text nor data' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    -- The most bytes that the message takes when stored: with its room and user, and with those characters escaped that
    -- end a line for some readers. So no message that is accepted here is too large for the server.
    size := octet_length(publish.message) + octet_length('"room":,') + octet_length(to_json(publish.room)::text)
        + CASE WHEN named THEN 0 ELSE octet_length('"user":"anonymous",') END
        + 3 * (length(publish.message) - length(translate(publish.message, E'\u2028\u2029', '')))
        + 3 * (length(publish.room) - length(translate(publish.room, E'\u2028\u2029', '')))
        + 4 * (length(publish.message) - length(translate(publish.message, E'\u0085', '')));
    SELECT max_message INTO most FROM roomcast.log WHERE id = 1;
    IF size > most THEN
        RAISE EXCEPTION 'the message takes % bytes when stored, more than the % that one may have', size, most
            USING ERRCODE = 'program_limit_exceeded';
    END IF;
    INSERT INTO roomcast.outbox (room, message) VALUES (publish.room, publish.message);
    IF publish.notify THEN
        PERFORM pg_notify('roomcast', 'outbox');
    END IF;
END $$;

REVOKE ALL ON ALL FUNCTIONS IN SCHEMA roomcast FROM PUBLIC;
