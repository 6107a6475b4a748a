//! What becomes of an answer: a person's, in what lies above the checklist, and the engine's.

use super::{
    Checklist,
    above::{Above, Purpose},
    arming::Next,
    causes::{Causes, Lead},
    failures, in_the_way, is_complete, running,
};
use crate::{
    domain::{
        decide::{Command, Refusal},
        incident::StepState,
        plan::Chosen,
    },
    engine::Started,
    tui::{
        keymap::{Action, Place},
        screens::{Ask, View, Want},
    },
};

impl Checklist {
    /// Enter in what lies above.
    pub(super) fn confirm(&mut self, at: &View) -> Want {
        match std::mem::replace(&mut self.above, Above::Nothing) {
            Above::Arming(mut arming) => match arming.enter(at) {
                Next::Start(start) => {
                    self.starting = Some(start.step.clone());
                    Want::Ask(Ask::Start(start))
                }
                Next::Stay(want) => {
                    self.above = Above::Arming(arming);
                    want
                }
            },
            Above::Stop(step) => self.wish(Command::Stop { step }, "asked to stop; recorded"),
            Above::Identity(system) => {
                self.wish(Command::AcceptIdentity { system }, "confirmed and recorded")
            }
            Above::Add(chosen) => {
                let said = match chosen.other_way(&at.incident.go) {
                    Some(_) => "the plan goes the other way; recorded",
                    None => "added to the plan",
                };
                let go = Chosen::with(&at.incident.go, [chosen.clone()]);
                self.going = Some(chosen);
                self.wish(Command::Plan { go }, said)
            }
            Above::Message(..) | Above::Nothing => Want::Draw,
            kept @ (Above::Causes(_) | Above::Text(..)) => {
                self.above = kept;
                Want::Draw
            }
        }
    }

    /// A key in the panel of likely causes.
    pub(super) fn in_causes(&mut self, action: Action, at: &View) -> Want {
        let Above::Causes(causes) = &mut self.above else {
            return Want::Nothing;
        };
        match causes.act(action, at) {
            Lead::Stay(want) => want,
            Lead::Close => {
                self.above = Above::Nothing;
                match std::mem::take(&mut self.looked) {
                    true => Want::Go(Place::Recovered),
                    false => Want::Draw,
                }
            }
            Lead::ToStep(step) => {
                self.above = Above::Nothing;
                self.choose(&step);
                Want::Draw
            }
            Lead::ToProcedure(chosen) => {
                self.above = Above::Add(chosen);
                Want::Draw
            }
        }
    }

    pub(super) fn accepted(&mut self, at: &View) -> Want {
        match std::mem::replace(&mut self.above, Above::Nothing) {
            Above::Text(purpose, mut field) => {
                let text = field.value();
                if text.trim().is_empty() {
                    field.wrong = Some("something has to stand here".to_owned());
                    self.above = Above::Text(purpose, field);
                    return Want::Draw;
                }
                match purpose {
                    Purpose::Skip(step) => {
                        self.wish(Command::Skip { step, reason: text }, "skipped; recorded")
                    }
                    Purpose::Note => {
                        self.wish(Command::Note { text }, "the note is on the timeline")
                    }
                }
            }
            Above::Arming(arming) => {
                self.above = Above::Arming(arming);
                self.confirm(at)
            }
            other => {
                self.above = other;
                Want::Nothing
            }
        }
    }

    /// What the engine said to a start.
    pub(super) fn started(&mut self, step: &str, result: &Result<Started, Refusal>) -> Want {
        self.starting = None;
        // What somebody is typing is not taken away from them.
        let busy = matches!(self.above, Above::Text(..) | Above::Arming(_));
        match result {
            Err(refusal) if busy => Want::Say(format!("{step} was not started: {refusal}")),
            Ok(Started::Attempt(n)) => {
                // It may have ended before anybody saw it run.
                self.running.insert(step.to_owned());
                self.seen_undone.remove(step);
                Want::Say(format!("{step} is running, attempt {n}"))
            }
            Ok(Started::AlreadyDone) => {
                // As if it had run: the next one is chosen.
                self.running.insert(step.to_owned());
                self.seen_undone.remove(step);
                Want::Say(format!(
                    "{step} is done already: skipped, with what was seen"
                ))
            }
            // The look said that it is not done yet; only now is the rest of its values needed.
            Err(Refusal::MissingValues(names)) if self.seen_undone.insert(step.to_owned()) => {
                Want::All(vec![
                    Want::Say(format!(
                        "{step} is not done yet: to run it, {names} is needed"
                    )),
                    Want::Arm {
                        step: step.to_owned(),
                        undo: false,
                    },
                ])
            }
            Err(Refusal::UnconfirmedTarget { system, .. }) => {
                self.above = Above::Identity(system.clone());
                Want::Draw
            }
            Err(refusal) => {
                self.above = Above::Message(format!("{step} was not started"), refusal.to_string());
                Want::Draw
            }
        }
    }

    /// Opens the panel for a failure that was looked up and not shown yet.
    pub(super) fn tell_causes(&mut self, at: &View) {
        let free = matches!(self.above, Above::Nothing);
        let fresh = failures(at)
            .find(|(s, a)| a.causes.is_some() && !self.told.contains(&(s.plan.step.clone(), a.n)));
        if let (true, Some((step, attempt))) = (free, fresh) {
            self.told.insert((step.plan.step.clone(), attempt.n));
            self.choose(&step.plan.step);
            self.above = Above::Causes(Causes::new(&step.plan.step, attempt.n));
        }
    }

    /// After the chosen step was done, the next one is chosen; never started.
    pub(super) fn follow_plan(&mut self, at: &View) {
        let now = running(at);
        let ended = self
            .chosen
            .as_ref()
            .is_some_and(|c| self.running.contains(c) && !now.contains(c));
        // What was just started is not seen yet.
        let unseen = |step: &String| {
            let planned = at.incident.step(step);
            planned.is_some_and(|s| s.state() == StepState::Pending)
        };
        self.running.retain(unseen);
        self.running.extend(now);
        let done = self.step(at).is_some_and(|s| s.state().is_done());
        let free = matches!(self.above, Above::Nothing);
        if let (true, Some(next)) = (ended && done && free, at.incident.next_step()) {
            self.choose(&next.plan.step);
        }
    }

    /// What was put into the plan is there now: its first step is chosen; never started.
    pub(super) fn go_there(&mut self, at: &View) {
        let incident = &at.incident;
        let is_planned = |c: &mut Chosen| incident.go.contains(&c.name());
        let Some(chosen) = self.going.take_if(is_planned) else {
            return;
        };
        let first = incident.steps.iter().find(|s| {
            s.plan.procedure == chosen.procedure
                && s.state() == StepState::Pending
                && incident.waits_for(s).is_empty()
        });
        if let Some(step) = first.or_else(|| incident.next_step()) {
            self.choose(&step.plan.step);
        }
    }

    /// Nothing is left to run, and a step that failed earlier, maybe out of sight, was never settled.
    pub(super) fn tell_what_is_in_the_way(&mut self, at: &View) -> Option<Want> {
        let now = in_the_way(at);
        let name = now.map(|(step, _)| step.to_owned());
        // It is told once, and as soon as nothing lies above the list.
        if self.in_the_way == name || !matches!(self.above, Above::Nothing) {
            return None;
        }
        self.in_the_way = name;
        let (step, state) = now?;
        if self.chosen.as_deref() == Some(step) {
            return None;
        }
        self.choose(step);
        let [run, skip] = [Action::Run, Action::Skip].map(|a| at.keys.key(a));
        Some(Want::Say(format!(
            "nothing else is left to run, but {step} is {}: {run} runs it again, {skip} skips it with a reason",
            state.as_str()
        )))
    }

    /// The last step is done: the checks that only look say whether the platform has recovered, and
    /// the clock stops when they say so.
    pub(super) fn look_when_complete(&mut self, at: &View) -> Want {
        let before = std::mem::replace(&mut self.complete, is_complete(at));
        if before || !self.complete {
            return Want::Draw;
        }
        Want::All(vec![
            Want::Say("all steps are done: looking whether the platform has recovered…".to_owned()),
            Want::Ask(Ask::CheckRecovery),
        ])
    }
}
