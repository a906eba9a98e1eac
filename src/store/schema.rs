//! The tables, and the way from older ones.
//!
//! Times are RFC 3339 texts in UTC with milliseconds, which sort as they read; addresses are texts in their usual
//! notation; scores and weights are in nats. A step never changes once it was released: add another.

use rusqlite::Connection;

use super::Fault;

/// "fdor" in ASCII: what `file` shows of the database.
const APPLICATION_ID: i32 = 0x6664_6f72;

/// Each step takes the database from the version of its position to the next.
const STEPS: [&str; 4] = [
    // 1
    "
    CREATE TABLE decisions (
        id           INTEGER PRIMARY KEY,
        at           TEXT NOT NULL,
        host         TEXT NOT NULL,
        decision     TEXT NOT NULL,     -- watch, throttle, contain, isolate, release, hold
        score        REAL NOT NULL,     -- nats
        threshold    REAL NOT NULL,     -- nats
        destinations INTEGER NOT NULL,  -- distinct destinations of first contact
        grade        TEXT,              -- watch, scan, exploit; NULL for an engineer's order
        until        TEXT,              -- NULL is until released, or does not apply
        step         INTEGER NOT NULL,  -- rung of the ladder, from 1; 0 where it has no part
        enforced     INTEGER NOT NULL,  -- 1 if the kernel was told
        reason       TEXT NOT NULL,
        operator     TEXT,              -- NULL is Firedoor itself
        interface    INTEGER NOT NULL,
        vlan         INTEGER NOT NULL,
        mac          TEXT NOT NULL
    );
    CREATE INDEX decisions_by_host ON decisions (host, id);
    CREATE INDEX decisions_by_time ON decisions (at);

    CREATE TABLE evidence (
        decision_id INTEGER NOT NULL REFERENCES decisions (id) ON DELETE CASCADE,
        place       INTEGER NOT NULL,   -- oldest first
        signal      TEXT NOT NULL,
        at          TEXT NOT NULL,
        peer        TEXT NOT NULL,
        port        INTEGER NOT NULL,   -- 0 where there is none
        weight      REAL NOT NULL,      -- nats
        detail      TEXT NOT NULL,
        PRIMARY KEY (decision_id, place)
    ) WITHOUT ROWID;

    CREATE TABLE acted (                -- who is contained or isolated now
        host         TEXT PRIMARY KEY,
        verdict      TEXT NOT NULL,
        since        TEXT NOT NULL,
        until        TEXT,
        step         INTEGER NOT NULL,
        grade        TEXT,
        operator     TEXT,
        reason       TEXT NOT NULL,
        score        REAL NOT NULL,
        threshold    REAL NOT NULL,
        destinations INTEGER NOT NULL,
        interface    INTEGER NOT NULL,
        vlan         INTEGER NOT NULL,
        mac          TEXT NOT NULL
    );

    CREATE TABLE orders (               -- what engineers ordered
        id       INTEGER PRIMARY KEY,
        at       TEXT NOT NULL,
        operator TEXT NOT NULL,
        what     TEXT NOT NULL,         -- contain, isolate, release, confirm, discard, reload, rearm, exempt, unexempt
        target   TEXT,
        reason   TEXT,
        done     INTEGER NOT NULL,      -- 0 if it was refused
        answer   TEXT NOT NULL
    );
    CREATE INDEX orders_by_time ON orders (at);

    CREATE TABLE held (                 -- what waits for an engineer because the breaker tripped
        id           INTEGER PRIMARY KEY,
        at           TEXT NOT NULL,
        host         TEXT NOT NULL,
        would        TEXT NOT NULL,
        grade        TEXT NOT NULL,
        score        REAL NOT NULL,
        destinations INTEGER NOT NULL,
        reason       TEXT NOT NULL,
        evidence     TEXT NOT NULL      -- JSON
    );

    CREATE TABLE exempted (             -- put on the never-contain list by command
        network  TEXT PRIMARY KEY,
        at       TEXT NOT NULL,
        operator TEXT NOT NULL,
        reason   TEXT NOT NULL
    );

    CREATE VIEW timeline AS
        SELECT at, host, decision, coalesce(operator, 'Firedoor itself') AS who, round(score, 2) AS score,
               destinations, until, enforced, reason
        FROM decisions
        UNION ALL
        SELECT at, target, what, operator, NULL, NULL, NULL, done, coalesce(reason || ': ', '') || answer FROM orders
        ORDER BY at;
    ",
    // 2
    "
    CREATE TABLE pardoned (             -- whom an engineer's release protects: until then it is only watched
        host     TEXT PRIMARY KEY,
        until    TEXT NOT NULL,
        at       TEXT NOT NULL,
        operator TEXT,
        reason   TEXT NOT NULL
    );
    ",
    // 3
    "
    CREATE TABLE clock (                -- by which clock the times here were written: one row
        boot TEXT NOT NULL,             -- the machine's boot
        zero TEXT NOT NULL              -- what it showed when that boot's monotonic clock was at zero
    );
    ",
    // 4: decisions are about suspects: a card on its link, or an address on a link
    "
    ALTER TABLE decisions ADD COLUMN suspect TEXT NOT NULL DEFAULT '';   -- link, then card or address; '' before this version
    ALTER TABLE decisions ADD COLUMN addresses TEXT NOT NULL DEFAULT ''; -- all of them, where there are several
    ALTER TABLE decisions ADD COLUMN ports TEXT NOT NULL DEFAULT '';     -- shut besides the lateral services
    ALTER TABLE decisions ADD COLUMN inner_vlan INTEGER NOT NULL DEFAULT 0;

    CREATE TABLE now_acted (            -- who is contained or isolated now
        suspect      TEXT PRIMARY KEY,  -- link (or -), then card or address
        host         TEXT NOT NULL,
        addresses    TEXT NOT NULL,
        ports        TEXT NOT NULL,
        verdict      TEXT NOT NULL,
        since        TEXT NOT NULL,
        until        TEXT,
        step         INTEGER NOT NULL,
        grade        TEXT,
        operator     TEXT,
        reason       TEXT NOT NULL,
        score        REAL NOT NULL,
        threshold    REAL NOT NULL,
        destinations INTEGER NOT NULL,
        interface    INTEGER NOT NULL,
        vlan         INTEGER NOT NULL,
        inner_vlan   INTEGER NOT NULL,
        mac          TEXT NOT NULL
    );
    INSERT INTO now_acted SELECT '- ' || host, host, '', '', verdict, since, until, step, grade, operator, reason, score,
                                 threshold, destinations, interface, vlan, 0, mac FROM acted;
    DROP TABLE acted;
    ALTER TABLE now_acted RENAME TO acted;

    CREATE TABLE now_pardoned (         -- whom an engineer's release protects: until then it is only watched
        suspect  TEXT PRIMARY KEY,
        host     TEXT NOT NULL,
        until    TEXT NOT NULL,
        at       TEXT NOT NULL,
        operator TEXT,
        reason   TEXT NOT NULL
    );
    INSERT INTO now_pardoned SELECT '- ' || host, host, until, at, operator, reason FROM pardoned;
    DROP TABLE pardoned;
    ALTER TABLE now_pardoned RENAME TO pardoned;

    ALTER TABLE held ADD COLUMN suspect TEXT NOT NULL DEFAULT '';
    ALTER TABLE held ADD COLUMN addresses TEXT NOT NULL DEFAULT '';
    ",
];

/// The first version's tables, for tests of the way from there.
#[cfg(test)]
pub(super) const FIRST: &str = STEPS[0];

/// The version this program writes.
pub(super) const VERSION: usize = STEPS.len();

/// The version a database has, 0 if it is empty. Changes nothing in the file.
pub(super) fn version(connection: &Connection) -> Result<usize, Fault> {
    let found: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    match usize::try_from(found) {
        Ok(found) if found <= VERSION => Ok(found),
        _ => Err(Fault::Newer { found, known: VERSION }),
    }
}

/// Brings a database of version `found` to this program's, step by step, each in a transaction of its own.
pub(super) fn migrate(connection: &mut Connection, found: usize) -> Result<(), Fault> {
    for (at, step) in STEPS.iter().enumerate().skip(found) {
        let change = connection.transaction()?;
        change.execute_batch(step)?;
        change.pragma_update(None, "application_id", APPLICATION_ID)?;
        change.pragma_update(None, "user_version", i64::try_from(at + 1).unwrap_or(i64::MAX))?;
        change.commit()?;
    }
    Ok(())
}
