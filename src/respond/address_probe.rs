//! Before a host is cut off for what anybody could have sent in its name: is it there, and is it the sender?
//!
//! A bare SYN proves nothing about who sent it. Where the gateway can ask the sender's own link, it does: who has this
//! address? If the card answers that the frames came from, the host is who it says. If only another one does, the frames
//! were forged. A real worm's host answers within a millisecond, so this costs its containment nothing; what is certain
//! already is not asked.
//!
//! No I/O and no clock: who asks, and who hears the answers, is the daemon's business.

use std::time::Duration;

use crate::detect::Event;
use crate::evidence::{Attachment, Grade};
use crate::suspect::Suspect;
use crate::time::Timestamp;
use crate::track::open_probes::{OpenProbe, OpenProbes};
use crate::wire::{Address, Mac};

/// A question without an answer is put again after this.
pub const AGAIN: Duration = Duration::from_millis(250);

/// How long answers may take where whoever is there must answer: a radio client asleep takes a few tenths.
pub const PATIENCE: Duration = Duration::from_secs(1);

/// How long they may take where the sender may sit behind a router, which does not answer for it.
pub const PATIENCE_BEHIND: Duration = Duration::from_millis(300);

/// What was found out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finding {
    /// The sender's card has the address.
    There,
    /// Another card has it, and the sender's has not.
    Elsewhere(Mac),
    /// Nobody answers.
    Nobody,
    /// Too many questions were open to ask.
    NotAsked,
}

impl Finding {
    /// The metric labels of all findings.
    pub const LABELS: [&str; 4] = ["there", "elsewhere", "nobody", "not_asked"];

    /// The metric label.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Finding::There => "there",
            Finding::Elsewhere(_) => "elsewhere",
            Finding::Nobody => "nobody",
            Finding::NotAsked => "not_asked",
        }
    }
}

/// How certain an answer has to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Silence {
    /// Whoever has the address must answer: the link is attached.
    IsAbsence,
    /// It may sit behind a router that is not recognised as one.
    ProvesNothing,
}

/// Something said of a host that waits for its link's word.
#[derive(Debug)]
pub struct PendingEvent {
    /// What was said.
    pub event: Event,
    /// Of whom.
    pub suspect: Suspect,
    /// By which address.
    pub host: Address,
    /// Where its frames came from.
    pub attachment: Attachment,
    silence: Silence,
    probe: OpenProbe,
    begun: Timestamp,
    asked: Timestamp,
}

/// A pending event's next step.
#[derive(Debug)]
pub enum Step {
    /// The question is to be put to the link, again.
    Ask(Address, Attachment),
    /// The wait is over; the event may be believed or not.
    Ended(Box<PendingEvent>, Finding, bool),
}

/// The pending events: one for each question that may be open, so their number is bounded.
#[derive(Debug, Default)]
pub struct PendingEvents {
    open: Vec<PendingEvent>,
}

/// Whom an event accuses, by which address, and where the frames came from that it rests on; nothing where a completed
/// handshake proves who the sender is, or where nothing would be done.
#[must_use]
pub fn suspect_of(event: &Event) -> Option<(Suspect, Address, Attachment)> {
    match event {
        Event::Alarm(alarm) => (alarm.grade == Grade::Scan).then_some((alarm.suspect, alarm.host, alarm.attachment)),
        Event::Active { .. }
        | Event::Named { .. }
        | Event::Lost { .. }
        | Event::Identified { .. }
        | Event::Unproved { .. }
        | Event::Forwards { .. }
        | Event::SmbNegotiated { .. }
        | Event::SmbCondition { .. }
        | Event::Waits { .. }
        | Event::HoldBack { .. }
        | Event::Served { .. }
        | Event::Refuses { .. } => None,
    }
}

impl PendingEvents {
    /// Begins to wait: the caller asks the link now. Gives the event back if no more can be asked.
    ///
    /// # Errors
    /// Too many questions are open.
    pub fn begin(
        &mut self,
        event: Event,
        (suspect, host, attachment): (Suspect, Address, Attachment),
        silence: Silence,
        probes: &OpenProbes,
        now: Timestamp,
    ) -> Result<(), Event> {
        let Some(probe) = probes.open(host, attachment.mac) else { return Err(event) };
        self.open.push(PendingEvent { event, suspect, host, attachment, silence, probe, begun: now, asked: now });
        Ok(())
    }

    /// Whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// Whether an answer about the same is waited for already.
    #[must_use]
    pub fn is_open(&self, host: Address, attachment: Attachment) -> bool {
        self.open.iter().any(|pending| pending.host == host && pending.attachment == attachment)
    }

    /// Lets time pass: who has answered, who is to be asked again, whose time is up.
    pub fn advance(&mut self, probes: &OpenProbes, now: Timestamp) -> Vec<Step> {
        let mut steps = Vec::new();
        let mut at = 0;
        while let Some(pending) = self.open.get_mut(at) {
            let answers = probes.answers(pending.probe);
            let patience = match pending.silence {
                Silence::IsAbsence => PATIENCE,
                Silence::ProvesNothing => PATIENCE_BEHIND,
            };
            let finding = if answers.expected {
                Finding::There
            } else if now.since(pending.begun) < patience {
                // Another card's answer is not the last word: an accomplice must not speak a worm free.
                if now.since(pending.asked) >= AGAIN {
                    pending.asked = now;
                    steps.push(Step::Ask(pending.host, pending.attachment));
                }
                at += 1;
                continue;
            } else {
                answers.other.map_or(Finding::Nobody, Finding::Elsewhere)
            };
            let believed = match finding {
                Finding::There => true,
                Finding::Nobody => pending.silence == Silence::ProvesNothing,
                Finding::Elsewhere(_) | Finding::NotAsked => false,
            };
            let pending = self.open.swap_remove(at);
            probes.close(pending.probe);
            steps.push(Step::Ended(Box::new(pending), finding, believed));
        }
        steps
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOST: Address = Address::v4([10, 0, 1, 5]);
    const CARD: Mac = Mac([2, 0, 0, 0, 0, 5]);
    const OTHER: Mac = Mac([2, 0, 0, 0, 0, 66]);
    const PLACE: Attachment = Attachment { interface: 1, vlan: 0, inner_vlan: 0, mac: CARD };
    const SUSPECT: Suspect = Suspect::address(PLACE.link(), HOST);

    fn at(ms: u64) -> Timestamp {
        Timestamp::from_secs(1_000_000) + Duration::from_millis(ms)
    }

    fn event() -> Event {
        Event::Active { suspect: SUSPECT, at: at(0) }
    }

    struct Scene {
        pending: PendingEvents,
        probes: OpenProbes,
        asked: u32,
    }

    impl Scene {
        fn begun(silence: Silence) -> Self {
            let mut scene = Scene { pending: PendingEvents::default(), probes: OpenProbes::default(), asked: 0 };
            scene.pending.begin(event(), (SUSPECT, HOST, PLACE), silence, &scene.probes, at(0)).unwrap();
            scene
        }

        fn by(&mut self, ms: u64) -> Option<(Finding, bool)> {
            let mut found = None;
            for step in self.pending.advance(&self.probes, at(ms)) {
                match step {
                    Step::Ask(..) => self.asked += 1,
                    Step::Ended(pending, finding, believed) => {
                        assert_eq!(pending.event, event());
                        found = Some((finding, believed));
                    }
                }
            }
            found
        }
    }

    #[test]
    fn whose_card_answers_is_believed_at_once() {
        let mut scene = Scene::begun(Silence::IsAbsence);
        assert_eq!(scene.by(1), None);
        scene.probes.answered(HOST, CARD);
        assert_eq!(scene.by(2), Some((Finding::There, true)));
        assert!(scene.pending.is_empty());
    }

    #[test]
    fn when_only_another_card_answers_it_was_forged() {
        let mut scene = Scene::begun(Silence::IsAbsence);
        scene.probes.answered(HOST, OTHER);
        assert_eq!(scene.by(500), None, "the sender's own card may still answer");
        assert_eq!(scene.by(1000), Some((Finding::Elsewhere(OTHER), false)));
    }

    #[test]
    fn an_accomplice_speaks_nobody_free() {
        let mut scene = Scene::begun(Silence::IsAbsence);
        scene.probes.answered(HOST, OTHER);
        assert_eq!(scene.by(100), None);
        scene.probes.answered(HOST, CARD);
        assert_eq!(scene.by(110), Some((Finding::There, true)));
    }

    #[test]
    fn silence_is_absence_only_where_the_link_is_attached() {
        let mut scene = Scene::begun(Silence::IsAbsence);
        for ms in (0..1000).step_by(10) {
            assert_eq!(scene.by(ms), None);
        }
        assert_eq!(scene.asked, 3, "asked four times in all");
        assert_eq!(scene.by(1000), Some((Finding::Nobody, false)));
        let mut scene = Scene::begun(Silence::ProvesNothing);
        assert_eq!(scene.by(299), None);
        assert_eq!(scene.by(300), Some((Finding::Nobody, true)));
    }

    #[test]
    fn an_end_makes_room() {
        let mut scene = Scene::begun(Silence::IsAbsence);
        let begin = |scene: &mut Scene, n: u8| {
            let host = Address::v4([10, 0, 2, n]);
            scene.pending.begin(event(), (SUSPECT, host, PLACE), Silence::IsAbsence, &scene.probes, at(0))
        };
        let begun = (0..200).take_while(|n| begin(&mut scene, *n).is_ok()).count();
        assert_eq!(begun, 63);
        assert_eq!(begin(&mut scene, 250), Err(event()), "nothing is lost");
        scene.probes.answered(HOST, CARD);
        scene.by(1);
        assert_eq!(begin(&mut scene, 250), Ok(()));
    }
}
