-- Every query has a name, and a line that says what it does.
--
-- A step into SQLite gives up the interpreter's lock and waits to get it back, up to 5 ms where the event loop
-- is busy. So what is stored, and what is read, crosses in one step: the messages' fields as one JSON array,
-- their bodies as one blob. 1,000 messages were stored in 10 ms so beside a busy thread, in 420 row by row.

-- load_state --
-- The log as a whole
SELECT newest, newest_at, trimmed, bytes, forgotten, forgotten_at FROM state;

-- load_life --
-- Which epoch the last server wrote, how it waited for the disk, and whether it came to its end
SELECT epoch, synchronous, clean FROM state;

-- begin_life --
-- A server takes the log over
UPDATE state SET epoch = :epoch, synchronous = :synchronous, clean = 0;

-- end_epoch --
-- The next server begins a new one
UPDATE state SET epoch = '';

-- begin_times --
-- What is from after `now` is from now. The first such message comes after `position`: times never fall
UPDATE messages SET stored_at = :now WHERE seq > :position;
UPDATE rooms SET newest_at = min(newest_at, :now), trimmed_at = min(trimmed_at, :now)
WHERE newest_at > :now OR trimmed_at > :now;
UPDATE state SET newest_at = min(newest_at, :now), forgotten_at = min(forgotten_at, :now);

-- end_life --
-- A server has come to its end
UPDATE state SET clean = 1;

-- check --
-- The oldest and newest message there are, and what the rooms add up to, to be compared with the state
SELECT
    (SELECT min(seq) FROM messages), (SELECT max(seq) FROM messages),
    (SELECT octet_length(body) FROM messages ORDER BY seq LIMIT 1),
    (SELECT octet_length(body) FROM messages ORDER BY seq DESC LIMIT 1),
    (SELECT coalesce(sum(messages), 0) FROM rooms), (SELECT coalesce(sum(bytes), 0) FROM rooms);

-- is_small --
-- Whether the database has at most so many bytes
SELECT page_count * page_size <= :most FROM pragma_page_count, pragma_page_size;

-- check_all --
-- What SQLite itself finds wrong, in pages and indexes
PRAGMA integrity_check(1);

-- check_rooms --
-- How many rooms' messages are not what the room says, by the index alone: 0.1 s of CPU for a million messages
SELECT count(*) FROM (
    SELECT room, count(*) AS messages, max(seq) AS newest FROM messages INDEXED BY messages_room GROUP BY room
) AS found LEFT JOIN rooms USING (room)
WHERE (found.messages, found.newest) IS NOT (rooms.messages, rooms.newest);

-- count_newest --
-- How many messages there are after a seq, by the table alone
SELECT count(*) FROM messages NOT INDEXED WHERE seq > :after;

-- load_newest --
-- The newest message of each of some rooms
SELECT json_group_object(room, newest) FROM rooms WHERE room IN (SELECT value FROM json_each(:rooms));

-- load_keys --
-- What is kept of each of some idempotency keys, given as [scope, key]
SELECT json_group_array(json_array(keys.scope, keys.key, lower(hex(digest)), first, count))
FROM json_each(:keys) AS asked
CROSS JOIN keys ON keys.scope = asked.value ->> 0 AND keys.key = asked.value ->> 1;

-- make_step --
-- A step of the writer as one INSERT, which is one transaction: nothing of it is stored where anything fails.
-- `heads` [seq, room, type, stored_at, prev, start, length] and `bodies` are its messages, `keys` [scope, key,
-- digest, first, count] their idempotency keys; `newest`, `newest_at`, `trimmed`, `bytes` the log after it. As ten
-- statements a commit took 5.4 ms beside a busy event loop, so 2.5
CREATE TEMP VIEW steps AS
SELECT 0 AS heads, 0 AS bodies, 0 AS keys, 0 AS newest, 0 AS newest_at, 0 AS trimmed, 0 AS bytes;

CREATE TEMP TRIGGER step INSTEAD OF INSERT ON steps BEGIN
    INSERT INTO messages
    SELECT
        value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4,
        coalesce(substr(NEW.bodies, value ->> 5, value ->> 6), x'')  -- of nothing, substr is NULL
    FROM json_each(NEW.heads);

    INSERT INTO keys
    SELECT value ->> 0, value ->> 1, unhex(value ->> 2), value ->> 3, value ->> 4 FROM json_each(NEW.keys);

    -- A room that is not known begins at the watermark.
    INSERT INTO rooms (room, newest, newest_at, trimmed, trimmed_at, lost, messages, bytes)
    SELECT
        room, max(seq), max(stored_at), forgotten, forgotten_at, forgotten,
        count(*), sum(octet_length(body))
    FROM state CROSS JOIN messages ON seq > state.newest GROUP BY +room
    ON CONFLICT (room) DO UPDATE SET
        newest = excluded.newest, newest_at = excluded.newest_at,
        messages = messages + excluded.messages, bytes = bytes + excluded.bytes;

    UPDATE rooms SET
        trimmed = gone.newest, trimmed_at = gone.newest_at, lost = lost + gone.messages,
        messages = rooms.messages - gone.messages, bytes = rooms.bytes - gone.bytes
    FROM (
        SELECT
            room, max(seq) AS newest, max(stored_at) AS newest_at,
            count(*) AS messages, sum(octet_length(body)) AS bytes
        FROM messages WHERE seq <= NEW.trimmed GROUP BY +room  -- not by walking the whole index
    ) AS gone WHERE rooms.room = gone.room;

    DELETE FROM messages WHERE seq <= NEW.trimmed;
    DELETE FROM keys WHERE first <= NEW.trimmed;

    UPDATE state SET
        newest = NEW.newest, newest_at = NEW.newest_at, trimmed = NEW.trimmed, bytes = NEW.bytes;
END;

-- step --
-- Does one
INSERT INTO steps VALUES (:heads, :bodies, :keys, :newest, :newest_at, :trimmed, :bytes);

-- load_sizes --
-- The bytes of the bodies of the first messages after a seq
SELECT json_group_array(octet_length(body)) FROM (
    SELECT body FROM messages WHERE seq > :after ORDER BY seq LIMIT :limit
);

-- count_empty_rooms --
-- How many rooms without messages are remembered
SELECT count(*) FROM rooms WHERE messages = 0;

-- make_forget --
-- Forgetting rooms as one INSERT: `count` empty ones, the longest empty first, so that `forgotten` grows
CREATE TEMP VIEW forgettings AS SELECT 0 AS count;

CREATE TEMP TRIGGER forget INSTEAD OF INSERT ON forgettings BEGIN
    UPDATE state SET forgotten = last.newest, forgotten_at = last.newest_at
    FROM (
        SELECT newest, newest_at FROM rooms WHERE messages = 0 ORDER BY newest LIMIT 1 OFFSET NEW.count - 1
    ) AS last;

    DELETE FROM rooms WHERE messages = 0 AND newest <= (SELECT forgotten FROM state);
END;

-- forget --
-- Does it
INSERT INTO forgettings VALUES (:count);

-- read_page --
-- A page of some rooms. One statement, so its messages and its losses are of one moment
SELECT newest, forgotten, forgotten_at, ({trimmed}), heads, bodies FROM state, ({page});

-- page --
-- The messages that `picked` names, oldest first, until their bodies have grown to `most_bytes`. It looks no
-- further: the first part stops at the message that fills the page, and reads no body; the second reads the
-- `chosen` up to there. `picked` gives its rows in order because its ORDER BY has a LIMIT: without one, SQLite may
-- leave it out
WITH reached (seq) AS MATERIALIZED (
    SELECT coalesce((
        SELECT seq FROM (
            SELECT seq, sum(octet_length(body)) OVER so_far AS size, count(*) OVER so_far AS number
            FROM ({picked}) CROSS JOIN messages USING (seq)
            WINDOW so_far AS (ROWS UNBOUNDED PRECEDING)
        ) WHERE size >= :most_bytes OR number >= :limit LIMIT 1
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
-- The first messages of some rooms after a seq; an arm a room, each walks its own index
SELECT seq FROM ({arms} ORDER BY seq LIMIT :limit);

-- pick_room --
-- An arm of it
SELECT seq FROM messages WHERE room = :{room} AND seq > :after AND seq < :before;

-- seek_newest --
-- The oldest of the newest messages of some rooms, and the newest message of all
SELECT newest, (SELECT min(seq) FROM (SELECT seq FROM ({arms} ORDER BY seq DESC LIMIT :limit))) FROM state;

-- seek_time --
-- The newest message stored before a time: times never fall and seqs have no hole, so halve the range
WITH RECURSIVE search (low, high) AS (
    SELECT trimmed, newest FROM state
    UNION ALL
    SELECT iif(stored_at < :since, seq, low), iif(stored_at < :since, high, seq - 1)
    FROM search CROSS JOIN messages ON seq = (low + high + 1) / 2 WHERE low < high
)
SELECT (SELECT low FROM search WHERE low = high), forgotten, forgotten_at, ({trimmed}) FROM state;

-- trimmed --
-- How far each of some rooms is trimmed, and its newest message
SELECT json_group_array(json_array(room, trimmed, trimmed_at, lost, newest))
FROM rooms WHERE room IN (SELECT value FROM json_each(:rooms));

-- make_rooms_newest --
-- The rooms that have messages, in the order of their newest, with all that a page of them shows. Not in the schema:
-- an older roomcast keeps it up to date without knowing of it, so it needs no version of its own
CREATE INDEX IF NOT EXISTS rooms_newest ON rooms (newest, messages, newest_at) WHERE messages > 0;

-- rooms_by_name --
-- A page of the rooms that have messages, by name. The empty ones are stepped over: 10,000 of them take 0.4 ms
SELECT json_group_array(json_array(room, messages, newest, newest_at)) FROM (
    SELECT room, messages, newest, newest_at FROM rooms
    WHERE room >= :first AND room < :end AND messages > 0 ORDER BY room LIMIT :limit
);

-- rooms_by_newest --
-- A page of the rooms that have messages, the newest first, out of `most` of them; and where to go on, 0 at the end
SELECT
    coalesce((
        SELECT newest FROM rooms WHERE messages > 0 AND newest < :before ORDER BY newest DESC LIMIT 1 OFFSET :most - 1
    ), 0),
    json_group_array(json_array(room, messages, newest, newest_at))
FROM (
    SELECT * FROM (
        SELECT room, messages, newest, newest_at FROM rooms
        WHERE messages > 0 AND newest < :before ORDER BY newest DESC LIMIT :most
    ) WHERE room >= :first AND room < :end LIMIT :limit
);

-- load_identity --
-- Whose database this is, its version, and whether there is anything in it
SELECT
    (SELECT application_id FROM pragma_application_id), (SELECT user_version FROM pragma_user_version),
    (SELECT count(*) FROM sqlite_schema);
