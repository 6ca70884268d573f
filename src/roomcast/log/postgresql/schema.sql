-- Version 1 of the schema `roomcast`. `seq` counts by one as messages are stored. Each room retains all messages from
-- some message on, so the log as a whole may have holes.
--
-- A migration only adds, so that servers of the previous version can run beside new ones during an upgrade. Functions
-- that an older roomcast calls stay as they are; new ones get new names. A migration that cannot do so drops `append`
-- and raises `least`: running older servers see that within a second, and say that a newer roomcast is needed.

CREATE SCHEMA IF NOT EXISTS roomcast;
REVOKE ALL ON SCHEMA roomcast FROM PUBLIC;

-- One row. `number`: version of this schema; `least`: version of the oldest roomcast that can use it.
CREATE TABLE roomcast.version (
    number int NOT NULL,
    least int NOT NULL
);
INSERT INTO roomcast.version VALUES (1, 1);

-- The log as a whole, one row. Every append, trim and delete locks it first, for the whole transaction: that lock
-- orders all messages. A database sequence does not: in a trial a reader that asked for `id > last` never saw 981 of
-- 3,256 committed rows, since a lower number can commit later. `durable`: all messages up to here are on the disk; see
-- also `synced`. `forgotten`, `forgotten_at`: upper bound for the messages of rooms that are not in `rooms`. `nonce`:
-- random number of the newest append. `changes`: the number of the newest row of `cuts`. `life`: the life of the
-- database that wrote last, see `life()`. `replicated`: whether the last append waited for a synchronous standby.
-- `max_message`: the most bytes of one message, as configured on the server that started last. `revoked`: counts the
-- changes of `revoked`.
CREATE TABLE roomcast.log (
    id int PRIMARY KEY CHECK (id = 1),
    epoch text NOT NULL,
    newest bigint NOT NULL DEFAULT 0,
    newest_at bigint NOT NULL DEFAULT 0,
    durable bigint NOT NULL DEFAULT 0,
    trimmed bigint NOT NULL DEFAULT 0,
    messages bigint NOT NULL DEFAULT 0,
    bytes bigint NOT NULL DEFAULT 0,
    deletions bigint NOT NULL DEFAULT 0,
    changes bigint NOT NULL DEFAULT 0,
    forgotten bigint NOT NULL DEFAULT 0,
    forgotten_at bigint NOT NULL DEFAULT 0,
    nonce bigint NOT NULL DEFAULT 0,
    life text NOT NULL,
    replicated boolean NOT NULL DEFAULT false,
    max_message int NOT NULL DEFAULT 64000,
    revoked bigint NOT NULL DEFAULT 0
) WITH (fillfactor = 10, autovacuum_vacuum_threshold = 500, autovacuum_vacuum_scale_factor = 0);

-- The messages retained. `prev`: an upper bound for the seq of the room's previous message; `deleted`: the number of
-- its deletion; its row is then empty.
CREATE TABLE roomcast.messages (
    seq bigint PRIMARY KEY,
    room text COLLATE "C" NOT NULL,
    type text,
    stored_at bigint NOT NULL,
    prev bigint NOT NULL,
    deleted bigint,
    body bytea NOT NULL
) WITH (autovacuum_vacuum_threshold = 5000, autovacuum_vacuum_scale_factor = 0.1);
CREATE INDEX messages_room ON roomcast.messages (room, seq);
CREATE INDEX messages_deleted ON roomcast.messages (seq) WHERE deleted IS NOT NULL;

-- Each room that has messages, and rooms that had some recently (`messages` = 0).
-- `trimmed`, `trimmed_at`: its last message that is gone; `lost`: an upper bound for how many are gone; `capped`: the
-- last one that a cap removed; later ones that are gone were deleted. A row of `messages` counts only if its `seq` is
-- greater than its room's `trimmed`.
CREATE TABLE roomcast.rooms (
    room text COLLATE "C" PRIMARY KEY,
    newest bigint NOT NULL,
    newest_at bigint NOT NULL,
    trimmed bigint NOT NULL,
    trimmed_at bigint NOT NULL,
    lost bigint NOT NULL,
    capped bigint NOT NULL,
    messages bigint NOT NULL,
    bytes bigint NOT NULL
) WITH (fillfactor = 50, autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_scale_factor = 0.1);
CREATE INDEX rooms_newest ON roomcast.rooms (newest) WHERE messages > 0;
CREATE INDEX rooms_empty ON roomcast.rooms (newest) WHERE messages = 0;

-- The newest appends. An append is a group of publishes in one transaction; `nonce` is a random number that its server
-- chose. A server that lost the connection finds out here whether its append was stored. A server that reconnects
-- checks here whether the history is the one it knows. `rooms`: the room of each message of the append, including
-- messages that are gone; it tells how many messages of a room are lost after any position.
CREATE TABLE roomcast.appends (
    nonce bigint PRIMARY KEY,
    first bigint NOT NULL,
    last bigint NOT NULL,
    stored_at bigint NOT NULL,
    at timestamptz NOT NULL DEFAULT now(),
    rooms text[] NOT NULL
);
CREATE INDEX appends_last ON roomcast.appends (last);

-- The position up to which each server knows the log to be on the disk. With several servers an append does not wait
-- for the disk while it holds the lock: it commits asynchronously, and its server then writes this row, whose commit
-- waits until everything before it is on the disk and on the synchronous standbys. So the servers share the wait
-- instead of queueing for it. A row says something about its own epoch only.
CREATE TABLE roomcast.synced (
    server text NOT NULL,
    epoch text NOT NULL,
    seq bigint NOT NULL,
    PRIMARY KEY (server, epoch)
) WITH (fillfactor = 10, autovacuum_vacuum_threshold = 500, autovacuum_vacuum_scale_factor = 0);

-- The log as its readers may see it: `newest` is the newest durable message, and `nonce` the number of its append.
-- `stored`, `stored_nonce`: the same for the newest message, durable or not. OFFSET 0 makes PostgreSQL compute `newest`
-- once, and not again at each place where it is used.
CREATE VIEW roomcast.readable AS
SELECT
    l.epoch, d.newest, least(l.trimmed, d.newest) AS trimmed, l.messages, l.bytes, l.deletions, l.changes, l.forgotten,
    l.forgotten_at, l.life, l.newest AS stored, l.nonce AS stored_nonce,
    CASE WHEN d.newest = l.newest THEN l.nonce
        ELSE (SELECT a.nonce FROM roomcast.appends AS a WHERE a.last = d.newest) END AS nonce
FROM roomcast.log AS l CROSS JOIN LATERAL (
    SELECT least(l.newest, greatest(l.durable, (
        SELECT max(s.seq) FROM roomcast.synced AS s WHERE s.epoch = l.epoch
    ))) AS newest OFFSET 0
) AS d
WHERE l.id = 1;

-- Idempotency keys. `first`, `count`: the messages of that append; `gone`: whether the first of them is trimmed; the
-- key is then kept for a while.
CREATE TABLE roomcast.keys (
    scope text COLLATE "C" NOT NULL,
    key text COLLATE "C" NOT NULL,
    digest bytea NOT NULL,
    first bigint NOT NULL,
    count int NOT NULL,
    stored_at bigint NOT NULL,
    gone boolean NOT NULL DEFAULT false,
    PRIMARY KEY (scope, key)
);
CREATE INDEX keys_first ON roomcast.keys (first) WHERE NOT gone;
CREATE INDEX keys_gone ON roomcast.keys (stored_at) WHERE gone;

-- Deleted rooms that still have rows: their messages up to `upto` are gone, and their rows are removed in steps.
CREATE TABLE roomcast.purges (
    room text COLLATE "C" PRIMARY KEY,
    upto bigint NOT NULL
);

-- Removals of messages by a room's rule or by a deletion, rather than as the oldest of the whole log. All servers read
-- them. Only the newest rows are kept.
CREATE TABLE roomcast.cuts (
    number bigint PRIMARY KEY,
    room text COLLATE "C" NOT NULL,
    upto bigint NOT NULL,
    gone bigint NOT NULL
);

-- Persons whose tokens and tickets issued before `before` are invalid; an empty `iss` means every issuer.
CREATE TABLE roomcast.revoked (
    sub text COLLATE "C" NOT NULL,
    iss text COLLATE "C" NOT NULL,
    before bigint NOT NULL,
    PRIMARY KEY (sub, iss)
);

-- The running servers, and the position up to which each has delivered; NULL: it holds back no trimming. The table is
-- unlogged: after a crash of the database each row is written again within a second.
CREATE UNLOGGED TABLE roomcast.servers (
    server text PRIMARY KEY,
    position bigint,
    seen_at timestamptz NOT NULL
) WITH (fillfactor = 10);

-- Messages that applications publish inside their own transactions (see `publish`). A server moves them to the log, so
-- a transaction never waits for the log's lock and never holds it. `message`: the text as given, since `jsonb` changes
-- numbers.
CREATE TABLE roomcast.outbox (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    room text COLLATE "C" NOT NULL,
    message text NOT NULL,
    at timestamptz NOT NULL DEFAULT now()
) WITH (autovacuum_vacuum_threshold = 500, autovacuum_vacuum_scale_factor = 0);

-- Messages that could not be moved, and why.
CREATE TABLE roomcast.outbox_refused (
    id bigint PRIMARY KEY,
    room text NOT NULL,
    message text NOT NULL,
    at timestamptz NOT NULL,
    refused_at timestamptz NOT NULL DEFAULT now(),
    why text NOT NULL
);

-- Direct changes to the tables that only servers write would make counts wrong, and change history that others rely on.
-- They are refused with an explanation. The owner can set `roomcast.server` to 'on' and do it all the same.
CREATE FUNCTION roomcast.guard() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF current_setting('roomcast.server', true) IS DISTINCT FROM 'on' THEN
        RAISE EXCEPTION 'roomcast.% is written by roomcast itself', TG_TABLE_NAME
            USING HINT = 'Delete messages and rooms with DELETE /messages/{id} and DELETE /rooms/{room}; publish with '
                'roomcast.publish(room, message); set what is kept with --max-messages, --max-bytes and --max-age.';
    END IF;
    RETURN NULL;
END $$;
DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY[
        'version', 'log', 'messages', 'rooms', 'appends', 'synced', 'keys', 'purges', 'cuts', 'revoked'
    ] LOOP
        EXECUTE format(
            'CREATE TRIGGER guard BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON roomcast.%I '
            'FOR EACH STATEMENT EXECUTE FUNCTION roomcast.guard()', name
        );
    END LOOP;
END $$;
