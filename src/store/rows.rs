//! Rows of the database as the program's own types, and back.

use std::str::FromStr;

use ipnetwork::IpNetwork;
use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSql, ToSqlOutput, ValueRef};
use rusqlite::{Connection, Row, params};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::api::host::{ActView, EvidenceView, Exempted, HeldView};
use crate::evidence::{Attachment, Evidence, Score};
use crate::respond::cases::{NO_ADDRESS, card_of};
use crate::respond::{By, Case, Decision, Verdict, service_name, service_of};
use crate::suspect::{Suspect, Who, key, read_key};
use crate::time::Timestamp;
use crate::wire::frame::Transport;
use crate::wire::{Address, Link, Mac};

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

/// An engineer's release that still protects a host: until then it is only watched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pardon {
    /// The suspect; its link is to be found by name.
    pub suspect: Suspect,
    /// The link's name.
    pub link: String,
    /// The address that it is called by.
    pub host: Address,
    /// Until when.
    pub until: Timestamp,
    /// When it was released.
    pub at: Timestamp,
    /// By whom.
    pub by: By,
    /// Why.
    pub reason: String,
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

/// A word of a closed set, as its JSON has it.
#[derive(Debug)]
struct Word<T>(T);

impl<T: DeserializeOwned> FromSql for Word<T> {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        let word = serde_json::Value::from(value.as_str()?);
        serde_json::from_value(word).map(Word).map_err(FromSqlError::other)
    }
}

impl<T: Serialize> ToSql for Word<T> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        match serde_json::to_value(&self.0) {
            Ok(serde_json::Value::String(word)) => Ok(word.into()),
            Ok(_) => Ok(rusqlite::types::Null.into()),
            Err(error) => Err(rusqlite::Error::ToSqlConversionFailure(error.into())),
        }
    }
}

fn operator(by: &By) -> Option<&str> {
    match by {
        By::Firedoor => None,
        By::Operator(name) => Some(name),
    }
}

fn by(operator: Option<String>) -> By {
    operator.map_or(By::Firedoor, By::Operator)
}

fn mac(text: &str) -> Mac {
    let mut mac = [0; 6];
    for (byte, hex) in mac.iter_mut().zip(text.split(':')) {
        *byte = u8::from_str_radix(hex, 16).unwrap_or(0);
    }
    Mac(mac)
}

/// Addresses, a space between them.
fn joined(addresses: &[Address]) -> String {
    addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}

fn addresses(row: &Row<'_>) -> rusqlite::Result<Vec<Address>> {
    let text: String = row.get("addresses")?;
    Ok(text.split_whitespace().filter_map(|address| address.parse().ok()).collect())
}

fn ports_text(ports: &[(Transport, u16)]) -> String {
    ports.iter().map(|service| service_name(*service)).collect::<Vec<_>>().join(" ")
}

fn ports(row: &Row<'_>) -> rusqlite::Result<Vec<(Transport, u16)>> {
    let text: String = row.get("ports")?;
    Ok(text.split_whitespace().filter_map(service_of).collect())
}

/// The suspect of a row, and its link's name; one without is about its host, wherever it is.
fn suspect(row: &Row<'_>, host: Address) -> rusqlite::Result<(String, Suspect)> {
    let text: String = row.get("suspect")?;
    let (link, who) = read_key(&text).unwrap_or((String::new(), Who::Address(host)));
    Ok((link, Suspect { link: Link::default(), who }))
}

/// The addresses of a case as they are recorded: none stands for its host's alone.
fn recorded(host: Address, mut addresses: Vec<Address>) -> Vec<Address> {
    if addresses.is_empty() {
        return vec![host];
    }
    addresses.retain(|address| *address != NO_ADDRESS);
    addresses
}

/// The case that a decision opens; `None` for those that open none.
pub(super) fn case_of(decision: &Decision) -> Option<Case> {
    matches!(decision.decision, Verdict::Contain | Verdict::Isolate).then(|| Case {
        suspect: decision.suspect,
        link: decision.link.clone(),
        host: decision.host,
        addresses: recorded(decision.host, decision.addresses.clone()),
        ports: decision.ports.clone(),
        verdict: decision.decision,
        since: decision.at,
        until: decision.until,
        step: decision.step,
        active: decision.at,
        grade: decision.grade,
        by: decision.by.clone(),
        reason: decision.reason.clone(),
        attachment: decision.attachment,
        score: decision.score,
        threshold: decision.threshold,
        destinations: decision.destinations,
        evidence: Vec::new(),
    })
}

/// The pardon that goes with a release, if one does.
pub(super) fn pardon_of(decision: &Decision) -> Option<Pardon> {
    let until = decision.until.filter(|_| decision.decision == Verdict::Release)?;
    let Decision { at, host, suspect, ref link, ref by, ref reason, .. } = *decision;
    Some(Pardon { suspect, link: link.clone(), host, until, at, by: by.clone(), reason: reason.clone() })
}

pub(super) fn insert_decision(db: &Connection, decision: &Decision) -> rusqlite::Result<()> {
    let mut insert = db.prepare_cached(
        "INSERT INTO decisions (at, host, decision, score, threshold, destinations, grade, until, step, enforced,
                                reason, operator, interface, vlan, mac, inner_vlan, suspect, addresses, ports)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )?;
    let id = insert.insert(params![
        Text(decision.at),
        Text(decision.host),
        decision.decision.label(),
        decision.score.nats(),
        decision.threshold.nats(),
        decision.destinations,
        Word(decision.grade),
        decision.until.map(Text),
        decision.step,
        decision.enforced,
        decision.reason,
        operator(&decision.by),
        decision.attachment.interface,
        decision.attachment.vlan,
        Text(decision.attachment.mac),
        decision.attachment.inner_vlan,
        key(&decision.link, decision.suspect.who),
        joined(&decision.addresses),
        ports_text(&decision.ports),
    ])?;
    for (place, evidence) in decision.evidence.iter().enumerate() {
        insert_evidence(db, id, place, evidence)?;
    }
    Ok(())
}

fn insert_evidence(db: &Connection, decision: i64, place: usize, evidence: &Evidence) -> rusqlite::Result<()> {
    let mut insert = db.prepare_cached(
        "INSERT INTO evidence (decision_id, place, signal, at, peer, port, weight, detail) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
    )?;
    insert.execute(params![
        decision,
        i64::try_from(place).unwrap_or(i64::MAX),
        evidence.signal.label(),
        Text(evidence.at),
        Text(evidence.peer),
        evidence.port,
        evidence.weight.nats(),
        Text(evidence.detail),
    ])?;
    Ok(())
}

pub(super) fn put_case(db: &Connection, case: &Case) -> rusqlite::Result<()> {
    let mut put = db.prepare_cached(
        "INSERT OR REPLACE INTO acted (suspect, host, addresses, ports, verdict, since, until, step, grade, operator, reason,
                                       score, threshold, destinations, interface, vlan, mac, inner_vlan)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )?;
    put.execute(params![
        key(&case.link, case.suspect.who),
        Text(case.host),
        joined(if case.addresses.is_empty() { &[NO_ADDRESS] } else { &case.addresses }),
        ports_text(&case.ports),
        case.verdict.label(),
        Text(case.since),
        case.until.map(Text),
        case.step,
        Word(case.grade),
        operator(&case.by),
        case.reason,
        case.score.nats(),
        case.threshold.nats(),
        case.destinations,
        case.attachment.interface,
        case.attachment.vlan,
        Text(case.attachment.mac),
        case.attachment.inner_vlan,
    ])?;
    Ok(())
}

pub(super) fn case(row: &Row<'_>) -> rusqlite::Result<Case> {
    let since = row.get::<_, Text<Timestamp>>("since")?.0;
    let host = row.get::<_, Text<Address>>("host")?.0;
    let (link, suspect) = suspect(row, host)?;
    let addresses = recorded(host, addresses(row)?);
    Ok(Case {
        suspect,
        link,
        host,
        addresses,
        ports: ports(row)?,
        verdict: row.get::<_, Word<Verdict>>("verdict")?.0,
        since,
        until: row.get::<_, Option<Text<Timestamp>>>("until")?.map(|until| until.0),
        step: row.get("step")?,
        active: since,
        grade: row.get::<_, Option<Word<_>>>("grade")?.map(|grade| grade.0),
        by: by(row.get("operator")?),
        reason: row.get("reason")?,
        score: Score::from_nats(row.get("score")?),
        threshold: Score::from_nats(row.get("threshold")?),
        destinations: row.get("destinations")?,
        attachment: attachment(row)?,
        evidence: Vec::new(),
    })
}

pub(super) fn put_pardon(db: &Connection, pardon: &Pardon) -> rusqlite::Result<()> {
    let mut put = db.prepare_cached(
        "INSERT OR REPLACE INTO pardoned (suspect, host, until, at, operator, reason) VALUES (?, ?, ?, ?, ?, ?)",
    )?;
    let Pardon { suspect, link, host, until, at, by, reason } = pardon;
    put.execute(params![key(link, suspect.who), Text(*host), Text(*until), Text(*at), operator(by), reason])?;
    Ok(())
}

pub(super) fn pardon(row: &Row<'_>) -> rusqlite::Result<Pardon> {
    let host = row.get::<_, Text<_>>("host")?.0;
    let (link, suspect) = suspect(row, host)?;
    Ok(Pardon {
        suspect,
        link,
        host,
        until: row.get::<_, Text<_>>("until")?.0,
        at: row.get::<_, Text<_>>("at")?.0,
        by: by(row.get("operator")?),
        reason: row.get("reason")?,
    })
}

/// Where the host of a decision sat then.
pub(super) fn attachment(row: &Row<'_>) -> rusqlite::Result<Attachment> {
    Ok(Attachment {
        interface: row.get("interface")?,
        vlan: row.get("vlan")?,
        inner_vlan: row.get("inner_vlan")?,
        mac: mac(&row.get::<_, String>("mac")?),
    })
}

/// A decision, without its evidence.
pub(super) fn act(row: &Row<'_>) -> rusqlite::Result<ActView> {
    let (link, suspect) = suspect(row, row.get::<_, Text<_>>("host")?.0)?;
    Ok(ActView {
        link,
        card: card_of(suspect),
        addresses: addresses(row)?.into_iter().filter(|address| *address != NO_ADDRESS).collect(),
        ports: ports(row)?.into_iter().map(service_name).collect(),
        at: row.get::<_, Text<_>>("at")?.0,
        host: row.get::<_, Text<_>>("host")?.0,
        decision: row.get::<_, Word<_>>("decision")?.0,
        score: Score::from_nats(row.get("score")?),
        threshold: Score::from_nats(row.get("threshold")?),
        destinations: row.get("destinations")?,
        grade: row.get::<_, Option<Word<_>>>("grade")?.map(|grade| grade.0),
        until: row.get::<_, Option<Text<_>>>("until")?.map(|until| until.0),
        step: row.get("step")?,
        enforced: row.get("enforced")?,
        reason: row.get("reason")?,
        by: by(row.get("operator")?),
        evidence: Vec::new(),
    })
}

pub(super) fn evidence(row: &Row<'_>) -> rusqlite::Result<EvidenceView> {
    Ok(EvidenceView {
        signal: row.get::<_, Word<_>>("signal")?.0,
        at: row.get::<_, Text<_>>("at")?.0,
        peer: row.get::<_, Text<_>>("peer")?.0,
        port: row.get("port")?,
        weight: Score::from_nats(row.get("weight")?),
        detail: row.get("detail")?,
    })
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

pub(super) fn put_held(db: &Connection, held: &HeldView) -> rusqlite::Result<()> {
    let mut put = db.prepare_cached(
        "INSERT OR REPLACE INTO held (id, at, host, would, grade, score, destinations, reason, evidence)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )?;
    put.execute(params![
        i64::try_from(held.id).unwrap_or(i64::MAX),
        Text(held.at),
        Text(held.host),
        held.would.label(),
        Word(held.grade),
        held.score.nats(),
        held.destinations,
        held.reason,
        serde_json::to_string(&held.evidence).unwrap_or_default(),
    ])?;
    Ok(())
}

pub(super) fn held(row: &Row<'_>) -> rusqlite::Result<HeldView> {
    let evidence: String = row.get("evidence")?;
    Ok(HeldView {
        id: u64::try_from(row.get::<_, i64>("id")?).unwrap_or(0),
        at: row.get::<_, Text<_>>("at")?.0,
        host: row.get::<_, Text<_>>("host")?.0,
        would: row.get::<_, Word<_>>("would")?.0,
        grade: row.get::<_, Word<_>>("grade")?.0,
        score: Score::from_nats(row.get("score")?),
        destinations: row.get("destinations")?,
        reason: row.get("reason")?,
        evidence: serde_json::from_str(&evidence).unwrap_or_default(),
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
