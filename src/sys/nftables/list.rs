//! What a table holds, as the kernel lists it: chains, sets, elements, counters.

use std::time::Duration;

use super::super::netlink::{Attribute, Attributes};
use super::uapi::{
    GENMSG, chain, counter, data, description, element, elements, expression, hook, object, set, verdict,
};

/// A chain as the kernel lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chain {
    /// Its name.
    pub name: String,
    /// Its comment, if it has one.
    pub comment: Option<String>,
    /// The interfaces it is hooked at, for an ingress chain.
    pub devices: Vec<String>,
}

/// A set or map as the kernel lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Set {
    /// Its name.
    pub name: String,
    /// Octets of a key.
    pub key: u32,
    /// Most elements it may hold; 0 is no bound.
    pub size: u32,
    /// Elements in it now; `None` on kernels (before 6.16) that do not say.
    pub count: Option<u32>,
    /// An anonymous set, part of a rule.
    pub anonymous: bool,
    /// A map, not a set: nft has its own word for it.
    pub map: bool,
}

/// A named counter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counter {
    /// Its name.
    pub name: String,
    /// Packets counted.
    pub packets: u64,
    /// Octets counted.
    pub bytes: u64,
}

/// An element as the kernel lists it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Element<'a> {
    /// The key's octets.
    pub key: &'a [u8],
    /// The last key of its range, in a set of ranges of joined keys.
    pub last: Option<&'a [u8]>,
    /// The chain its verdict jumps to, in a verdict map.
    pub jump: Option<&'a str>,
    /// When it goes by itself; `None` is never.
    pub expires_in: Option<Duration>,
    /// It closes an interval.
    pub interval_end: bool,
    /// Packets that its own counter counted, where the set's elements count.
    pub packets: Option<u64>,
}

/// The elements that one message carries, whichever set they belong to.
pub fn elements(body: &[u8]) -> impl Iterator<Item = Element<'_>> {
    Attributes::after(body, GENMSG)
        .get(elements::ELEMENTS)
        .map(|list| list.nested())
        .into_iter()
        .flatten()
        .filter(|item| item.kind == elements::ITEM)
        .filter_map(|item| read_element(&item.nested()))
}

fn read_element<'a>(attributes: &Attributes<'a>) -> Option<Element<'a>> {
    let value = |a: Attribute<'_>| a.be64();
    let millis = attributes.get(element::EXPIRATION).and_then(value);
    let verdict = attributes.get(element::DATA).and_then(|data| data.nested().get(data::VERDICT));
    Some(Element {
        key: attributes.get(element::KEY)?.nested().get(data::VALUE)?.value,
        last: attributes.get(element::KEY_END).and_then(|last| last.nested().get(data::VALUE)).map(|last| last.value),
        jump: verdict.and_then(|verdict| verdict.nested().get(verdict::CHAIN)).and_then(|chain| chain.text()),
        expires_in: millis.map(Duration::from_millis),
        interval_end: attributes.get(element::FLAGS).and_then(|a| a.be32()).is_some_and(|flags| flags & 1 != 0),
        packets: attributes
            .get(element::EXPRESSION)
            .filter(|expression| expression.nested().get(expression::NAME).and_then(|a| a.text()) == Some("counter"))
            .and_then(|expression| expression.nested().get(expression::DATA))
            .and_then(|data| data.nested().get(counter::PACKETS))
            .and_then(|packets| packets.be64()),
    })
}

pub(super) fn read_chain(table: &str, attributes: &Attributes<'_>) -> Option<Chain> {
    if attributes.get(chain::TABLE)?.text()? != table {
        return None;
    }
    let hook = attributes.get(chain::HOOK).map(|hook| hook.nested());
    let mut devices: Vec<String> = hook
        .as_ref()
        .and_then(|hook| hook.get(hook::DEVICES))
        .map(|list| list.nested().filter_map(|device| device.text().map(str::to_owned)).collect())
        .unwrap_or_default();
    if devices.is_empty()
        && let Some(device) = hook.as_ref().and_then(|hook| hook.get(hook::DEVICE)).and_then(|device| device.text())
    {
        devices.push(device.to_owned());
    }
    Some(Chain {
        name: attributes.get(chain::NAME)?.text()?.to_owned(),
        comment: attributes.get(chain::USERDATA).and_then(|data| comment(data.value)),
        devices,
    })
}

/// libnftnl's user data: (type, length, value); type 0 is the comment.
fn comment(mut data: &[u8]) -> Option<String> {
    while let [kind, length, rest @ ..] = data {
        let value = rest.get(..usize::from(*length))?;
        if *kind == 0 {
            let text = value.strip_suffix(&[0]).unwrap_or(value);
            return std::str::from_utf8(text).ok().map(str::to_owned);
        }
        data = rest.get(usize::from(*length)..)?;
    }
    None
}

pub(super) fn read_set(table: &str, attributes: &Attributes<'_>) -> Option<Set> {
    if attributes.get(set::TABLE)?.text()? != table {
        return None;
    }
    let description = attributes.get(set::DESCRIPTION).map(|d| d.nested());
    let flags = attributes.get(set::FLAGS).and_then(|a| a.be32()).unwrap_or(0);
    let size = description.and_then(|d| d.get(description::SIZE)).and_then(|a| a.be32());
    Some(Set {
        name: attributes.get(set::NAME)?.text()?.to_owned(),
        key: attributes.get(set::KEY_LENGTH).and_then(|a| a.be32()).unwrap_or(0),
        size: size.unwrap_or(0),
        count: attributes.get(set::COUNT).and_then(|a| a.be32()),
        anonymous: flags & set::ANONYMOUS != 0,
        map: flags & set::MAP != 0,
    })
}

pub(super) fn read_counter(table: &str, attributes: &Attributes<'_>) -> Option<Counter> {
    if attributes.get(object::TABLE)?.text()? != table || attributes.get(object::TYPE)?.be32()? != object::IS_COUNTER {
        return None;
    }
    let data = attributes.get(object::DATA)?.nested();
    Some(Counter {
        name: attributes.get(object::NAME)?.text()?.to_owned(),
        packets: data.get(counter::PACKETS)?.be64()?,
        bytes: data.get(counter::BYTES)?.be64()?,
    })
}

/// What a list's message says of a table's chains, sets and counters; for tests of the reader.
#[must_use]
pub fn listed(table: &str, body: &[u8]) -> (Option<Chain>, Option<Set>, Option<Counter>) {
    let attributes = Attributes::after(body, GENMSG);
    (read_chain(table, &attributes), read_set(table, &attributes), read_counter(table, &attributes))
}
