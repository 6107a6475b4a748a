//! The decision tree: one question at a time, evidence beside each answer.

use super::{
    check::Check,
    reader::{Map, Name, Reader},
};
use crate::domain::{finding::Pos, yaml::Node};

#[derive(Clone, Debug)]
pub struct Question {
    pub ask: String,
    pub look: Option<String>,
    pub unsure: Option<String>,
    pub choices: Vec<Choice>,
}

#[derive(Clone, Debug)]
pub struct Choice {
    pub at: Pos,
    pub answer: String,
    pub suspect: Vec<Name>,
    pub evidence: Vec<Check>,
    pub next: Next,
}

/// Where an answer leads.
#[derive(Clone, Debug)]
pub enum Next {
    Ask(Question),
    /// Procedures, each perhaps with its path, in this order.
    Go(Vec<Name>),
    /// Tick those that are affected; they run in this order.
    Pick(Vec<Name>),
}

impl Question {
    pub fn read(r: &mut Reader, node: &Node) -> Option<Self> {
        let mut map = r.map(node, "a question")?;
        let question = Self::read_keys(r, &mut map);
        map.done(r);
        Some(question)
    }

    fn read_keys(r: &mut Reader, map: &mut Map<'_>) -> Self {
        let ask = map.required_text(r, "ask");
        let (look, unsure) = (map.prose(r, "look"), map.prose(r, "unsure"));
        let choices: Vec<Choice> = match map.required(r, "choices") {
            Some(node) => r
                .list(node, "`choices`")
                .iter()
                .filter_map(|n| Choice::read(r, n))
                .collect(),
            None => Vec::new(),
        };
        for (i, choice) in choices.iter().enumerate() {
            if choices[..i].iter().any(|c| c.answer == choice.answer) {
                r.error(
                    "duplicate-id",
                    choice.at,
                    format!("the answer `{}` stands here a second time", choice.answer),
                    "nobody could tell them apart",
                );
            }
        }
        if choices.is_empty() && map.has("choices") {
            r.error(
                "dead-end",
                map.at,
                "a question without an answer",
                "add choices",
            );
        }
        Self {
            ask,
            look,
            unsure,
            choices,
        }
    }

    /// The question that a path of answers leads to.
    pub fn at(&self, answers: &[usize]) -> Option<&Self> {
        let mut question = self;
        for answer in answers {
            match &question.choices.get(*answer)?.next {
                Next::Ask(next) => question = next,
                Next::Go(_) | Next::Pick(_) => return None,
            }
        }
        Some(question)
    }

    /// Every choice of the tree, top-down.
    pub fn all_choices(&self) -> Vec<&Choice> {
        let mut all = Vec::new();
        for choice in &self.choices {
            all.push(choice);
            if let Next::Ask(next) = &choice.next {
                all.extend(next.all_choices());
            }
        }
        all
    }
}

impl Choice {
    fn read(r: &mut Reader, node: &Node) -> Option<Self> {
        let mut map = r.map(node, "a choice")?;
        let answer = map.required_text(r, "answer");
        let suspect = map.names(r, "suspect");
        let evidence = Check::read_list(r, map.get("evidence"));
        let (go, pick) = (map.get("go"), map.get("pick"));
        let asks = map.has("choices") || map.has("ask");
        let next = match (go, pick, asks) {
            (Some(n), None, false) => Next::Go(r.names(n, "go")),
            (None, Some(n), false) => Next::Pick(r.names(n, "pick")),
            (None, None, true) => Next::Ask(Question::read_keys(r, &mut map)),
            (None, None, false) => {
                r.error(
                    "dead-end",
                    node.at,
                    format!("the answer `{answer}` leads nowhere"),
                    "add `go: [procedure]`, `pick: […]`, or `ask:` with `choices:`",
                );
                Next::Go(Vec::new())
            }
            _ => {
                r.error(
                    "two-actions",
                    node.at,
                    format!("the answer `{answer}` leads to more than one place"),
                    "keep one of `go`, `pick` and `choices`",
                );
                Next::Go(Vec::new())
            }
        };
        map.done(r);
        if let Next::Go(names) | Next::Pick(names) = &next
            && names.is_empty()
            && go.is_some() != pick.is_some()
            && !asks
        {
            r.error(
                "dead-end",
                node.at,
                format!("the answer `{answer}` leads to no procedure"),
                "name at least one",
            );
        }
        Some(Self {
            at: node.at,
            answer,
            suspect,
            evidence,
            next,
        })
    }
}
