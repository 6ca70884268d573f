-- Version 2 adds rules for rooms, and deletes of single messages and of rooms. Each stored message gets the next `seq`.
-- A room retains all its messages from some message on, but the whole log may now have holes.

-- `capped`: the room's last message that a cap removed; later ones that are gone were deleted.
ALTER TABLE rooms ADD COLUMN capped INTEGER NOT NULL DEFAULT 0;
UPDATE rooms SET capped = trimmed;

-- `messages`: how many are retained; `deletions`: how many single ones were ever deleted.
ALTER TABLE state ADD COLUMN messages INTEGER NOT NULL DEFAULT 0;
ALTER TABLE state ADD COLUMN deletions INTEGER NOT NULL DEFAULT 0;
UPDATE state SET messages = newest - trimmed;

-- The messages that were deleted and are not trimmed yet: each has an empty row in `messages`. `number`: the number of
-- its deletion.
CREATE TABLE deleted (
    seq INTEGER PRIMARY KEY,
    room TEXT NOT NULL,
    number INTEGER NOT NULL
) STRICT;

CREATE INDEX deleted_room ON deleted (room);

-- Deleted rooms that have rows left: the rows up to `upto` no longer count, and go in steps.
CREATE TABLE purges (
    room TEXT PRIMARY KEY,
    upto INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- The messages of each room, including gone ones. One row has the messages from `first` to `last`, about 1,000.
-- `rooms`: {room: [seq, …]}. A message is removed only after it is registered.
CREATE TABLE register (
    last INTEGER PRIMARY KEY,
    first INTEGER NOT NULL,
    rooms TEXT NOT NULL
) STRICT;

INSERT INTO register
SELECT max(last), min(first), json_group_object(room, json(seqs))
FROM (
    SELECT
        seq / 1000 AS part, room, min(seq) AS first, max(seq) AS last, json_group_array(seq ORDER BY seq) AS seqs
    FROM messages GROUP BY part, room
) GROUP BY part;

-- `gone`: whether the key's first message is trimmed; the key is then kept for a while.
ALTER TABLE keys ADD COLUMN stored_at INTEGER NOT NULL DEFAULT 0;
ALTER TABLE keys ADD COLUMN gone INTEGER NOT NULL DEFAULT 0;
UPDATE keys SET stored_at = coalesce((SELECT stored_at FROM messages WHERE seq = first), 0);
DROP INDEX keys_first;
CREATE INDEX keys_first ON keys (first) WHERE gone = 0;
CREATE INDEX keys_gone ON keys (stored_at) WHERE gone = 1;

-- Persons whose tokens and tickets issued before `before` are invalid; an empty `iss` means every issuer.
CREATE TABLE revoked (
    sub TEXT NOT NULL,
    iss TEXT NOT NULL,
    before INTEGER NOT NULL,
    PRIMARY KEY (sub, iss)
) STRICT, WITHOUT ROWID
