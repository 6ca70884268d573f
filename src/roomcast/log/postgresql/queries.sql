-- Every query has a name, and a line that says what it does. Each query that reads the log is one statement, and so
-- sees one snapshot.
--
-- Messages come as arrays, one per field: asyncpg decodes a thousand of them in 0.5 ms, as rows in 1.5 ms.

-- settings --
-- Settings of our connections. {local} is LOCAL behind a pooler, where a connection is ours for one transaction only.
-- Tables that were never analyzed look small, and a plan made then must not scan them when they have grown. A disabled
-- method that is still needed counts as so expensive that JIT compilation would always seem worth it. The timeouts of
-- locks and statements end before _CALL_SECONDS in connection.py, when the client would close the connection
SET {local} jit = off; SET {local} enable_seqscan = off; SET {local} enable_hashjoin = off;
SET {local} enable_mergejoin = off; SET {local} enable_bitmapscan = off; SET {local} plan_cache_mode = force_generic_plan;
SET {local} lock_timeout = '5s'; SET {local} statement_timeout = '9s';
SET {local} idle_in_transaction_session_timeout = '10s'; SET {local} default_transaction_isolation = 'read committed';
SET {local} roomcast.server = 'on';

-- identify --
-- The kind of database: whether it is a standby, its encoding and version, whether commits wait for the disk, and
-- whether it has the schema
SELECT
    pg_is_in_recovery() AS standby, current_setting('server_encoding') AS encoding,
    current_setting('server_version_num')::int AS version,
    current_setting('synchronous_commit') = 'off' AS commit_off, current_setting('fsync') = 'off' AS fsync_off,
    to_regclass('roomcast.version') IS NOT NULL AS made;

-- find_publisher --
-- Whether the role for publishing in SQL still needs its grants; no row if there is no such role
SELECT NOT has_function_privilege(r.oid, 'roomcast.publish(text, text, boolean)', 'EXECUTE') AS barred
FROM pg_catalog.pg_roles AS r WHERE rolname = 'roomcast_publisher';

-- admit_publisher --
-- Grants that role what it needs
GRANT USAGE ON SCHEMA roomcast TO roomcast_publisher;
GRANT EXECUTE ON FUNCTION roomcast.publish(text, text, boolean) TO roomcast_publisher;

-- note_limit --
-- Stores the most bytes of a message, for `publish`
UPDATE roomcast.log SET max_message = $1 WHERE id = 1 AND max_message <> $1;

-- lock_outbox --
-- Only one server at a time moves the outbox, so that messages of one connection keep their order. The lock is a
-- statement of its own: the snapshot of a statement that both locks and reads could be older than the lock, and show
-- messages that the previous holder has moved
SELECT pg_try_advisory_xact_lock(7234190522765) AS ours;

-- take_outbox --
-- Removes and returns the first messages of the outbox
DELETE FROM roomcast.outbox WHERE id IN (SELECT id FROM roomcast.outbox ORDER BY id LIMIT $1)
RETURNING id, room, message, at;

-- refuse_outbox --
-- Keeps messages that cannot be moved, and why
INSERT INTO roomcast.outbox_refused (id, room, message, at, why)
SELECT * FROM unnest($1::bigint[], $2::text[], $3::text[], $4::timestamptz[], $5::text[]);

-- load_version --
-- The schema's version
SELECT number AS version, least FROM roomcast.version;

-- lock_schema --
-- Held while the schema is created or changed: if several servers start at once, only one does it
SELECT pg_advisory_xact_lock(7234190522764);

-- make_log --
-- Inserts the one row into a new schema
INSERT INTO roomcast.log (id, epoch, life) VALUES (1, $1, roomcast.life()) ON CONFLICT DO NOTHING;

-- begin_life --
-- Decides under which epoch the log goes on in this life of the database
SELECT epoch, begun, timed FROM roomcast.begin_life($1, $2, $3, $4, $5, $6);

-- load_log --
-- The log as a whole
SELECT
    epoch, newest, trimmed, messages, bytes, changes, nonce,
    coalesce((
        SELECT m.stored_at FROM roomcast.messages AS m JOIN roomcast.rooms AS r ON r.room = m.room
        WHERE m.seq > l.trimmed AND m.seq > r.trimmed ORDER BY m.seq LIMIT 1
    ), 0) AS oldest_at
FROM roomcast.readable AS l;

-- load_news --
-- The log as a whole, with the first messages after a seq: at most $2, and fewer if their bodies exceed $3 bytes; the
-- schema's version; the current life of the database; whether servers other than $4 run; and whether something waits in
-- the outbox
SELECT
    v.number AS version, v.least,
    l.epoch, l.newest, l.trimmed, l.messages, l.bytes, l.changes, l.nonce, l.stored, l.stored_nonce, l.life, roomcast.life() AS here,
    EXISTS (SELECT 1 FROM roomcast.servers WHERE server <> $4) AS others,
    EXISTS (SELECT 1 FROM roomcast.outbox) AS outbox,
    n.seqs, n.rooms, n.types, n.stored_ats, n.prevs, n.bodies
FROM roomcast.version AS v, roomcast.readable AS l CROSS JOIN LATERAL (
    {arrays} FROM (
        SELECT *, sum(octet_length(body)) OVER (ORDER BY seq) - octet_length(body) AS before FROM (
            SELECT seq, room, type, stored_at, prev, body FROM roomcast.messages AS m
            WHERE seq > $1 AND seq > l.trimmed AND seq <= l.newest AND deleted IS NULL AND NOT EXISTS (
                SELECT 1 FROM roomcast.purges AS p WHERE p.room = m.room AND m.seq <= p.upto
            ) ORDER BY seq LIMIT $2
        ) AS first
    ) AS found WHERE before < $3
) AS n;

-- arrays --
-- Messages, oldest first
SELECT
    array_agg(seq ORDER BY seq) AS seqs, array_agg(room ORDER BY seq) AS rooms, array_agg(type ORDER BY seq) AS types,
    array_agg(stored_at ORDER BY seq) AS stored_ats, array_agg(prev ORDER BY seq) AS prevs,
    array_agg(body ORDER BY seq) AS bodies;

-- load_cuts --
-- The removals after change $1, up to change $2
SELECT room, upto, gone
FROM roomcast.cuts WHERE number > $1 AND number <= $2 ORDER BY number;

-- tell_others --
-- Notifies the other servers. It is a transaction of its own, after the commit: a transaction that notifies takes a
-- lock of the whole database server when it commits
SELECT pg_notify('roomcast', $1);

-- note_server --
-- Records that this server runs, and up to where it has delivered
INSERT INTO roomcast.servers VALUES ($1, $2, clock_timestamp())
ON CONFLICT (server) DO UPDATE SET position = excluded.position, seen_at = excluded.seen_at;

-- end_server --
-- Removes this server
DELETE FROM roomcast.servers WHERE server = $1;

-- forget_servers --
-- Removes what no server needs any more: servers that were not seen for a minute, rows of `synced` from ended servers
-- and other epochs, and appends that are older than 10 minutes and than the newest $1 messages
WITH ended AS (
    DELETE FROM roomcast.servers WHERE seen_at < clock_timestamp() - interval '1 minute'
), unsynced AS (
    DELETE FROM roomcast.synced AS s USING roomcast.log AS l
    WHERE s.epoch <> l.epoch OR (s.seq <= l.durable AND s.server NOT IN (SELECT server FROM roomcast.servers))
)
DELETE FROM roomcast.appends
WHERE last <= (SELECT newest - $1 FROM roomcast.log WHERE id = 1)
    AND at < clock_timestamp() - interval '10 minutes';

-- begin_register --
-- The message after which the stored appends begin
SELECT epoch, coalesce((SELECT first - 1 FROM roomcast.appends ORDER BY last LIMIT 1), newest) AS since
FROM roomcast.readable;

-- load_register --
-- The first durable appends after a message, with the rooms of their messages
SELECT a.first, a.last, a.rooms FROM roomcast.readable AS l JOIN roomcast.appends AS a ON a.last <= l.newest
WHERE a.last > $1 ORDER BY a.last LIMIT $2;

-- forget_keys --
-- Removes keys whose first message is gone: those stored up to $1, and those beyond the newest $2; at most 1,000 at
-- once
DELETE FROM roomcast.keys WHERE (scope, key) IN (
    SELECT scope, key FROM roomcast.keys WHERE gone ORDER BY stored_at
    LIMIT least(1000, greatest(
        (SELECT count(*) FROM roomcast.keys WHERE gone AND stored_at <= $1),
        (SELECT count(*) FROM roomcast.keys WHERE gone) - $2
    ))
);

-- append --
-- Stores a group of publishes
SELECT * FROM roomcast.append(
    $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20
);

-- sync --
-- Waits until all messages up to one are on the disk; false if the log does not have that one
SELECT roomcast.sync($1, $2, $3, $4) AS found;

-- trim --
-- One step of trimming
SELECT * FROM roomcast.trim($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14);

-- load_revoked --
-- The revocations, if their version is not $1
SELECT l.revoked AS version, r.* FROM roomcast.log AS l LEFT JOIN roomcast.revoked AS r ON l.revoked <> $1
WHERE l.id = 1;

-- forget_revoked --
-- Removes revocations before a time
DELETE FROM roomcast.revoked WHERE before < $1;

-- revoke --
-- Keeps a revocation; of two for the same person and issuer the later one
INSERT INTO roomcast.revoked AS r (sub, iss, before) VALUES ($1, $2, $3)
ON CONFLICT (sub, iss) DO UPDATE SET before = greatest(r.before, excluded.before);

-- count_revoked --
-- Counts a change of the revocations
UPDATE roomcast.log SET revoked = revoked + 1 WHERE id = 1;

-- delete_message --
-- Deletes one message
SELECT roomcast.delete_message($1, $2, $3, $4) AS found;

-- delete_room --
-- Deletes all messages of a room
SELECT roomcast.delete_room($1, $2, $3, $4) AS found;

-- walk_rooms --
-- The first rooms after a name that have messages: how much they have, and when their oldest message was stored
SELECT room, messages, bytes, coalesce((
    SELECT stored_at FROM roomcast.messages AS m WHERE m.room = r.room AND m.seq > r.trimmed ORDER BY seq LIMIT 1
), 0) AS oldest_at
FROM roomcast.rooms AS r WHERE room > $1 AND messages > 0 ORDER BY room LIMIT $2;

-- find_rooms --
-- At most $5 rooms of a selection: the names $1, and of the names from $2 to before $3 those with messages after $4
SELECT l.epoch, l.newest, ARRAY(
    SELECT room FROM (
        SELECT named.room FROM unnest($1::text[]) AS named (room)
        UNION
        SELECT r.room FROM unnest($2::text[], $3::text[]) AS span (first, past) CROSS JOIN LATERAL (
            SELECT room FROM roomcast.rooms
            WHERE room >= span.first AND room < span.past AND newest > $4 AND messages > 0 LIMIT $5
        ) AS r
    ) AS found LIMIT $5
) AS rooms
FROM roomcast.readable AS l;

-- page --
-- The first messages of some rooms ($1, and spans $2 to $3 of names) with $4 < seq <= $5: at most $6, and until their
-- bodies have grown to $7; what is lost of the rooms after $4; the oldest they retain; and what was deleted one by one
WITH l AS MATERIALIZED (
    SELECT epoch, newest, deletions, forgotten, forgotten_at FROM roomcast.readable
), found AS MATERIALIZED (
    SELECT *, sum(octet_length(body)) OVER (ORDER BY seq) - octet_length(body) AS before FROM (
        SELECT m.seq, m.room, m.type, m.stored_at, m.prev, m.body FROM (
            {picked}
        ) AS picked JOIN roomcast.messages AS m USING (seq)
        ORDER BY m.seq LIMIT $6
    ) AS first
), p AS (
    {arrays}, count(*) AS count,
    coalesce(sum(octet_length(body)), 0) AS size
    FROM found WHERE before < $7
), lost AS (
    SELECT array_agg(room) AS names, array_agg(trimmed) AS ends, array_agg(trimmed_at) AS ats,
        array_agg(lost) AS counts, array_agg(capped) AS caps FROM ({known}) AS known
), gone AS (
    SELECT array_agg(room) AS names, array_agg(seq) AS seqs, array_agg(deleted) AS numbers FROM ({deleted}) AS deleted
)
SELECT
    l.epoch, l.newest, l.deletions, l.forgotten, l.forgotten_at,
    p.seqs, p.rooms, p.types, p.stored_ats, p.prevs, p.bodies, p.count >= $6 OR p.size >= $7 AS cut,
    lost.names AS lost_rooms, lost.ends AS lost_ends, lost.ats AS lost_ats, lost.counts AS lost_counts,
    lost.caps AS lost_caps,
    gone.names AS deleted_rooms, gone.seqs AS deleted_seqs, gone.numbers AS deletion_numbers,
    CASE WHEN gone.seqs IS NOT NULL OR EXISTS (SELECT 1 FROM unnest(lost.ends) AS e WHERE e > $4) OR l.forgotten > $4
        THEN ({oldest}) END AS oldest
FROM l, p, lost, gone;

-- pick_rooms --
-- The messages of the rooms $8; those of each room are found by the index on room and seq
SELECT arm.seq FROM l CROSS JOIN unnest($8::text[]) AS named (room)
LEFT JOIN roomcast.rooms AS r ON r.room = named.room
CROSS JOIN LATERAL (
    SELECT seq FROM roomcast.messages AS m
    WHERE m.room = named.room AND m.seq > greatest($4, r.trimmed) AND m.seq <= least($5, l.newest)
        AND m.deleted IS NULL ORDER BY m.seq LIMIT $6
) AS arm ORDER BY arm.seq LIMIT $6;

-- pick_many --
-- The messages of a selection of very many rooms: walks the log, and compares each message's room
SELECT m.seq FROM l CROSS JOIN roomcast.messages AS m
WHERE m.seq > $4 AND m.seq <= least($5, l.newest) AND m.deleted IS NULL AND {chosen} AND {live}
ORDER BY m.seq LIMIT $6;

-- chosen --
-- A message's room is of the selection
(m.room = ANY ($1::text[]) OR EXISTS (
    SELECT 1 FROM unnest($2::text[], $3::text[]) AS span (first, past) WHERE m.room >= first AND m.room < past
));

-- live --
-- The row does not belong to a deleted room
NOT EXISTS (SELECT 1 FROM roomcast.purges AS p WHERE p.room = m.room AND m.seq <= p.upto);

-- known --
-- Of a selection, the known rooms by name, and the rooms by prefix that lost messages after a seq
SELECT room, trimmed, trimmed_at, lost, capped FROM roomcast.rooms WHERE room = ANY ($1::text[])
UNION
SELECT r.room, trimmed, trimmed_at, lost, capped
FROM unnest($2::text[], $3::text[]) AS span (first, past)
JOIN roomcast.rooms AS r ON r.room >= span.first AND r.room < span.past WHERE r.trimmed > $4;

-- deleted --
-- The messages of a selection that were deleted one by one, up to the end of the page: a page may pass any number of
-- them. They have an index of their own
SELECT m.room, m.seq, m.deleted FROM roomcast.messages AS m
WHERE m.deleted IS NOT NULL AND m.seq > $4 AND m.seq <= (
    SELECT CASE WHEN p.count >= $6 OR p.size >= $7 THEN p.seqs[p.count] ELSE $5 END FROM p
) AND {chosen} AND {live} ORDER BY m.seq;

-- oldest --
-- The oldest message of a selection
SELECT min(first.seq) FROM (
    SELECT room, trimmed FROM roomcast.rooms WHERE room = ANY ($1::text[]) AND messages > 0
    UNION
    SELECT r.room, r.trimmed FROM unnest($2::text[], $3::text[]) AS span (first, past)
    JOIN roomcast.rooms AS r ON r.room >= span.first AND r.room < span.past WHERE r.messages > 0
) AS r CROSS JOIN LATERAL (
    SELECT seq FROM roomcast.messages AS m WHERE m.room = r.room AND m.seq > r.trimmed ORDER BY m.seq LIMIT 1
) AS first;

-- get --
-- One message
SELECT l.epoch, n.* FROM roomcast.readable AS l CROSS JOIN LATERAL (
    {arrays} FROM roomcast.messages AS m WHERE m.seq = $1 AND m.seq <= l.newest AND m.deleted IS NULL AND {live}
) AS n;

-- seek_newest --
-- The oldest of the newest $3 messages of some rooms ($1) up to $2
SELECT l.epoch, l.newest, (SELECT min(seq) FROM (
    SELECT arm.seq FROM unnest($1::text[]) AS named (room)
    JOIN roomcast.rooms AS r ON r.room = named.room
    CROSS JOIN LATERAL (
        SELECT seq FROM roomcast.messages AS m
        WHERE m.room = named.room AND m.seq > r.trimmed AND m.seq <= least($2, l.newest) AND m.deleted IS NULL
        ORDER BY m.seq DESC LIMIT $3
    ) AS arm ORDER BY arm.seq DESC LIMIT $3
) AS newest) AS oldest
FROM roomcast.readable AS l;

-- seek_newest_of_many --
-- The same for a selection of very many rooms
SELECT l.epoch, l.newest, (SELECT min(seq) FROM (
    SELECT m.seq FROM roomcast.messages AS m
    WHERE m.seq <= least($4, l.newest) AND m.deleted IS NULL AND {chosen} AND {live}
    ORDER BY m.seq DESC LIMIT $5
) AS newest) AS oldest
FROM roomcast.readable AS l;

-- seek_time --
-- The newest message stored before a time ($4): times never fall, so this is a binary search. The middle of a range may
-- be a hole
WITH RECURSIVE search (low, high) AS (
    SELECT trimmed, newest FROM roomcast.readable
    UNION ALL
    SELECT
        CASE WHEN coalesce(m.stored_at < $4, true) THEN (low + high + 1) / 2 ELSE low END,
        CASE WHEN coalesce(m.stored_at < $4, true) THEN high ELSE m.seq - 1 END
    FROM search LEFT JOIN LATERAL (
        SELECT seq, stored_at FROM roomcast.messages
        WHERE seq > low AND seq <= (low + high + 1) / 2 ORDER BY seq DESC LIMIT 1
    ) AS m ON true
    WHERE low < high
)
SELECT
    l.epoch, l.forgotten, l.forgotten_at,
    coalesce((
        SELECT seq FROM roomcast.messages WHERE seq <= (SELECT max(low) FROM search) ORDER BY seq DESC LIMIT 1
    ), 0) AS position,
    k.names AS lost_rooms, k.ends AS lost_ends, k.ats AS lost_ats, k.counts AS lost_counts, k.caps AS lost_caps
FROM roomcast.readable AS l, (
    SELECT array_agg(room) AS names, array_agg(trimmed) AS ends, array_agg(trimmed_at) AS ats,
        array_agg(lost) AS counts, array_agg(capped) AS caps FROM (
        SELECT room, trimmed, trimmed_at, lost, capped FROM roomcast.rooms WHERE room = ANY ($1::text[])
        UNION
        SELECT r.room, trimmed, trimmed_at, lost, capped
        FROM unnest($2::text[], $3::text[]) AS span (first, past)
        JOIN roomcast.rooms AS r ON r.room >= span.first AND r.room < span.past WHERE r.trimmed > 0 AND r.trimmed_at < $4
    ) AS known
) AS k;

-- rooms_by_name --
-- A page of the rooms that have messages, by name: from $1 to before $2, and unless $3 is true only after $4
SELECT room, messages, newest, newest_at, {oldest_of_room} AS oldest_at FROM roomcast.rooms AS r
WHERE room >= $1 AND room < $2 AND ($3 OR room > $4) AND messages > 0 ORDER BY room LIMIT $5;

-- rooms_by_newest --
-- A page of the rooms that have messages, the newest first: those whose newest message comes before $3
SELECT room, messages, newest, newest_at, {oldest_of_room} AS oldest_at FROM roomcast.rooms AS r
WHERE room >= $1 AND room < $2 AND newest < $3 AND messages > 0 ORDER BY newest DESC LIMIT $4;

-- oldest_of_room --
-- When the oldest message of a listed room was stored
(SELECT m.stored_at FROM roomcast.messages AS m WHERE m.room = r.room AND m.seq > r.trimmed ORDER BY m.seq LIMIT 1);
