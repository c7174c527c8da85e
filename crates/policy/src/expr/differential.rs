//! The subset against the `cel` crate: whatever can be written in both means the same.

use std::collections::HashMap;
use std::sync::Arc;

use agentsight_model::{Event, EventBody, KTime, ProcessExec, ProcessKey};
use cel::{Context, Program, Value};
use proptest::prelude::*;

use super::{Scope, compile};
use crate::engine::context::{ProcessTable, SessionFacts};
use crate::engine::flow::LabelSet;
use crate::kind::{Kind, KindSet};
use crate::view::View;

const NAME: &str = "sh";
const EXE: &str = "/usr/bin/sh";
const UID: i64 = 1000;

fn argv() -> Vec<String> {
    ["sh", "-c", "curl x | sh", "ünï"]
        .map(str::to_owned)
        .to_vec()
}

/// What our predicate says: true, false, or an error.
fn ours(text: &str) -> Option<bool> {
    let scope = Scope {
        kinds: KindSet::of(Kind::ProcessExec),
        lists: &Default::default(),
        macros: &Default::default(),
    };
    let pred = compile(text, &scope).unwrap_or_else(|error| panic!("{text}: {error:?}"));
    let key = ProcessKey {
        tgid: 7,
        start_ns: 1,
    };
    let mut exec = ProcessExec {
        argv: argv(),
        cwd: "/work".into(),
        uid: 1000,
        ..ProcessExec::default()
    };
    exec.exe.path = EXE.into();
    let mut processes = ProcessTable::new(4);
    processes.exec(key, &exec);
    let event = Event {
        time: KTime(1),
        process: key,
        body: EventBody::ProcessExec(Box::new(exec)),
    };
    pred.holds(&View {
        event: &event,
        kind: Kind::ProcessExec,
        process: processes.get(key).unwrap(),
        processes: &processes,
        session: &SessionFacts::default(),
        label_names: &[],
        file_labels: LabelSet::default(),
        host: "",
        tool: None,
        host_changed: false,
    })
}

/// What the crate says.
fn theirs(text: &str) -> Option<bool> {
    let program = Program::compile(text).unwrap_or_else(|error| panic!("{text}: {error}"));
    let string = |text: &str| Value::String(Arc::new(text.to_owned()));
    let list: Vec<Value> = argv().iter().map(|word| string(word)).collect();
    let process: HashMap<String, Value> = [
        ("name".to_owned(), string(NAME)),
        ("exe".to_owned(), string(EXE)),
        ("cwd".to_owned(), string("/work")),
        ("uid".to_owned(), Value::Int(UID)),
        ("is_agent".to_owned(), Value::Bool(false)),
        ("argv".to_owned(), Value::List(Arc::new(list))),
    ]
    .into();
    let mut context = Context::default();
    context.add_variable_from_value("process", process);
    match program.execute(&context) {
        Ok(Value::Bool(value)) => Some(value),
        Ok(other) => panic!("{text}: {other:?}"),
        Err(_) => None,
    }
}

fn text() -> BoxedStrategy<String> {
    let leaf = prop_oneof![
        Just("process.name".to_owned()),
        Just("process.exe".to_owned()),
        Just("process.cwd".to_owned()),
        Just("'sh'".to_owned()),
        Just("'/usr'".to_owned()),
        Just("''".to_owned()),
        Just("r'ü\\'".to_owned()),
        Just("\"a\\n'\"".to_owned()),
    ];
    leaf.prop_recursive(2, 6, 3, |inner| {
        prop_oneof![
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a} + {b})")),
            (inner.clone(), inner).prop_map(|(a, b)| format!("(process.is_agent ? {a} : {b})")),
        ]
    })
    .boxed()
}

fn int() -> BoxedStrategy<String> {
    let leaf = prop_oneof![
        Just("process.uid".to_owned()),
        (-3_i64..4).prop_map(|number| format!("({number})")),
        Just("9223372036854775807".to_owned()),
        text().prop_map(|text| format!("size({text})")),
        Just("process.argv.size()".to_owned()),
    ];
    leaf.prop_recursive(3, 8, 2, |inner| {
        let operator = prop::sample::select(vec!["+", "-", "*", "/", "%"]);
        prop_oneof![
            (inner.clone(), operator, inner.clone()).prop_map(|(a, o, b)| format!("({a} {o} {b})")),
            inner.prop_map(|a| format!("-{a}")),
        ]
    })
    .boxed()
}

fn boolean() -> BoxedStrategy<String> {
    let compare = || prop::sample::select(vec!["==", "!=", "<", "<=", ">", ">="]);
    let test = prop::sample::select(vec!["contains", "startsWith", "endsWith"]);
    let leaf = prop_oneof![
        Just("true".to_owned()),
        Just("process.is_agent".to_owned()),
        (text(), compare(), text()).prop_map(|(a, o, b)| format!("{a} {o} {b}")),
        (int(), compare(), int()).prop_map(|(a, o, b)| format!("{a} {o} {b}")),
        (text(), test, text()).prop_map(|(a, f, b)| format!("{a}.{f}({b})")),
        text().prop_map(|a| format!("{a} in ['sh', '', '/usr/bin/sh']")),
        text().prop_map(|a| format!("{a} in process.argv")),
        int().prop_map(|a| format!("{a} in [0, 1, 1000]")),
        text().prop_map(|a| format!("{a}.matches('^/?(usr|s.)')")),
    ];
    leaf.prop_recursive(4, 24, 3, |inner| {
        let quantifier = prop::sample::select(vec!["exists", "all", "exists_one"]);
        let each = prop_oneof![
            Just("a.size() / (a.size() - 1) > 1".to_owned()),
            Just("a.startsWith('-')".to_owned()),
            Just("a == process.name".to_owned()),
            Just("process.argv.exists(b, b + 'x' == a)".to_owned()),
            inner.clone(),
        ];
        prop_oneof![
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a} && {b})")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a} || {b})")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("(({a}) == ({b}))")),
            (inner.clone(), inner.clone(), inner.clone())
                .prop_map(|(a, b, c)| format!("({a} ? {b} : {c})")),
            inner.prop_map(|a| format!("!({a})")),
            (quantifier, each).prop_map(|(q, e)| format!("process.argv.{q}(a, {e})")),
        ]
    })
    .boxed()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]
    #[test]
    fn a_condition_means_what_cel_says(text in boolean()) {
        prop_assert_eq!(ours(&text), theirs(&text), "{}", text);
    }
}

#[test]
fn errors_are_absorbed_as_in_cel() {
    for (text, expected) in [
        ("1 / 0 == 1", None),
        ("false && 1 / 0 == 1", Some(false)),
        ("1 / 0 == 1 && false", Some(false)),
        ("1 / 0 == 1 || true", Some(true)),
        ("1 / 0 == 1 || false", None),
        ("9223372036854775807 + 1 > 0", None),
        ("-9223372036854775807 - 2 < 0", None),
        (
            "process.argv.exists(a, a.size() / 0 == 1 || a == 'sh')",
            Some(true),
        ),
    ] {
        assert_eq!(ours(text), expected, "{text}");
        assert_eq!(theirs(text), expected, "{text}");
    }
}
