-- Every query has a name, and a line that says what it does.
--
-- A step into SQLite gives up the interpreter's lock and waits to get it back, up to 5 ms while the event loop is
-- busy. So all messages are stored, and read, in one step: their fields as one JSON array, their bodies as one blob.
-- Beside a busy thread, 1,000 messages were stored in 10 ms like this, and in 420 ms row by row.

-- load_state --
-- The log as a whole
SELECT newest, newest_at, trimmed, bytes, forgotten, forgotten_at, messages, deletions FROM state;

-- load_bounds --
-- How far the log reaches, how much it retains, and when its oldest message was stored; 0 if it has none
SELECT trimmed, newest, bytes, messages, coalesce((SELECT stored_at FROM messages ORDER BY seq LIMIT 1), 0)
FROM state;

-- load_last_run --
-- The epoch that the last server wrote, how it waited for the disk, and whether it closed the log
SELECT epoch, synchronous, clean FROM state;

-- mark_open --
-- A server opens the log
UPDATE state SET epoch = :epoch, synchronous = :synchronous, clean = 0;

-- end_epoch --
-- Makes the next server begin a new epoch
UPDATE state SET epoch = '';

-- clamp_times --
-- Moves all times after `now` to `now`. `position`: the last message whose time stays. As times never decrease, those
-- of all later messages are moved
UPDATE messages SET stored_at = :now WHERE seq > :position;
UPDATE rooms SET newest_at = min(newest_at, :now), trimmed_at = min(trimmed_at, :now)
WHERE newest_at > :now OR trimmed_at > :now;
UPDATE keys SET stored_at = :now WHERE stored_at > :now;
UPDATE state SET newest_at = min(newest_at, :now), forgotten_at = min(forgotten_at, :now);

-- mark_clean --
-- A server closes the log
UPDATE state SET clean = 1;

-- load_totals --
-- The oldest and newest message, and the sums over the rooms, to compare with the state; and how many deleted rooms
-- have rows left. The two lengths are not compared: they are there so that both rows are read
SELECT
    (SELECT min(seq) FROM messages), (SELECT max(seq) FROM messages),
    (SELECT octet_length(body) FROM messages ORDER BY seq LIMIT 1),
    (SELECT octet_length(body) FROM messages ORDER BY seq DESC LIMIT 1),
    (SELECT coalesce(sum(messages), 0) FROM rooms), (SELECT coalesce(sum(bytes), 0) FROM rooms),
    (SELECT count(*) FROM purges);

-- is_small --
-- Whether the database has at most `bytes` bytes
SELECT page_count * page_size <= :bytes FROM pragma_page_count, pragma_page_size;

-- check_pages --
-- SQLite's own check of pages and indexes
PRAGMA integrity_check(1);

-- count_contradictions --
-- How many rooms contradict their messages, by the index alone: 0.1 s of CPU for a million messages
SELECT count(*) FROM (
    SELECT room, count(*) AS messages, max(seq) AS newest FROM messages INDEXED BY messages_room GROUP BY room
) AS found LEFT JOIN rooms USING (room)
WHERE (found.messages, found.newest) IS NOT (rooms.messages, rooms.newest) AND room NOT IN (SELECT room FROM purges);

-- count_newest --
-- How many messages there are after a seq, by the table alone
SELECT count(*) FROM messages NOT INDEXED WHERE seq > :after;

-- examine --
-- Messages after a seq, each with its `prev`
SELECT seq, room, prev, body FROM messages WHERE seq > :after ORDER BY seq LIMIT :limit;

-- count_retained --
-- How many messages are retained, without deleted ones, and how many rooms retain any
SELECT messages - (SELECT count(*) FROM deleted), (SELECT count(*) FROM rooms WHERE messages > 0) FROM state;

-- load_newest --
-- The newest message of each of some rooms
SELECT json_group_object(room, newest) FROM rooms WHERE room IN (SELECT value FROM json_each(:rooms));

-- load_keys --
-- Some idempotency keys, given as [scope, key]
SELECT json_group_array(json_array(keys.scope, keys.key, lower(hex(digest)), first, count, stored_at, gone))
FROM json_each(:keys) AS requested
CROSS JOIN keys ON keys.scope = requested.value ->> 0 AND keys.key = requested.value ->> 1;

-- count_gone_keys --
-- How many keys there are whose first message is gone
SELECT count(*) FROM keys WHERE gone = 1;

-- forget_keys --
-- Forgets keys whose first message is gone: those stored up to `until`, and in any case the `more` oldest; at most
-- `limit` keys
DELETE FROM keys WHERE (scope, key) IN (
    SELECT scope, key FROM (
        SELECT scope, key, stored_at, row_number() OVER (ORDER BY stored_at) AS number
        FROM keys WHERE gone = 1 ORDER BY stored_at LIMIT :limit
    ) WHERE stored_at <= :until OR number <= :more
);

-- make_step --
-- Makes a step of the writer one INSERT, which is one transaction: nothing of it is stored if any part fails.
-- Parameters: `heads` [seq, room, type, stored_at, prev, start, length] and `bodies`, the messages; `keys` [scope,
-- key, digest, first, count, stored_at], their idempotency keys; `newest`, `newest_at`, `trimmed`, `bytes`,
-- `messages`, the log after it. As ten statements a commit took 5.4 ms beside a busy event loop, as one 2.5. While
-- there are no keys, `plain` leaves out the work for them: a twentieth of a commit
CREATE TEMP VIEW {name}s AS
SELECT 0 AS heads, 0 AS bodies, 0 AS keys, 0 AS newest, 0 AS newest_at, 0 AS trimmed, 0 AS bytes, 0 AS messages;

CREATE TEMP TRIGGER {name} INSTEAD OF INSERT ON {name}s BEGIN
    {stored};

    {keys}

    UPDATE rooms SET
        trimmed = gone.newest, trimmed_at = gone.newest_at, lost = lost + gone.messages, capped = gone.newest,
        messages = rooms.messages - gone.messages, bytes = rooms.bytes - gone.bytes
    FROM (
        SELECT
            room, max(seq) AS newest, max(stored_at) AS newest_at,
            count(*) AS messages, sum(octet_length(body)) AS bytes
        FROM messages WHERE seq <= NEW.trimmed GROUP BY +room  -- not by walking the whole index
    ) AS gone WHERE rooms.room = gone.room;

    DELETE FROM messages WHERE seq <= NEW.trimmed;
    {gone_keys}

    UPDATE state SET
        newest = NEW.newest, newest_at = NEW.newest_at, trimmed = NEW.trimmed, bytes = NEW.bytes,
        messages = NEW.messages;
END;

-- stored --
-- Stores the messages of a step
INSERT INTO messages
    SELECT
        value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4,
        coalesce(substr(NEW.bodies, value ->> 5, value ->> 6), x'')  -- substr of an empty blob is NULL
    FROM json_each(NEW.heads);

    -- A room that is not known begins at the watermark.
    INSERT INTO rooms (room, newest, newest_at, trimmed, trimmed_at, lost, messages, bytes, capped)
    SELECT
        room, max(seq), max(stored_at), forgotten, forgotten_at, forgotten,
        count(*), sum(octet_length(body)), forgotten
    FROM state CROSS JOIN messages ON seq > state.newest GROUP BY +room
    ON CONFLICT (room) DO UPDATE SET
        newest = excluded.newest, newest_at = excluded.newest_at,
        messages = messages + excluded.messages, bytes = bytes + excluded.bytes;

-- stored_keys --
-- Stores the idempotency keys of a step
INSERT OR REPLACE INTO keys (scope, key, digest, first, count, stored_at)
    SELECT value ->> 0, value ->> 1, unhex(value ->> 2), value ->> 3, value ->> 4, value ->> 5
    FROM json_each(NEW.keys);

-- gone_keys --
-- Marks the keys whose first message the step trims
UPDATE keys SET gone = 1 WHERE gone = 0 AND first <= NEW.trimmed;

-- make_cutting --
-- The same for a step that removes more than the oldest messages, or adds a row to the register: `gone` is a list of
-- seqs to remove. If `rooms` is not NULL, it is added to the register, whose rows up to `until` then go. In a log
-- without keys and deletes, `plain_cutting` leaves out the work for them
CREATE TEMP VIEW {name}s AS
SELECT
    0 AS heads, 0 AS bodies, 0 AS keys, 0 AS newest, 0 AS newest_at, 0 AS trimmed, 0 AS bytes, 0 AS messages,
    0 AS gone, 0 AS last, 0 AS first, 0 AS rooms, 0 AS until;

CREATE TEMP TRIGGER {name} INSTEAD OF INSERT ON {name}s BEGIN
    INSERT OR REPLACE INTO register SELECT NEW.last, NEW.first, NEW.rooms WHERE NEW.rooms IS NOT NULL;
    DELETE FROM register WHERE NEW.rooms IS NOT NULL AND last <= NEW.until;
    {stored};

    {keys}

    UPDATE rooms SET
        trimmed = gone.newest, trimmed_at = gone.newest_at, lost = lost + gone.messages,
        capped = max(rooms.capped, gone.capped),
        messages = rooms.messages - gone.messages, bytes = rooms.bytes - gone.bytes
    FROM (
        SELECT
            room, max(seq) AS newest, max(stored_at) AS newest_at,
            count(*) AS messages, sum(octet_length(body)) AS bytes, {capped} AS capped
        FROM (
            SELECT seq FROM messages WHERE seq <= NEW.trimmed
            UNION ALL SELECT value FROM json_each(NEW.gone) WHERE value > NEW.trimmed
        ) CROSS JOIN messages USING (seq)
        WHERE {counted} GROUP BY +room
    ) AS gone WHERE rooms.room = gone.room;

    {gone_keys}
    DELETE FROM messages WHERE seq <= NEW.trimmed;
    DELETE FROM messages WHERE seq IN (SELECT value FROM json_each(NEW.gone));
    {gone_marks}

    UPDATE state SET
        newest = NEW.newest, newest_at = NEW.newest_at, trimmed = NEW.trimmed, bytes = NEW.bytes,
        messages = NEW.messages;
END;

-- capped_but_deleted --
-- The last message that a cap removed, and not a delete
max(iif(seq IN (SELECT seq FROM deleted), 0, seq));

-- cut_keys --
-- Marks the other keys whose first message such a step removes
UPDATE keys SET gone = 1 WHERE gone = 0 AND first IN (SELECT value FROM json_each(NEW.gone));

-- gone_marks --
-- Forgets which messages and rooms were deleted, once their rows are gone
DELETE FROM deleted WHERE seq <= NEW.trimmed;
DELETE FROM deleted WHERE seq IN (SELECT value FROM json_each(NEW.gone));
DELETE FROM purges WHERE NOT EXISTS (
    SELECT 1 FROM messages WHERE messages.room = purges.room AND messages.seq <= purges.upto
);

-- step --
-- Runs a step
INSERT INTO steps VALUES (:heads, :bodies, :keys, :newest, :newest_at, :trimmed, :bytes, :messages);

-- plain --
-- Runs a step of a log without keys
INSERT INTO plains VALUES (:heads, :bodies, :keys, :newest, :newest_at, :trimmed, :bytes, :messages);

-- cutting --
-- Runs a step that removes more than the oldest messages
INSERT INTO cuttings VALUES (
    :heads, :bodies, :keys, :newest, :newest_at, :trimmed, :bytes, :messages, :gone, :last, :first, :rooms, :until
);

-- plain_cutting --
-- Runs such a step of a log without keys and deletes
INSERT INTO plain_cuttings VALUES (
    :heads, :bodies, :keys, :newest, :newest_at, :trimmed, :bytes, :messages, :gone, :last, :first, :rooms, :until
);

-- load_unregistered --
-- The last message in the register, and each later message with its room. If the register is empty, the last trimmed
-- message stands for its last one
SELECT last, (SELECT json_group_array(json_array(room, seq)) FROM messages WHERE seq > last)
FROM (SELECT coalesce((SELECT max(last) FROM register), trimmed) AS last FROM state);

-- load_register --
-- Rows of the register after a message, the oldest first
SELECT first, last, rooms FROM register WHERE last > :after ORDER BY last LIMIT :limit;

-- begin_register --
-- The message after which the register begins
SELECT coalesce((SELECT first - 1 FROM register ORDER BY last LIMIT 1), trimmed) FROM state;

-- load_purged --
-- The rows that deleted rooms have left
SELECT json_group_array(seq) FROM (
    SELECT seq FROM purges CROSS JOIN messages USING (room) WHERE seq <= upto LIMIT :limit
);

-- load_flags --
-- Whether single messages were deleted, whether deleted rooms have rows left, and whether there are keys whose first
-- message is retained
SELECT EXISTS (SELECT 1 FROM deleted), EXISTS (SELECT 1 FROM purges), EXISTS (SELECT 1 FROM keys WHERE gone = 0);

-- load_purges --
-- The deleted rooms that have rows left, each with the seq up to which they go
SELECT json_group_object(room, upto) FROM purges;

-- load_rooms --
-- How much some rooms have, and their oldest messages after a seq [seq, size, stored_at]
SELECT json_group_array(json_array(room, messages, bytes, json((
    SELECT json_group_array(json_array(seq, size, stored_at)) FROM (
        SELECT seq, octet_length(body) AS size, stored_at FROM messages
        WHERE messages.room = rooms.room AND seq > max(rooms.trimmed, :after) ORDER BY seq LIMIT :limit
    )
)))) FROM rooms WHERE room IN (SELECT value FROM json_each(:rooms));

-- walk_rooms --
-- The first rooms with messages after a name: how much they have, and when their oldest message was stored
SELECT json_group_array(json_array(room, messages, bytes, coalesce((
    SELECT stored_at FROM messages WHERE messages.room = found.room AND seq > found.trimmed ORDER BY seq LIMIT 1
), 0))) FROM (
    SELECT room, messages, bytes, trimmed FROM rooms WHERE room > :after AND messages > 0 ORDER BY room LIMIT :limit
) AS found;

-- make_deletion --
-- Makes the deletion of a message one INSERT: an empty row stays in its place until it is trimmed
CREATE TEMP VIEW deletions AS SELECT 0 AS seq;

CREATE TEMP TRIGGER deletion INSTEAD OF INSERT ON deletions BEGIN
    UPDATE rooms SET bytes = rooms.bytes - octet_length(body)
    FROM messages WHERE messages.seq = NEW.seq AND rooms.room = messages.room;
    UPDATE state SET
        deletions = deletions + 1,
        bytes = bytes - (SELECT octet_length(body) FROM messages WHERE seq = NEW.seq);
    INSERT INTO deleted SELECT seq, room, deletions FROM messages CROSS JOIN state WHERE seq = NEW.seq;
    UPDATE messages SET type = NULL, body = x'' WHERE seq = NEW.seq;
END;

-- delete --
-- Deletes a message
INSERT INTO deletions VALUES (:seq);

-- find --
-- The room of a message, if it can be deleted
SELECT json_group_array(room) FROM messages
WHERE seq = :seq AND seq NOT IN (SELECT seq FROM deleted)
AND seq > coalesce((SELECT upto FROM purges WHERE purges.room = messages.room), 0);

-- make_room_deletion --
-- Makes the deletion of a room one INSERT: its row then says that all up to its newest message is gone; the rows of
-- its messages go in steps
CREATE TEMP VIEW room_deletions AS SELECT 0 AS room;

CREATE TEMP TRIGGER room_deletion INSTEAD OF INSERT ON room_deletions BEGIN
    INSERT OR REPLACE INTO purges SELECT room, newest FROM rooms WHERE room = NEW.room;
    DELETE FROM deleted WHERE room = NEW.room;
    UPDATE state SET
        messages = state.messages - rooms.messages, bytes = state.bytes - rooms.bytes
    FROM rooms WHERE rooms.room = NEW.room;
    UPDATE rooms SET
        lost = lost + messages, trimmed = newest, trimmed_at = newest_at, messages = 0, bytes = 0
    WHERE room = NEW.room;
END;

-- delete_room --
-- Deletes a room
INSERT INTO room_deletions VALUES (:room);

-- find_room --
-- How many messages a room has, and its newest one
SELECT json_group_array(json_array(messages, newest)) FROM rooms WHERE room = :room AND messages > 0;

-- load_sizes --
-- The sizes of the first messages after a seq
SELECT json_group_array(octet_length(body)) FROM (
    SELECT body FROM messages WHERE seq > :after ORDER BY seq LIMIT :limit
);

-- load_oldest --
-- The first messages after a seq with their sizes and times. A size of -1 means that the message is gone
SELECT json_group_array(json_array(seq, size, stored_at)) FROM (
    SELECT
        seq, stored_at,
        iif(
            seq <= coalesce((SELECT upto FROM purges WHERE purges.room = messages.room), 0), -1, octet_length(body)
        ) AS size
    FROM messages WHERE seq > :after ORDER BY seq LIMIT :limit
);

-- count_empty_rooms --
-- How many rooms without messages are remembered
SELECT count(*) FROM rooms WHERE messages = 0;

-- make_forget_rooms --
-- Makes forgetting rooms one INSERT: the `count` empty rooms whose newest messages have the lowest seqs. `forgotten`
-- becomes the highest of these seqs, unless it is higher already: a room with older messages may become empty later
CREATE TEMP VIEW forgettings AS SELECT 0 AS count;

CREATE TEMP TRIGGER forget INSTEAD OF INSERT ON forgettings BEGIN
    UPDATE state SET forgotten = max(forgotten, last.newest), forgotten_at = max(forgotten_at, last.newest_at)
    FROM (
        SELECT newest, newest_at FROM rooms WHERE messages = 0 ORDER BY newest LIMIT 1 OFFSET NEW.count - 1
    ) AS last;

    DELETE FROM rooms WHERE room IN (SELECT room FROM rooms WHERE messages = 0 ORDER BY newest LIMIT NEW.count);
END;

-- forget_rooms --
-- Forgets rooms
INSERT INTO forgettings VALUES (:count);

-- read_page --
-- A page of some rooms. It is one statement, so its messages and its losses are from one moment
SELECT newest, forgotten, forgotten_at, ({trimmed}), deletions, ({deleted}), heads, bodies FROM state, ({page});

-- deleted --
-- The deleted single messages of some rooms after a seq, each with the number of its deletion. The limit is higher than
-- that of any page, so no deleted message of the page is left out
SELECT json_group_array(json_array(room, seq, number)) FROM (
    SELECT room, seq, number FROM deleted
    WHERE {chosen} AND seq > :after AND seq < :before ORDER BY seq LIMIT 2000
);

-- oldest --
-- The oldest message of some rooms, and the newest of all
SELECT newest, (
    SELECT min((SELECT seq FROM messages WHERE messages.room = rooms.room AND seq > rooms.trimmed ORDER BY seq LIMIT 1))
    FROM rooms WHERE {chosen}
) FROM state;

-- find_rooms --
-- The newest message of all, and at most `limit` rooms that have had messages after a seq
SELECT newest, (
    SELECT json_group_array(room) FROM (SELECT room FROM rooms WHERE {chosen} AND newest > :after LIMIT :limit)
) FROM state;

-- page --
-- The messages that `picked` selects, oldest first, until their bodies reach `max_bytes`. It reads no more than that:
-- the first part stops at the message that fills the page, and reads no body; the second reads the `chosen` messages
-- up to there. `picked` returns its rows in order because its ORDER BY has a LIMIT: without one, SQLite may skip the
-- ORDER BY
WITH reached (seq) AS MATERIALIZED (
    SELECT coalesce((
        SELECT seq FROM (
            SELECT seq, sum(octet_length(body)) OVER so_far AS size, count(*) OVER so_far AS number
            FROM ({picked}) CROSS JOIN messages USING (seq)
            WINDOW so_far AS (ROWS UNBOUNDED PRECEDING)
        ) WHERE size >= :max_bytes OR number >= :limit LIMIT 1
    ), :before - 1)
)
SELECT
    json_group_array(json_array(seq, room, type, stored_at, prev, octet_length(body))) AS heads,
    CAST(group_concat(body, '') AS BLOB) AS bodies
FROM (
    SELECT seq FROM messages
    WHERE {chosen} AND seq > :after AND seq <= (SELECT seq FROM reached) ORDER BY seq LIMIT :limit
) CROSS JOIN messages USING (seq);

-- pick_range --
-- The first messages of the whole log after a seq
SELECT seq FROM messages WHERE seq > :after AND seq < :before ORDER BY seq LIMIT :limit;

-- pick_rooms --
-- The first messages of some rooms after a seq. Each arm reads one room by the index
SELECT seq FROM ({arms} ORDER BY seq LIMIT :limit);

-- pick_room --
-- One arm
SELECT seq FROM messages WHERE room = :{room} AND seq > :after AND seq < :before {condition};

-- seek_newest --
-- The newest message of all, how far the log is trimmed, and the number and the oldest of the newest messages of some
-- rooms
SELECT newest, trimmed, number, oldest
FROM state, (
    SELECT count(*) AS number, min(seq) AS oldest FROM (SELECT seq FROM ({arms} ORDER BY seq DESC LIMIT :limit))
);

-- not_deleted --
-- Leaves out deleted messages
AND seq NOT IN (SELECT seq FROM deleted);

-- not_purged --
-- Leaves out the rows that a deleted room has left, in an arm
AND seq > coalesce((SELECT upto FROM purges WHERE purges.room = :{room}), 0);

-- none_purged --
-- The same in a statement over all rooms
AND seq > coalesce((SELECT upto FROM purges WHERE purges.room = messages.room), 0);

-- seek_time --
-- The newest message stored before a time. A binary search, as times never decrease; its middle may be a hole
WITH RECURSIVE search (low, high) AS (
    SELECT trimmed, newest FROM state
    UNION ALL
    SELECT
        iif(coalesce(stored_at < :since, true), (low + high + 1) / 2, low),
        iif(coalesce(stored_at < :since, true), high, seq - 1)
    FROM search LEFT JOIN messages ON seq = (
        SELECT max(seq) FROM messages AS half WHERE half.seq > low AND half.seq <= (low + high + 1) / 2
    )
    WHERE low < high
)
SELECT
    coalesce((SELECT max(seq) FROM messages WHERE seq <= (SELECT max(low) FROM search WHERE low >= high)), 0),
    forgotten, forgotten_at, ({trimmed}) FROM state;

-- trimmed --
-- How far each of some rooms is trimmed, and its newest message
SELECT json_group_array(json_array(room, trimmed, trimmed_at, lost, capped, newest))
FROM rooms WHERE room IN (SELECT value FROM json_each(:rooms));

-- load_revoked --
-- All revocations that are kept
SELECT sub, iss, before FROM revoked;

-- revoke --
-- Keeps a revocation; of two for the same person and issuer the later one
INSERT INTO revoked (sub, iss, before) VALUES (:sub, :iss, :before)
ON CONFLICT (sub, iss) DO UPDATE SET before = max(before, excluded.before);

-- forget_revoked --
-- Removes those before `oldest`
DELETE FROM revoked WHERE before < :oldest;

-- make_rooms_newest --
-- Indexes the rooms that have messages by their newest, with everything that a page of the list shows. It is not in the
-- schema: an older roomcast keeps it up to date without knowing it, so it needs no version of its own
CREATE INDEX IF NOT EXISTS rooms_newest ON rooms (newest, messages, newest_at) WHERE messages > 0;

-- rooms_by_name --
-- A page of the rooms that have messages, by name. Empty rooms are skipped: 10,000 of them take 0.4 ms
SELECT json_group_array(json_array(room, messages, newest, newest_at {oldest})) FROM (
    SELECT room, messages, newest, newest_at {trimmed} FROM rooms
    WHERE room >= :first AND room < :end AND messages > 0 ORDER BY room LIMIT :limit
) AS page;

-- rooms_by_newest --
-- The same by their newest message, among the first `among` of them; and the seq before which to continue, 0 at the end
SELECT
    coalesce((
        SELECT newest FROM rooms WHERE messages > 0 AND newest < :before ORDER BY newest DESC LIMIT 1 OFFSET :among - 1
    ), 0),
    json_group_array(json_array(room, messages, newest, newest_at {oldest}))
FROM (
    SELECT * FROM (
        SELECT room, messages, newest, newest_at {trimmed} FROM rooms
        WHERE messages > 0 AND newest < :before ORDER BY newest DESC LIMIT :among
    ) WHERE room >= :first AND room < :end LIMIT :limit
) AS page;

-- oldest_of_row --
-- When the oldest message of a listed room was stored
, (
    SELECT stored_at FROM messages WHERE messages.room = page.room AND seq > page.trimmed ORDER BY seq LIMIT 1
);

-- load_identity --
-- The program that the database belongs to, its version, and how many tables and indexes it has
SELECT
    (SELECT application_id FROM pragma_application_id), (SELECT user_version FROM pragma_user_version),
    (SELECT count(*) FROM sqlite_schema);
