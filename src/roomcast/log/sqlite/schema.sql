-- Version 1 of the database. `seq` is dense over the whole log: it retains exactly trimmed < seq <= newest.

-- The retained messages. `prev`: an upper bound for the seq of the room's previous message.
CREATE TABLE messages (
    seq INTEGER PRIMARY KEY,
    room TEXT NOT NULL,
    type TEXT,
    stored_at INTEGER NOT NULL,
    prev INTEGER NOT NULL,
    body BLOB NOT NULL
) STRICT;

-- Every index ends with the rowid, here seq: this one serves as (room, seq).
CREATE INDEX messages_room ON messages (room);

-- The rooms that have messages, and those that had some recently (`messages` = 0). `trimmed`, `trimmed_at`: the room's
-- last message that was trimmed; `lost`: how many ever were, at most.
CREATE TABLE rooms (
    room TEXT PRIMARY KEY,
    newest INTEGER NOT NULL,
    newest_at INTEGER NOT NULL,
    trimmed INTEGER NOT NULL,
    trimmed_at INTEGER NOT NULL,
    lost INTEGER NOT NULL,
    messages INTEGER NOT NULL,
    bytes INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- The empty rooms, in the order in which they are forgotten.
CREATE INDEX rooms_empty ON rooms (newest) WHERE messages = 0;

-- Idempotency keys, for as long as their first message is retained.
CREATE TABLE keys (
    scope TEXT NOT NULL,
    key TEXT NOT NULL,
    digest BLOB NOT NULL,
    first INTEGER NOT NULL,
    count INTEGER NOT NULL,
    PRIMARY KEY (scope, key)
) STRICT, WITHOUT ROWID;

CREATE INDEX keys_first ON keys (first);

-- The log as a whole, one row. `forgotten`, `forgotten_at`: an upper bound for the seq and the time of all messages of
-- rooms that are not in `rooms`. `synchronous`, `clean`: how the last server waited for the disk, and whether it closed
-- the log.
CREATE TABLE state (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    epoch TEXT NOT NULL,
    newest INTEGER NOT NULL,
    newest_at INTEGER NOT NULL,
    trimmed INTEGER NOT NULL,
    bytes INTEGER NOT NULL,
    forgotten INTEGER NOT NULL,
    forgotten_at INTEGER NOT NULL,
    synchronous TEXT NOT NULL,
    clean INTEGER NOT NULL
) STRICT;

INSERT INTO state VALUES (1, '', 0, 0, 0, 0, 0, 0, 'full', 1);
