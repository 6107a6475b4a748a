//! The hands of a PostgreSQL check: one query, opened as a cursor in a read-only transaction.

use super::{Seen, Trouble};
use crate::{
    domain::{
        expect::{Comparison, Expect},
        runbook::{System, kinds::postgres::Words},
    },
    systems::postgres::{connect, simple, trouble},
};
use std::{error::Error, time::Duration};
use tokio_postgres::types::{Format, IsNull, ToSql, Type, private::BytesMut};

/// More rows than anyone names.
const ROWS: usize = 1000;

pub(super) async fn look(
    words: &Words,
    system: &System,
    timeout: Duration,
) -> Result<Seen, Trouble> {
    let connected = connect(system, timeout).await?;
    let Some(query) = &words.query else {
        return Ok(Seen::text("connects"));
    };
    let client = &connected.client;
    let ms = timeout.as_millis();
    let begin = format!("BEGIN READ ONLY; SET LOCAL statement_timeout = {ms}");
    client
        .batch_execute(&begin)
        .await
        .map_err(|e| trouble(&e))?;
    let query = query.trim().trim_end_matches(';');
    // Extended protocol: one statement only, and parameters never become SQL.
    let declare = format!("DECLARE blackstart NO SCROLL CURSOR FOR {query}");
    let params: Vec<Text<'_>> = words.params.iter().map(|p| Text(p)).collect();
    let statement = client.prepare(&declare).await.map_err(|e| trouble(&e))?;
    if statement.params().len() != params.len() {
        return Err(Trouble::Down(format!(
            "the query has {} parameters, `params:` has {}",
            statement.params().len(),
            params.len()
        )));
    }
    let borrowed: Vec<&(dyn ToSql + Sync)> = params.iter().map(|p| p as _).collect();
    client
        .execute(&statement, &borrowed)
        .await
        .map_err(|e| trouble(&e))?;
    let fetch = format!("FETCH {ROWS} FROM blackstart");
    let rows = simple(client, &fetch).await?;
    if words.rows.is_empty() {
        let columns = rows.first().map_or(0, Vec::len);
        return match &rows[..] {
            [] => Ok(Seen::judged("no row", false)),
            [one] if columns == 1 => Ok(Seen::text(one[0].clone())),
            _ => Err(Trouble::Down(format!(
                "{} rows of {columns} columns, where one value is looked for: {}; for several use `rows:`",
                rows.len(),
                rows.iter()
                    .take(5)
                    .map(|r| r.join("|"))
                    .collect::<Vec<_>>()
                    .join(", "),
            ))),
        };
    }
    Ok(judge_rows(words, &rows))
}

/// Each named row against what it must be.
fn judge_rows(words: &Words, rows: &[Vec<String>]) -> Seen {
    let mut holds = true;
    let mut shown = Vec::new();
    for (name, expected) in &words.rows {
        let found = rows
            .iter()
            .find(|r| r.first().is_some_and(|n| *n == name.text))
            .and_then(|r| r.get(1));
        let good = match (found, Expect::parse(expected)) {
            (Some(value), Ok(expect)) => expect.judge(value) == Comparison::Holds,
            _ => false,
        };
        holds &= good;
        let value = found.map_or("no row", String::as_str);
        shown.push(if good {
            format!("{name} {value}")
        } else {
            format!("{name} {value} (expected {expected})")
        });
    }
    Seen::judged(shown.join(", "), holds)
}

/// A parameter as text: the server converts it to what the query needs.
#[derive(Debug)]
struct Text<'a>(&'a str);

impl ToSql for Text<'_> {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        out.extend_from_slice(self.0.as_bytes());
        Ok(IsNull::No)
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    fn encode_format(&self, _: &Type) -> Format {
        Format::Text
    }

    tokio_postgres::types::to_sql_checked!();
}
