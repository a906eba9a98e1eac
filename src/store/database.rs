//! [`Store`]: the database itself. Every call blocks for as long as the disk takes.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, Error, OpenFlags, Row, params};

use super::Fault;
use super::rows::{self, OrderRow, Step, Text};
use super::schema::{migrate, version};
use crate::respond::servers::{LearntServer, ServerChanges};
use crate::respond::{Decision, Exempted, Held, Verdict};
use crate::time::Timestamp;
use crate::wire::Address;

/// How long somebody else's transaction is waited for.
const PATIENCE: Duration = Duration::from_secs(5);
/// A clock by which decisions have grown so old is not one that was set lately.
const GROWN: Duration = Duration::from_hours(24 * 30);

/// Rows that one transaction of [`Store::prune`] deletes, so that it never holds up a decision for long.
const CHUNK: u32 = 500;

/// A store, and what was found on the way to it.
#[derive(Debug)]
pub struct Opened {
    /// The store.
    pub store: Store,
    /// Where a damaged database was moved; a new one has been begun.
    pub moved: Option<PathBuf>,
}

/// The history database.
#[derive(Debug)]
pub struct Store {
    pub(super) db: Connection,
    path: PathBuf,
}

impl Store {
    /// Opens the database, makes it where there is none, and brings it to this version. A damaged one is moved aside.
    pub fn open(path: &Path) -> Result<Opened, Fault> {
        match Store::open_as_is(path) {
            Ok(store) => Ok(Opened { store, moved: None }),
            Err(Fault::Damaged(_)) => {
                let moved = move_aside(path)?;
                Store::open_as_is(path).map(|store| Opened { store, moved: Some(moved) })
            }
            Err(fault) => Err(fault),
        }
    }

    fn open_as_is(path: &Path) -> Result<Self, Fault> {
        let mut db = Connection::open(path)?;
        db.busy_timeout(PATIENCE)?;
        let found = version(&db)?;
        // Before the first table, or it has no effect: pruned pages are given back to the disk.
        db.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
        db.pragma_update(None, "journal_mode", "WAL")?;
        // In WAL this is one fsync a transaction: what was recorded outlives a power cut, too.
        db.pragma_update(None, "synchronous", "FULL")?;
        db.pragma_update(None, "foreign_keys", true)?;
        db.pragma_update(None, "journal_size_limit", 16 << 20)?;
        migrate(&mut db, found)?;
        let store = Store { db, path: path.to_owned() };
        // Damage to what a start needs must show now, while it can still be moved aside.
        for (table, column) in [("acted", "record"), ("exempted", "reason"), ("held", "record"), ("pardoned", "record")]
        {
            let sql = format!("SELECT coalesce(sum(length({column})), 0) FROM {table}");
            let _: i64 = store.db.query_row(&sql, [], |row| row.get(0))?;
        }
        Ok(store)
    }

    /// Opens the database for reading only, beside a daemon that writes to it.
    pub fn open_to_read(path: &Path) -> Result<Self, Fault> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let db = Connection::open_with_flags(path, flags)?;
        db.busy_timeout(PATIENCE)?;
        Ok(Store { db, path: path.to_owned() })
    }

    /// Its file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Carries out several writes as one: all of them are kept, or none.
    pub(super) fn together<T>(&mut self, work: impl FnOnce(&Store) -> Result<T, Fault>) -> Result<T, Fault> {
        self.db.execute_batch("BEGIN IMMEDIATE")?;
        let done = work(self).and_then(|value| {
            self.db.execute_batch("COMMIT")?;
            Ok(value)
        });
        if done.is_err() && !self.db.is_autocommit() {
            // SQLite may have rolled back by itself already, as it does on a full disk.
            let _ = self.db.execute_batch("ROLLBACK");
        }
        done
    }

    /// Keeps a decision with its evidence, and who is acted on by it. Durable when it returns.
    pub fn record(&mut self, decision: &Decision) -> Result<(), Fault> {
        self.together(|store| {
            store.add(decision)?;
            store.follow(decision)
        })
    }

    pub(super) fn add(&self, decision: &Decision) -> Result<(), Fault> {
        Ok(rows::insert_decision(&self.db, decision)?)
    }

    /// Brings the tables of acted and of pardoned hosts to where this decision puts them.
    fn follow(&self, decision: &Decision) -> Result<(), Fault> {
        if decision.action().is_some() {
            self.put_acted(decision)?;
            self.unpardon(&decision.key())?;
            decision.overrules.iter().try_for_each(|suspect| self.unpardon(suspect))?;
        } else if decision.decision == Verdict::Release {
            self.forget(&decision.key())?;
            if decision.pardoned_until.is_some() {
                self.put_pardon(decision)?;
            }
        }
        Ok(())
    }

    /// Takes a suspect, by [`key`](crate::suspect::key), off those acted on.
    pub(super) fn forget(&self, suspect: &str) -> Result<(), Fault> {
        self.db.prepare_cached("DELETE FROM acted WHERE suspect = ?")?.execute([suspect])?;
        Ok(())
    }

    pub(super) fn put_pardon(&self, release: &Decision) -> Result<(), Fault> {
        Ok(rows::put_pardon(&self.db, release)?)
    }

    pub(super) fn unpardon(&self, suspect: &str) -> Result<(), Fault> {
        self.db.prepare_cached("DELETE FROM pardoned WHERE suspect = ?")?.execute([suspect])?;
        Ok(())
    }

    pub(super) fn clear_pardons(&self) -> Result<(), Fault> {
        self.db.execute("DELETE FROM pardoned", [])?;
        Ok(())
    }

    pub(super) fn put_acted(&self, decision: &Decision) -> Result<(), Fault> {
        Ok(rows::put_acted(&self.db, decision)?)
    }

    /// Keeps what an engineer ordered.
    pub fn record_order(&self, order: &OrderRow) -> Result<(), Fault> {
        Ok(rows::insert_order(&self.db, order)?)
    }

    /// Replaces the list of held decisions.
    pub fn set_held(&self, held: &[Held]) -> Result<(), Fault> {
        self.db.execute("DELETE FROM held", [])?;
        for one in held {
            rows::put_held(&self.db, one)?;
        }
        Ok(())
    }

    /// Keeps what was learnt of servers.
    pub fn keep_servers(&self, changes: &ServerChanges) -> Result<(), Fault> {
        let mut put = self.db.prepare_cached("INSERT OR REPLACE INTO servers (service, record) VALUES (?, ?)")?;
        for server in &changes.kept {
            put.execute(params![Text(server.service), rows::json(server)?])?;
        }
        let mut forget = self.db.prepare_cached("DELETE FROM servers WHERE service = ?")?;
        for service in &changes.forgotten {
            forget.execute([Text(*service)])?;
        }
        Ok(())
    }

    /// The servers that were learnt, by when they last answered, the latest first.
    pub fn servers(&self) -> Result<Vec<LearntServer>, Fault> {
        self.all("SELECT record FROM servers ORDER BY last DESC", rows::record)
    }

    /// Replaces the list of networks exempted by command.
    pub fn set_exempted(&self, exempted: &[Exempted]) -> Result<(), Fault> {
        self.db.execute("DELETE FROM exempted", [])?;
        for one in exempted {
            rows::put_exempted(&self.db, one)?;
        }
        Ok(())
    }

    pub(super) fn clear_acted(&self) -> Result<(), Fault> {
        self.db.execute("DELETE FROM acted", [])?;
        Ok(())
    }

    fn all<T>(&self, sql: &str, read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>) -> Result<Vec<T>, Fault> {
        let mut statement = self.db.prepare_cached(sql)?;
        let rows = statement.query_map([], read)?;
        Ok(rows.filter(is_sound).collect::<rusqlite::Result<_>>()?)
    }

    /// The decisions by which hosts were contained or isolated when this was last written, by address; some may have run
    /// out since.
    pub fn acted(&self) -> Result<Vec<Decision>, Fault> {
        self.all(
            "SELECT json_set(record, '$.evidence', json(coalesce(
                 (SELECT decisions.record->'$.evidence' FROM decisions
                  WHERE decisions.host = acted.host AND decisions.suspect IN (acted.suspect, '')
                    AND decisions.decision = acted.verdict ORDER BY id DESC LIMIT 1), '[]'))) AS record
             FROM acted ORDER BY host",
            rows::record,
        )
    }

    /// What engineers put on the never-contain list by command.
    pub fn exempted(&self) -> Result<Vec<Exempted>, Fault> {
        self.all("SELECT * FROM exempted ORDER BY network", rows::exempted)
    }

    /// The releases by which engineers protect hosts, by address; some pardons may have run out since.
    pub fn pardons(&self) -> Result<Vec<Decision>, Fault> {
        self.all("SELECT record FROM pardoned ORDER BY host", rows::record)
    }

    /// The decisions that waited for an engineer when this was last written.
    pub fn held(&self) -> Result<Vec<Held>, Fault> {
        self.all("SELECT record FROM held ORDER BY id", rows::record)
    }

    /// Each host's latest place on the ladder, for decisions since `since`; newest first, at most `most`.
    pub fn steps(&self, since: Timestamp, most: u32) -> Result<Vec<Step>, Fault> {
        // SQLite takes the bare columns from the row that holds the maximum.
        let mut statement = self.db.prepare_cached(
            "SELECT host, CASE suspect WHEN '' THEN '- ' || host ELSE suspect END AS suspect, step, max(at) AS at
             FROM decisions WHERE at >= ? AND step > 0 AND decision IN ('contain', 'isolate')
             GROUP BY 2 ORDER BY max(at) DESC LIMIT ?",
        )?;
        let rows = statement.query_map(params![Text(since), most], rows::step)?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    /// The latest decisions, newest first.
    pub fn recent(&self, most: u32) -> Result<Vec<Decision>, Fault> {
        self.decisions("SELECT record FROM decisions ORDER BY id DESC LIMIT ?1", params![most])
    }

    /// The latest decisions about one host, newest first.
    pub fn of(&self, host: Address, most: u32) -> Result<Vec<Decision>, Fault> {
        let sql = "SELECT record FROM decisions WHERE host = ?2 ORDER BY id DESC LIMIT ?1";
        self.decisions(sql, params![most, Text(host)])
    }

    fn decisions(&self, sql: &str, parameters: &[&dyn rusqlite::ToSql]) -> Result<Vec<Decision>, Fault> {
        let mut statement = self.db.prepare_cached(sql)?;
        let rows = statement.query_map(parameters, rows::record)?;
        Ok(rows.filter(is_sound).collect::<rusqlite::Result<_>>()?)
    }

    /// The latest orders, newest first.
    pub fn orders(&self, most: u32) -> Result<Vec<OrderRow>, Fault> {
        let mut statement = self.db.prepare_cached("SELECT * FROM orders ORDER BY id DESC LIMIT ?")?;
        let rows = statement.query_map([most], rows::order)?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    /// Deletes one chunk of decisions and orders older than `keep` at the time `now`, and of decisions beyond the
    /// newest `most`. Gives how many rows went: with more than none, there may be more.
    ///
    /// Age deletes only beside a decision that is itself of some age ([`GROWN`], or half of `keep`) and kept: a clock that
    /// was set far ahead makes everything old at once but for what came since, and is doubted.
    pub fn prune(&mut self, now: Timestamp, keep: Duration, most: u32) -> Result<usize, Fault> {
        self.together(|store| {
            let db = &store.db;
            let oldest_kept = now - keep;
            let grown = now - GROWN.min(keep / 2);
            let likely: bool = db.query_row(
                "SELECT EXISTS (SELECT 1 FROM decisions WHERE at BETWEEN ? AND ?)",
                params![Text(oldest_kept), Text(grown)],
                |row| row.get(0),
            )?;
            let oldest_kept = if likely { oldest_kept } else { Timestamp::ZERO };
            let decisions = db
                .prepare_cached(
                    "DELETE FROM records WHERE id IN
                        (SELECT id FROM records
                         WHERE at < ?1 OR id <= (SELECT max(id) FROM records) - ?2 ORDER BY id LIMIT ?3)",
                )?
                .execute(params![Text(oldest_kept), most, CHUNK])?;
            // Those of an earlier version are older than all of these.
            let older = db
                .prepare_cached(
                    "DELETE FROM old_decisions WHERE id IN
                        (SELECT id FROM old_decisions
                         WHERE at < ?1 OR id <= (SELECT seq FROM sqlite_sequence WHERE name = 'records') - ?2
                         ORDER BY id LIMIT ?3)",
                )?
                .execute(params![Text(oldest_kept), most, CHUNK])?;
            let orders = db
                .prepare_cached(
                    "DELETE FROM orders WHERE id IN (SELECT id FROM orders WHERE at < ? ORDER BY id LIMIT ?)",
                )?
                .execute(params![Text(oldest_kept), CHUNK])?;
            db.prepare_cached("DELETE FROM pardoned WHERE until < ?")?.execute([Text(oldest_kept)])?;
            Ok(decisions + older + orders)
        })
        .inspect(|_| {
            // Gives free pages back, a bounded number at a time (a page a row); not worth an error.
            let _ = self.all("PRAGMA incremental_vacuum(256)", |_| Ok(()));
        })
    }

    /// Moves the write-ahead log into the database and gives its room back, as far as that is possible now.
    pub(super) fn checkpoint(&self) {
        let _ = self.all("PRAGMA wal_checkpoint(TRUNCATE)", |_| Ok(()));
    }

    /// Most pages the file may have: stands in for a full disk.
    #[cfg(test)]
    pub(super) fn limit_pages(&self, most: u32) {
        let _: i64 = self.db.query_row(&format!("PRAGMA max_page_count = {most}"), [], |row| row.get(0)).unwrap();
    }
}

/// A row that somebody edited into nonsense costs itself and nothing else.
fn is_sound<T>(row: &rusqlite::Result<T>) -> bool {
    !matches!(row, Err(Error::FromSqlConversionFailure(..) | Error::InvalidColumnType(..)))
}

/// Moves a damaged database and its journals to a name of their own.
fn move_aside(path: &Path) -> Result<PathBuf, Fault> {
    let mut to = path.as_os_str().to_owned();
    let stamp = crate::config::wall_clock().secs();
    to.push(format!(".damaged-{stamp}"));
    let to = PathBuf::from(to);
    std::fs::rename(path, &to).map_err(|source| Fault::MoveAside { to: to.clone(), source })?;
    for journal in ["-wal", "-shm"] {
        let with = |base: &Path| {
            let mut name = base.as_os_str().to_owned();
            name.push(journal);
            PathBuf::from(name)
        };
        // A journal without its database would be applied to the new one.
        match std::fs::rename(with(path), with(&to)) {
            Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
                return Err(Fault::MoveAside { to: with(&to), source });
            }
            _ => {}
        }
    }
    Ok(to)
}
