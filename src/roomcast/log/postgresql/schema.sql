-- Version 1 of the schema `roomcast`. `seq` counts by one as messages are stored; of each room all is retained from
-- some message on, so over the whole log there may be holes.
--
-- A migration only adds, so that servers of the version before can run beside the new ones while they are replaced:
-- what an older roomcast calls stays as it is, and what is new has a name of its own.

CREATE SCHEMA IF NOT EXISTS roomcast;
REVOKE ALL ON SCHEMA roomcast FROM PUBLIC;

-- One row. `number`: of this schema; `least`: of the oldest roomcast that can use it.
CREATE TABLE roomcast.version (
    number int NOT NULL,
    least int NOT NULL
);
INSERT INTO roomcast.version VALUES (1, 1);

-- The log as a whole, one row. Whoever appends, trims or deletes locks it first, for the whole transaction: that lock is
-- the order of all messages. A sequence is no order: as tried, 981 of 3,256 committed rows were never seen by a reader
-- who asked for `id > last`, since a lower number can commit later.
-- `forgotten`, `forgotten_at`: no message of a room that is not in `rooms` was newer. `nonce`: of the newest append.
-- `changes`: the number of the newest row of `cuts`. `life`: which life of the database wrote last, see `life()`.
-- `replicated`: whether the last append waited for a synchronous standby. `max_message`: the most bytes of one message, as the
-- server that started last was told. `revoked`: counts the changes of `revoked`.
CREATE TABLE roomcast.log (
    id int PRIMARY KEY CHECK (id = 1),
    epoch text NOT NULL,
    newest bigint NOT NULL DEFAULT 0,
    newest_at bigint NOT NULL DEFAULT 0,
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

-- The messages retained. `prev`: an upper bound for the seq of the room's previous message; `nth`: its number in its
-- room, exact while the log remembers the room; `deleted`: the number of its deletion, its row is empty then.
CREATE TABLE roomcast.messages (
    seq bigint PRIMARY KEY,
    room text COLLATE "C" NOT NULL,
    type text,
    stored_at bigint NOT NULL,
    prev bigint NOT NULL,
    nth bigint NOT NULL,
    deleted bigint,
    body bytea NOT NULL
) WITH (autovacuum_vacuum_threshold = 5000, autovacuum_vacuum_scale_factor = 0.1);
CREATE INDEX messages_room ON roomcast.messages (room, seq);
CREATE INDEX messages_deleted ON roomcast.messages (seq) WHERE deleted IS NOT NULL;

-- What is known of each room that has messages, and of those that had some of late (`messages` = 0).
-- `trimmed`, `trimmed_at`: its last message that is gone; `lost`: how many ever went, at most; `capped`: the last one that
-- a cap took, what went behind it was deleted. A row of `messages` counts only behind its room's `trimmed`.
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

-- The newest appends, each a group of publishes in one transaction, by a random number of its server's. A server that lost
-- the connection finds here whether its append was stored, and one that is back whether the history is the one it knows.
-- `rooms`: of each of its messages the room, also of those that are gone: how many of a room are lost after any position.
CREATE TABLE roomcast.appends (
    nonce bigint PRIMARY KEY,
    first bigint NOT NULL,
    last bigint NOT NULL,
    stored_at bigint NOT NULL,
    at timestamptz NOT NULL DEFAULT now(),
    rooms text[] NOT NULL
);
CREATE INDEX appends_last ON roomcast.appends (last);

-- Idempotency keys. `first`, `count`: the messages of that append; `gone`: whether the first of them is trimmed, the key
-- is kept for a while then.
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

-- Rooms that were deleted and have rows left: those up to `upto` are there no longer, and go in steps.
CREATE TABLE roomcast.purges (
    room text COLLATE "C" PRIMARY KEY,
    upto bigint NOT NULL
);

-- What went but for the oldest of the whole log, by rules and because it was deleted, for all servers: the newest rows.
CREATE TABLE roomcast.cuts (
    number bigint PRIMARY KEY,
    room text COLLATE "C" NOT NULL,
    upto bigint NOT NULL,
    gone bigint NOT NULL
);

-- Whose tokens and tickets count no more where they were issued before `before`; `iss` is empty where it is whoever issued
-- them.
CREATE TABLE roomcast.revoked (
    sub text COLLATE "C" NOT NULL,
    iss text COLLATE "C" NOT NULL,
    before bigint NOT NULL,
    PRIMARY KEY (sub, iss)
);

-- The servers that run, and up to where each has delivered; NULL: nothing is kept for it. Not logged: after a crash of the
-- database each is written again within a second.
CREATE UNLOGGED TABLE roomcast.servers (
    server text PRIMARY KEY,
    position bigint,
    seen_at timestamptz NOT NULL
) WITH (fillfactor = 10);

-- What applications publish inside their own transactions (see `publish`). A server moves it to the log: it never waits for
-- the log's lock, and nobody waits for it. `message`: the text that was given, since `json` and its like change numbers.
CREATE TABLE roomcast.outbox (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    room text COLLATE "C" NOT NULL,
    message text NOT NULL,
    at timestamptz NOT NULL DEFAULT now()
) WITH (autovacuum_vacuum_threshold = 500, autovacuum_vacuum_scale_factor = 0);

-- What could not be moved, and why.
CREATE TABLE roomcast.outbox_refused (
    id bigint PRIMARY KEY,
    room text NOT NULL,
    message text NOT NULL,
    at timestamptz NOT NULL,
    refused_at timestamptz NOT NULL DEFAULT now(),
    why text NOT NULL
);

-- What changes these tables behind the servers' back makes their counts wrong, and history that others rely on: it is
-- refused in a sentence. The owner can set `roomcast.server` to 'on' and do it all the same.
CREATE FUNCTION roomcast.guard() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF current_setting('roomcast.server', true) IS DISTINCT FROM 'on' THEN
        RAISE EXCEPTION 'roomcast.% is written by roomcast itself', TG_TABLE_NAME
            USING HINT = 'Delete messages and rooms with DELETE /messages/{id} and DELETE /rooms/{room}; publish with '
                'roomcast.publish(room, message); set what is kept with --max-messages, --max-bytes and --max-age.';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER guard BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON roomcast.messages
    FOR EACH STATEMENT EXECUTE FUNCTION roomcast.guard();
CREATE TRIGGER guard BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON roomcast.rooms
    FOR EACH STATEMENT EXECUTE FUNCTION roomcast.guard();
CREATE TRIGGER guard BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON roomcast.log
    FOR EACH STATEMENT EXECUTE FUNCTION roomcast.guard();
