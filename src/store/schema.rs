//! The tables, and the way from older ones.
//!
//! A decision is kept as its JSON, `record`, and read back from it; every other column is read out of it by the database, for
//! whoever asks with sqlite3: ask `decisions`, `evidence`, `timeline`, `orders`, `acted`, `held`. Rows from before version 5
//! have no JSON and stay where they are, until they are pruned: the view `decisions` puts theirs together from the columns.
//!
//! Times are RFC 3339 texts in UTC with milliseconds, which sort as they read; addresses are texts in their usual
//! notation; scores and weights are in nats. A step never changes once it was released: add another.

use rusqlite::Connection;

use super::Fault;

/// "fdor" in ASCII: what `file` shows of the database.
const APPLICATION_ID: i32 = 0x6664_6f72;

/// Whether a suspect's text names a card: six pairs of hexadecimal digits. No address reads like that.
macro_rules! is_card {
    () => {
        "substr(suspect, instr(suspect, ' ') + 1) GLOB '[0-9a-f][0-9a-f]:[0-9a-f][0-9a-f]:[0-9a-f][0-9a-f]:[0-9a-f][0-9a-f]:[0-9a-f][0-9a-f]:[0-9a-f][0-9a-f]'"
    };
}

/// A suspect's JSON, from the columns of version 4.
macro_rules! suspect {
    ($interface:literal, $outer:literal, $inner:literal) => {
        concat!(
            "json_object('link', json_object('interface', ", $interface, ", 'outer', ", $outer, ", 'inner', ", $inner,
            "), 'who', json(CASE
                WHEN suspect = '' THEN json_object('address', host)
                WHEN ", is_card!(), " THEN json_object('card', substr(suspect, instr(suspect, ' ') + 1))
                WHEN suspect LIKE '%/64' THEN json_object('network', replace(substr(suspect, instr(suspect, ' ') + 1), '/64', ''))
                ELSE json_object('address', substr(suspect, instr(suspect, ' ') + 1)) END)),
            'link', CASE WHEN suspect = '' OR suspect LIKE '- %' THEN '' ELSE substr(suspect, 1, instr(suspect, ' ') - 1) END,
            'card', CASE WHEN ", is_card!(), " THEN substr(suspect, instr(suspect, ' ') + 1) END"
        )
    };
}

/// The rest of what the tables of version 4 have in common.
macro_rules! lists {
    () => {
        "'addresses', json(CASE addresses WHEN '' THEN 'null' WHEN host THEN 'null' WHEN '0.0.0.0' THEN '[]'
                           ELSE '[\"' || replace(addresses, ' ', '\",\"') || '\"]' END),
         'ports', json(CASE ports WHEN '' THEN '[]' ELSE '[\"' || replace(ports, ' ', '\",\"') || '\"]' END)"
    };
}

macro_rules! operator {
    () => {
        "'by', json(CASE WHEN operator IS NULL THEN '\"firedoor\"' ELSE json_object('operator', operator) END)"
    };
}

/// Each step takes the database from the version of its position to the next.
const STEPS: [&str; 6] = [
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
        enforced     INTEGER NOT NULL,  -- 1 if it was put into the kernel
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
    // 5: a decision is its JSON
    concat!(
        "
    DROP VIEW timeline;
    ALTER TABLE decisions RENAME TO old_decisions;
    ALTER TABLE evidence RENAME TO old_evidence;

    CREATE TABLE records (              -- decisions, since this version
        id       INTEGER PRIMARY KEY AUTOINCREMENT,
        suspect  TEXT NOT NULL,         -- link (or -), then card or address
        record   TEXT NOT NULL CHECK (json_valid(record)),
        at       TEXT AS (record->>'at'),
        host     TEXT AS (record->>'host')
    );
    INSERT INTO sqlite_sequence SELECT 'records', coalesce(max(id), 0) FROM old_decisions;
    CREATE INDEX records_by_host ON records (host, id);
    CREATE INDEX records_by_time ON records (at);

    CREATE VIEW decisions AS
        SELECT id, at, host, decision, score, threshold, destinations, grade,
               CASE decision WHEN 'release' THEN NULL ELSE until END AS until,
               CASE decision WHEN 'release' THEN until END AS pardoned_until, step, enforced, reason, operator,
               interface, vlan, inner_vlan, mac, suspect, addresses, ports, json_object(
        'at', at, 'host', host, 'decision', decision, 'score', score, 'threshold', threshold,
        'destinations', destinations, 'grade', grade, 'until', CASE decision WHEN 'release' THEN NULL ELSE until END,
        'pardoned_until', CASE decision WHEN 'release' THEN until END, 'step', step,
        'enforced', json(CASE enforced WHEN 0 THEN 'false' ELSE 'true' END), 'reason', reason, ",
        operator!(),
        ", 'suspect', ",
        suspect!("interface", "vlan", "inner_vlan"),
        ", 'sender', mac, ",
        lists!(),
        ", 'evidence', json((SELECT json_group_array(json_object('signal', signal, 'at', at, 'peer', peer, 'port', port,
                                                                'weight', weight, 'detail', detail))
                             FROM (SELECT * FROM old_evidence WHERE decision_id = old_decisions.id ORDER BY place)))
        ) AS record FROM old_decisions
        UNION ALL
        SELECT id, at, host, record->>'decision', record->>'score', record->>'threshold', record->>'destinations',
               record->>'grade', record->>'until', record->>'pardoned_until', record->>'step', record->>'enforced',
               record->>'reason', record->>'$.by.operator', record->>'$.suspect.link.interface',
               record->>'$.suspect.link.outer', record->>'$.suspect.link.inner',
               coalesce(record->>'sender', '00:00:00:00:00:00'), suspect,
               coalesce((SELECT group_concat(value, ' ') FROM json_each(record, '$.addresses')), ''),
               coalesce((SELECT group_concat(value, ' ') FROM json_each(record, '$.ports')), ''), record
        FROM records;

    CREATE VIEW timeline AS
        SELECT at, host, decision, coalesce(operator, 'Firedoor itself') AS who, round(score, 2) AS score,
               destinations, until, enforced, reason
        FROM decisions
        UNION ALL
        SELECT at, target, what, operator, NULL, NULL, NULL, done, coalesce(reason || ': ', '') || answer FROM orders
        ORDER BY at;

    CREATE VIEW evidence AS
        SELECT decision_id, place, signal, at, peer, port, weight, detail FROM old_evidence
        UNION ALL
        SELECT records.id, key, value->>'signal', value->>'at', value->>'peer', value->>'port', value->>'weight',
               value->>'detail'
        FROM records, json_each(records.record, '$.evidence');

    CREATE TABLE now_acted (            -- who is contained or isolated now
        suspect  TEXT PRIMARY KEY,      -- link (or -), then card or address
        record   TEXT NOT NULL CHECK (json_valid(record)), -- the decision; its evidence stands in decisions
        host     TEXT AS (record->>'host'),
        verdict  TEXT AS (record->>'decision'),
        since    TEXT AS (record->>'at'),
        until    TEXT AS (record->>'until'),
        step     INTEGER AS (record->>'step'),
        operator TEXT AS (record->>'$.by.operator'),
        reason   TEXT AS (record->>'reason')
    );
    INSERT INTO now_acted (suspect, record) SELECT suspect, json_object(
        'at', since, 'host', host, 'decision', verdict, 'score', score, 'threshold', threshold,
        'destinations', destinations, 'grade', grade, 'until', until, 'step', step,
        'enforced', json(coalesce((SELECT CASE enforced WHEN 0 THEN 'false' END FROM old_decisions
                                   WHERE old_decisions.host = acted.host ORDER BY id DESC LIMIT 1), 'true')),
        'reason', reason, ",
        operator!(),
        ", 'suspect', ",
        suspect!("interface", "vlan", "inner_vlan"),
        ", 'sender', mac, ",
        lists!(),
        ", 'evidence', json('[]')) FROM acted;
    DROP TABLE acted;
    ALTER TABLE now_acted RENAME TO acted;

    CREATE TABLE now_pardoned (         -- whom an engineer's release protects: until then it is only watched
        suspect  TEXT PRIMARY KEY,
        record   TEXT NOT NULL CHECK (json_valid(record)), -- the release
        host     TEXT AS (record->>'host'),
        until    TEXT AS (record->>'pardoned_until'),
        at       TEXT AS (record->>'at'),
        operator TEXT AS (record->>'$.by.operator'),
        reason   TEXT AS (record->>'reason')
    );
    INSERT INTO now_pardoned (suspect, record) SELECT suspect, json_object(
        'at', at, 'host', host, 'decision', 'release', 'score', 0.0, 'threshold', 0.0, 'destinations', 0,
        'pardoned_until', until, 'step', 0, 'enforced', json('true'), 'reason', reason, ",
        operator!(),
        ", 'suspect', ",
        suspect!("0", "0", "0"),
        ", 'evidence', json('[]')) FROM pardoned;
    DROP TABLE pardoned;
    ALTER TABLE now_pardoned RENAME TO pardoned;

    CREATE TABLE now_held (             -- what waits for an engineer because the breaker tripped
        id     INTEGER PRIMARY KEY,
        record TEXT NOT NULL CHECK (json_valid(record)), -- the decision to hold, with its number and what would be done
        at     TEXT AS (record->>'at'),
        host   TEXT AS (record->>'host'),
        would  TEXT AS (record->>'would'),
        grade  TEXT AS (record->>'grade'),
        score  REAL AS (record->>'score'),
        reason TEXT AS (record->>'reason')
    );
    INSERT INTO now_held (id, record)
        WITH waited AS (SELECT *, CASE WHEN json_valid(evidence) THEN evidence ELSE '[]' END AS seen,
                               (SELECT record FROM decisions
                                WHERE decisions.host = held.host AND decisions.at = held.at AND decision = 'hold'
                                ORDER BY id DESC LIMIT 1) AS known FROM held),
             worded AS (SELECT *, CASE WHEN json_array_length(seen) > 0 THEN seen
                                       ELSE coalesce(known->'$.evidence', '[]') END AS words FROM waited)
        SELECT id, json_patch(
            coalesce(known, json_object('at', at, 'host', host, 'decision', 'hold', 'threshold', 0.0, 'step', 0,
                'enforced', json('false'), 'by', 'firedoor', 'suspect',
                json_object('link', json_object('interface', 0, 'outer', 0, 'inner', 0), 'who', json_object('address', host)))),
            json_object('id', id, 'would', would, 'grade', grade, 'score', score, 'destinations', destinations,
                'reason', reason, 'signal', words->>'$[#-1].signal', 'evidence', json(words))) FROM worded;
    DROP TABLE held;
    ALTER TABLE now_held RENAME TO held;
    ",
    ),
    // 6
    "
    CREATE TABLE servers (              -- who answered whom on which service: servers as they are learnt
        service TEXT PRIMARY KEY,       -- as greylist.servers has it
        record  TEXT NOT NULL CHECK (json_valid(record)),
        address TEXT AS (record->>'$.service.address'),
        port    INTEGER AS (record->>'$.service.port'),
        since   TEXT AS (record->>'since'),
        last    TEXT AS (record->>'last'),
        days    INTEGER AS (record->>'days'),
        clients INTEGER AS (json_array_length(record, '$.clients'))
    );
    ",
];

/// The first version's tables, for tests of the way from there.
#[cfg(test)]
pub(super) const FIRST: &str = STEPS[0];

/// The steps to version 4, the last whose rows were no JSON.
#[cfg(test)]
pub(super) fn to_fourth() -> impl Iterator<Item = &'static str> {
    STEPS.into_iter().take(4)
}

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
