//! What goes into rows, and what comes out: decisions as their JSON, orders and exempted networks by column.

use std::str::FromStr;

use ipnetwork::IpNetwork;
use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSql, ToSqlOutput, ValueRef};
use rusqlite::{Connection, Row, params};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::respond::{Decision, Exempted, Held};
use crate::suspect::{Suspect, Who, read_key};
use crate::time::Timestamp;
use crate::wire::{Address, Link};

/// An order by an engineer, carried out or refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct OrderRow {
    /// When.
    pub at: Timestamp,
    /// Who, as the kernel vouches for it.
    pub operator: String,
    /// What: the order's label.
    pub what: String,
    /// About whom or what, if anything.
    pub target: Option<String>,
    /// Why, in the engineer's words.
    pub reason: Option<String>,
    /// Whether it was carried out.
    pub done: bool,
    /// What was done, or why not.
    pub answer: String,
}

/// A host's latest place on the ladder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// The suspect; its link is to be found by name.
    pub suspect: Suspect,
    /// The link's name.
    pub link: String,
    /// The rung, from 1.
    pub step: u8,
    /// When it was decided.
    pub at: Timestamp,
}

/// Something that is kept as text: an address, a time, a word of a closed set.
#[derive(Debug)]
pub(super) struct Text<T>(pub T);

impl<T: FromStr> FromSql for Text<T>
where
    T::Err: std::error::Error + Send + Sync + 'static,
{
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        value.as_str()?.parse().map(Text).map_err(FromSqlError::other)
    }
}

impl<T: ToString> ToSql for Text<T> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(self.0.to_string().into())
    }
}

/// A row's record, read back. What somebody edited into nonsense is an error that costs that row alone.
pub(super) fn record<T: DeserializeOwned>(row: &Row<'_>) -> rusqlite::Result<T> {
    let text = row.get_ref("record")?.as_str()?;
    serde_json::from_str(text).map_err(|error| FromSqlError::other(error).into())
}

/// As it is kept.
pub(super) fn json(record: &impl Serialize) -> rusqlite::Result<String> {
    serde_json::to_string(record).map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))
}

/// The suspect of a row, and its link's name; one without is about its host, wherever it is.
fn suspect(row: &Row<'_>, host: Address) -> rusqlite::Result<(String, Suspect)> {
    let text: String = row.get("suspect")?;
    let (link, who) = read_key(&text).unwrap_or((String::new(), Who::Address(host)));
    Ok((link, Suspect { link: Link::default(), who }))
}

pub(super) fn insert_decision(db: &Connection, decision: &Decision) -> rusqlite::Result<()> {
    put(db, "INSERT INTO records (suspect, record) VALUES (?, ?)", decision)
}

pub(super) fn put_acted(db: &Connection, decision: &Decision) -> rusqlite::Result<()> {
    put(
        db,
        "INSERT OR REPLACE INTO acted (suspect, record) VALUES (?, json_set(?, '$.evidence', json('[]')))",
        decision,
    )
}

pub(super) fn put_pardon(db: &Connection, release: &Decision) -> rusqlite::Result<()> {
    put(db, "INSERT OR REPLACE INTO pardoned (suspect, record) VALUES (?, ?)", release)
}

fn put(db: &Connection, sql: &str, decision: &Decision) -> rusqlite::Result<()> {
    db.prepare_cached(sql)?.execute(params![decision.key(), json(decision)?])?;
    Ok(())
}

pub(super) fn put_held(db: &Connection, held: &Held) -> rusqlite::Result<()> {
    let mut put = db.prepare_cached("INSERT OR REPLACE INTO held (id, record) VALUES (?, ?)")?;
    put.execute(params![i64::try_from(held.id).unwrap_or(i64::MAX), json(held)?])?;
    Ok(())
}

pub(super) fn step(row: &Row<'_>) -> rusqlite::Result<Step> {
    let (link, suspect) = suspect(row, row.get::<_, Text<_>>("host")?.0)?;
    Ok(Step { suspect, link, step: row.get("step")?, at: row.get::<_, Text<_>>("at")?.0 })
}

pub(super) fn insert_order(db: &Connection, order: &OrderRow) -> rusqlite::Result<()> {
    let mut insert = db.prepare_cached(
        "INSERT INTO orders (at, operator, what, target, reason, done, answer) VALUES (?, ?, ?, ?, ?, ?, ?)",
    )?;
    let OrderRow { at, operator, what, target, reason, done, answer } = order;
    insert.execute(params![Text(*at), operator, what, target, reason, done, answer])?;
    Ok(())
}

pub(super) fn order(row: &Row<'_>) -> rusqlite::Result<OrderRow> {
    Ok(OrderRow {
        at: row.get::<_, Text<_>>("at")?.0,
        operator: row.get("operator")?,
        what: row.get("what")?,
        target: row.get("target")?,
        reason: row.get("reason")?,
        done: row.get("done")?,
        answer: row.get("answer")?,
    })
}

pub(super) fn put_exempted(db: &Connection, exempted: &Exempted) -> rusqlite::Result<()> {
    let mut put =
        db.prepare_cached("INSERT OR REPLACE INTO exempted (network, at, operator, reason) VALUES (?, ?, ?, ?)")?;
    put.execute(params![Text(exempted.network), Text(exempted.at), exempted.by, exempted.reason])?;
    Ok(())
}

pub(super) fn exempted(row: &Row<'_>) -> rusqlite::Result<Exempted> {
    Ok(Exempted {
        network: row.get::<_, Text<IpNetwork>>("network")?.0,
        by: row.get("operator")?,
        at: row.get::<_, Text<_>>("at")?.0,
        reason: row.get("reason")?,
    })
}
