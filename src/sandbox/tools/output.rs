//! How the command line of Azure prints what it got: `--query`, then `--output`.

use serde_json::Value;

/// Applies a JMESPath expression. The error is as the tool says it.
pub(super) fn query(value: &Value, expression: &str) -> Result<Value, String> {
    let compiled = jmespath::compile(expression);
    let compiled = compiled
        .map_err(|_| format!("argument --query: invalid jmespath_type value: '{expression}'"))?;
    let searched = compiled.search(
        jmespath::Variable::from_json(&value.to_string()).unwrap_or(jmespath::Variable::Null),
    );
    let found = searched.map_err(|e| format!("Error occurred in querying: {e}"))?;
    Ok(serde_json::to_value(&*found).unwrap_or(Value::Null))
}

pub(super) fn written(value: &Value, format: &str) -> String {
    match format {
        "none" => String::new(),
        "tsv" => tsv(value),
        "table" => table(value),
        _ if value.is_null() => String::new(),
        _ => format!(
            "{}\n",
            serde_json::to_string_pretty(value).unwrap_or_default()
        ),
    }
}

fn cell(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Bool(true) => "True".to_owned(),
        Value::Bool(false) => "False".to_owned(),
        Value::Number(number) => match number.as_f64() {
            // JMESPath counts in floating numbers.
            Some(n) if n.fract() == 0.0 => format!("{n:.0}"),
            _ => number.to_string(),
        },
        Value::Array(all) => all.len().to_string(),
        Value::Object(_) => String::new(),
    }
}

fn row(value: &Value) -> String {
    let cells: Vec<String> = match value {
        Value::Array(all) => all.iter().map(cell).collect(),
        Value::Object(all) => all.values().map(cell).collect(),
        one => vec![cell(one)],
    };
    format!("{}\n", cells.join("\t"))
}

fn tsv(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::Array(rows) => rows.iter().map(row).collect(),
        one => row(one),
    }
}

fn table(value: &Value) -> String {
    let rows: Vec<&Value> = match value {
        Value::Array(rows) => rows.iter().collect(),
        one => vec![one],
    };
    let Some(Value::Object(first)) = rows.first().copied() else {
        return tsv(value);
    };
    let names: Vec<&String> = first
        .iter()
        .filter(|(_, v)| !v.is_object() && !v.is_array())
        .map(|(n, _)| n)
        .collect();
    let mut lines: Vec<Vec<String>> = vec![names.iter().map(|n| capitalized(n)).collect()];
    lines.extend(
        rows.iter()
            .map(|r| names.iter().map(|n| cell(&r[n.as_str()])).collect()),
    );
    let widths: Vec<usize> = (0..names.len())
        .map(|i| lines.iter().map(|l| l[i].len()).max().unwrap_or(0))
        .collect();
    lines.insert(1, widths.iter().map(|w| "-".repeat(*w)).collect());
    let line = |cells: &Vec<String>| {
        let cells: Vec<String> = cells
            .iter()
            .zip(&widths)
            .map(|(c, w)| format!("{c:<w$}"))
            .collect();
        format!("{}\n", cells.join("  ").trim_end())
    };
    lines.iter().map(line).collect()
}

fn capitalized(name: &str) -> String {
    let mut letters = name.chars();
    letters
        .next()
        .map(|c| c.to_uppercase().collect::<String>() + letters.as_str())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_count_of_a_filter_is_a_whole_number() {
        let all = json!([{ "name": "a" }, { "name": "b" }]);
        let count = query(&all, "[?name=='b'] | length(@)").expect("as written here");
        assert_eq!(written(&count, "tsv"), "1\n");
    }

    #[test]
    fn lists_of_lists_are_lines_of_cells() {
        let all = json!([{ "n": "aks", "from": "10.0.0.0", "x": null }]);
        let rows = query(&all, "[].[n, from, x]").expect("as written here");
        assert_eq!(written(&rows, "tsv"), "aks\t10.0.0.0\t\n");
    }

    #[test]
    fn nothing_prints_nothing() {
        assert_eq!(written(&Value::Null, "tsv"), "");
        assert_eq!(
            written(&json!({ "state": "Ready" }), "table"),
            "State\n-----\nReady\n"
        );
    }
}
