//! From the tree to typed predicates: every name is looked up and every type is known here.

use std::collections::BTreeMap;
use std::sync::Arc;

use regex::RegexBuilder;

use super::eval::{Arithmetic, Compare, Int, List, Pred, Quantifier, Text, TextTest};
use super::parser::{Expr, Node, parse};
use super::{ExprError, MAX_DEPTH, MAX_NODES};
use crate::diagnostic::{Complaint, proposal};
use crate::field::{FIELDS, Type, field};
use crate::kind::KindSet;
use crate::pattern::{Cidr, Glob, Style};

/// Memory of one compiled regular expression, in bytes.
const REGEX_BYTES: usize = 1 << 20;

/// What a condition may refer to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scope<'a> {
    /// The kinds of events that it will be asked about: their facts it may use.
    pub(crate) kinds: KindSet,
    pub(crate) lists: &'a BTreeMap<String, Vec<String>>,
    /// Named conditions, as texts.
    pub(crate) macros: &'a BTreeMap<String, String>,
}

/// Compiles a condition.
pub(crate) fn compile(text: &str, scope: &Scope<'_>) -> Result<Pred, ExprError> {
    let node = parse(text)?;
    let mut checker = Checker {
        scope,
        locals: Vec::new(),
        expanding: Vec::new(),
        nodes: 0,
        depth: 0,
    };
    checker.pred(&node)
}

/// A part of which the type is known.
enum Typed {
    Bool(Pred),
    Int(Int),
    Text(Text),
    List(List),
    /// Only to the right of `in`.
    Ints(Vec<i64>),
}

impl Typed {
    fn type_name(&self) -> &'static str {
        match self {
            Self::Bool(_) => Type::Bool.name(),
            Self::Int(_) => Type::Int.name(),
            Self::Text(_) => Type::Text.name(),
            Self::List(_) => Type::List.name(),
            Self::Ints(_) => "list of ints",
        }
    }
}

struct Checker<'a> {
    scope: &'a Scope<'a>,
    /// Names of the local variables, the innermost last.
    locals: Vec<String>,
    /// Names of the macros that are being expanded.
    expanding: Vec<String>,
    nodes: usize,
    depth: usize,
}

type Checked<T> = Result<T, ExprError>;

impl Checker<'_> {
    fn pred(&mut self, node: &Node) -> Checked<Pred> {
        match self.typed(node)? {
            Typed::Bool(pred) => Ok(pred),
            other => Err(mismatch(node, Type::Bool, &other)),
        }
    }

    fn text(&mut self, node: &Node) -> Checked<Text> {
        match self.typed(node)? {
            Typed::Text(text) => Ok(text),
            other => Err(mismatch(node, Type::Text, &other)),
        }
    }

    fn typed(&mut self, node: &Node) -> Checked<Typed> {
        self.nodes = self.nodes.saturating_add(1);
        self.depth = self.depth.saturating_add(1);
        if self.nodes > MAX_NODES || self.depth > MAX_DEPTH.saturating_mul(2) {
            let message = "the condition is too large, with its macros";
            return Err(ExprError::new(node.offset, message));
        }
        let typed = match &node.expr {
            Expr::Bool(value) => Typed::Bool(Pred::Const(*value)),
            Expr::Int(value) => Typed::Int(Int::Const(*value)),
            Expr::Text(text) => Typed::Text(Text::Const(text.as_str().into())),
            Expr::List(elements) => list(elements)?,
            Expr::Name(name) => self.name(node, name)?,
            Expr::Unary(operator, inner) => self.unary(node, operator, inner)?,
            Expr::Binary(operator, left, right) => self.binary(node, operator, left, right)?,
            Expr::Condition(test, yes, no) => self.condition(test, yes, no)?,
            Expr::Call(name, on, arguments) => self.call(node, name, on.as_deref(), arguments)?,
        };
        self.depth = self.depth.saturating_sub(1);
        Ok(typed)
    }

    fn name(&mut self, node: &Node, name: &str) -> Checked<Typed> {
        if let Some(index) = self.locals.iter().rposition(|local| local == name) {
            return Ok(Typed::Text(Text::Local(index)));
        }
        if let Some(info) = field(name) {
            return self.fact(node, info);
        }
        if let Some(texts) = self.scope.lists.get(name) {
            let texts = texts.iter().map(|text| text.as_str().into()).collect();
            return Ok(Typed::List(List::Const(texts)));
        }
        if let Some(text) = self.scope.macros.get(name) {
            return self.expand(node, name, text);
        }
        let facts = FIELDS.iter().map(|info| info.name);
        let lists = self.scope.lists.keys().map(String::as_str);
        let macros = self.scope.macros.keys().map(String::as_str);
        Err(ExprError {
            offset: node.offset,
            complaint: Complaint::unknown("name", name, facts.chain(lists).chain(macros)),
        })
    }

    fn fact(&self, node: &Node, info: &crate::field::FieldInfo) -> Checked<Typed> {
        let missing = KindSet(self.scope.kinds.0 & !info.group.kinds().0);
        if let Some(kind) = missing.iter().next() {
            let message = format!("`{}` is not known for `{}` events", info.name, kind.name());
            let mut error = ExprError::new(node.offset, message);
            let known: Vec<_> = info.group.kinds().iter().map(|kind| kind.name()).collect();
            error.complaint.hint = Some(format!("it is known for {}", known.join(", ")));
            return Err(error);
        }
        Ok(match info.ty {
            Type::Bool => Typed::Bool(Pred::Field(info.field)),
            Type::Int => Typed::Int(Int::Field(info.field)),
            Type::Text => Typed::Text(Text::Field(info.field)),
            Type::List => Typed::List(List::Field(info.field)),
        })
    }

    fn expand(&mut self, node: &Node, name: &str, text: &str) -> Checked<Typed> {
        if self.expanding.iter().any(|outer| outer == name) {
            let message = format!("macro `{name}` contains itself");
            return Err(ExprError::new(node.offset, message));
        }
        // Whatever is wrong with it is shown where it is used: there it has facts to be checked against.
        let here = |error: ExprError| {
            let message = format!("in macro `{name}`: {}", error.complaint.message);
            let mut outer = ExprError::new(node.offset, message);
            outer.complaint.hint = error.complaint.hint;
            outer
        };
        let inner = parse(text).map_err(here)?;
        self.expanding.push(name.to_owned());
        // It does not see the variables of the place where it is used.
        let locals = std::mem::take(&mut self.locals);
        let typed = self.typed(&inner).map_err(here);
        self.locals = locals;
        self.expanding.pop();
        typed
    }

    fn unary(&mut self, node: &Node, operator: &str, inner: &Node) -> Checked<Typed> {
        match (operator, self.typed(inner)?) {
            ("!", Typed::Bool(pred)) => Ok(Typed::Bool(Pred::Not(Box::new(pred)))),
            ("-", Typed::Int(int)) => Ok(Typed::Int(Int::Negate(Box::new(int)))),
            (operator, typed) => Err(ExprError::new(
                node.offset,
                format!("`{operator}` cannot be applied to a {}", typed.type_name()),
            )),
        }
    }

    fn condition(&mut self, test: &Node, yes: &Node, no: &Node) -> Checked<Typed> {
        let test = Box::new(self.pred(test)?);
        let place = no.offset;
        match (self.typed(yes)?, self.typed(no)?) {
            (Typed::Bool(yes), Typed::Bool(no)) => {
                Ok(Typed::Bool(Pred::If(test, Box::new(yes), Box::new(no))))
            }
            (Typed::Int(yes), Typed::Int(no)) => {
                Ok(Typed::Int(Int::If(test, Box::new(yes), Box::new(no))))
            }
            (Typed::Text(yes), Typed::Text(no)) => {
                Ok(Typed::Text(Text::If(test, Box::new(yes), Box::new(no))))
            }
            (yes, no) => Err(ExprError::new(
                place,
                format!(
                    "the branches of `?:` are a {} and a {}",
                    yes.type_name(),
                    no.type_name()
                ),
            )),
        }
    }

    fn binary(
        &mut self,
        node: &Node,
        operator: &'static str,
        left: &Node,
        right: &Node,
    ) -> Checked<Typed> {
        match operator {
            "&&" | "||" => {
                let (left, right) = (Box::new(self.pred(left)?), Box::new(self.pred(right)?));
                return Ok(Typed::Bool(if operator == "&&" {
                    Pred::And(left, right)
                } else {
                    Pred::Or(left, right)
                }));
            }
            _ => {}
        }
        let (left, right) = (self.typed(left)?, self.typed(right)?);
        let types = (left.type_name(), right.type_name());
        combine(operator, left, right).ok_or_else(|| {
            let message = format!("`{operator}` cannot join a {} and a {}", types.0, types.1);
            let mut error = ExprError::new(node.offset, message);
            if types.0.starts_with("list") && operator == "==" {
                error.complaint.hint =
                    Some("lists cannot be compared; use `exists` or `all`".to_owned());
            }
            error
        })
    }

    fn call(
        &mut self,
        node: &Node,
        name: &str,
        on: Option<&Node>,
        arguments: &[Node],
    ) -> Checked<Typed> {
        if name == "size"
            && let (Some(of), []) | (None, [of]) = (on, arguments)
        {
            return match self.typed(of)? {
                Typed::Text(text) => Ok(Typed::Int(Int::SizeText(Box::new(text)))),
                Typed::List(list) => Ok(Typed::Int(Int::SizeList(Box::new(list)))),
                other => Err(ExprError::new(
                    of.offset,
                    format!("a {} has no size", other.type_name()),
                )),
            };
        }
        let Some(on) = on else {
            return Err(unknown_function(node, name));
        };
        match (name, arguments) {
            ("exists" | "all" | "exists_one", [variable, pred]) => {
                self.quantified(name, on, variable, pred)
            }
            ("contains" | "startsWith" | "endsWith", [argument]) => {
                let test = match name {
                    "contains" => TextTest::Contains,
                    "startsWith" => TextTest::StartsWith,
                    _ => TextTest::EndsWith,
                };
                let (text, part) = (self.text(on)?, self.text(argument)?);
                Ok(Typed::Bool(Pred::Test(test, text, part)))
            }
            ("matches", [argument]) => {
                let regex = RegexBuilder::new(literal(argument)?)
                    .size_limit(REGEX_BYTES)
                    .build()
                    .map_err(|error| ExprError::new(argument.offset, regex_message(&error)))?;
                Ok(Typed::Bool(Pred::Matches(self.text(on)?, regex)))
            }
            ("glob", [argument]) => {
                let glob = Glob::new(literal(argument)?, Style::Path)
                    .map_err(|complaint| at(argument, complaint))?;
                Ok(Typed::Bool(Pred::Glob(self.text(on)?, glob)))
            }
            ("inCidr", [argument]) => {
                let cidr = literal(argument)?.parse::<Cidr>();
                let cidr = cidr.map_err(|complaint| at(argument, complaint))?;
                Ok(Typed::Bool(Pred::InCidr(self.text(on)?, cidr)))
            }
            ("lowerAscii", []) => Ok(Typed::Text(Text::Lower(Box::new(self.text(on)?)))),
            _ => Err(unknown_function(node, name)),
        }
    }

    fn quantified(
        &mut self,
        name: &str,
        on: &Node,
        variable: &Node,
        pred: &Node,
    ) -> Checked<Typed> {
        let quantifier = match name {
            "exists" => Quantifier::Exists,
            "all" => Quantifier::All,
            _ => Quantifier::ExistsOne,
        };
        let list = match self.typed(on)? {
            Typed::List(list) => list,
            other => return Err(mismatch(on, Type::List, &other)),
        };
        let Expr::Name(variable) = &variable.expr else {
            let message = format!("the first argument of `{name}` is the name of a variable");
            return Err(ExprError::new(variable.offset, message));
        };
        self.locals.push(variable.clone());
        let pred = self.pred(pred);
        self.locals.pop();
        Ok(Typed::Bool(Pred::Quantified(
            quantifier,
            list,
            Box::new(pred?),
        )))
    }
}

/// Joins two parts by an operator that looks at both.
fn combine(operator: &str, left: Typed, right: Typed) -> Option<Typed> {
    let compare = match operator {
        "==" => Some(Compare::Equal),
        "!=" => Some(Compare::NotEqual),
        "<" => Some(Compare::Less),
        "<=" => Some(Compare::LessEqual),
        ">" => Some(Compare::Greater),
        ">=" => Some(Compare::GreaterEqual),
        _ => None,
    };
    let arithmetic = match operator {
        "+" => Some(Arithmetic::Add),
        "-" => Some(Arithmetic::Subtract),
        "*" => Some(Arithmetic::Multiply),
        "/" => Some(Arithmetic::Divide),
        "%" => Some(Arithmetic::Remainder),
        _ => None,
    };
    Some(match (left, right) {
        (Typed::Text(left), Typed::List(List::Const(texts))) if operator == "in" => {
            let set = texts.iter().map(|text| text.to_string()).collect();
            Typed::Bool(Pred::InSet(left, Arc::new(set)))
        }
        (Typed::Text(left), Typed::List(list)) if operator == "in" => {
            Typed::Bool(Pred::InList(left, list))
        }
        (Typed::Int(left), Typed::Ints(ints)) if operator == "in" => {
            Typed::Bool(Pred::InInts(left, Arc::new(ints.into_iter().collect())))
        }
        (Typed::Text(left), Typed::Text(right)) if operator == "+" => {
            Typed::Text(Text::Join(Box::new(left), Box::new(right)))
        }
        (Typed::Text(left), Typed::Text(right)) => Typed::Bool(Pred::Texts(compare?, left, right)),
        (Typed::Int(left), Typed::Int(right)) => match (compare, arithmetic) {
            (Some(compare), _) => Typed::Bool(Pred::Ints(compare, left, right)),
            (_, Some(arithmetic)) => {
                Typed::Int(Int::Compute(arithmetic, Box::new(left), Box::new(right)))
            }
            _ => return None,
        },
        (Typed::Bool(left), Typed::Bool(right)) => {
            Typed::Bool(Pred::Bools(compare?, Box::new(left), Box::new(right)))
        }
        _ => return None,
    })
}

/// A list of literals.
fn list(elements: &[Node]) -> Checked<Typed> {
    let mut texts: Vec<Arc<str>> = Vec::new();
    let mut ints = Vec::new();
    for element in elements {
        match &element.expr {
            Expr::Text(text) => texts.push(text.as_str().into()),
            Expr::Int(int) => ints.push(*int),
            _ => {
                let message = "a list holds strings or integers, written out";
                return Err(ExprError::new(element.offset, message));
            }
        }
        if !texts.is_empty() && !ints.is_empty() {
            let message = "a list holds either strings or integers";
            return Err(ExprError::new(element.offset, message));
        }
    }
    Ok(if ints.is_empty() {
        Typed::List(List::Const(texts.into()))
    } else {
        Typed::Ints(ints)
    })
}

fn literal(node: &Node) -> Checked<&str> {
    match &node.expr {
        Expr::Text(text) => Ok(text),
        _ => Err(ExprError::new(
            node.offset,
            "this must be a string, written out: it is compiled when the rule is loaded",
        )),
    }
}

fn at(node: &Node, complaint: Complaint) -> ExprError {
    ExprError {
        offset: node.offset,
        complaint,
    }
}

fn mismatch(node: &Node, wanted: Type, found: &Typed) -> ExprError {
    ExprError::new(
        node.offset,
        format!("expected a {}, not a {}", wanted.name(), found.type_name()),
    )
}

pub(crate) const FUNCTIONS: &[&str] = &[
    "size",
    "contains",
    "startsWith",
    "endsWith",
    "matches",
    "exists",
    "all",
    "exists_one",
    "glob",
    "inCidr",
    "lowerAscii",
];

fn unknown_function(node: &Node, name: &str) -> ExprError {
    let complaint = if FUNCTIONS.contains(&name) {
        Complaint::new(format!("`{name}` is not called like this"))
            .hint(Some("see docs/reference/rules.md".to_owned()))
    } else {
        Complaint::new(format!("unknown function `{name}`"))
            .hint(proposal(name, FUNCTIONS.iter().copied()))
    };
    at(node, complaint)
}

/// The last line of what the crate says, which has the reason; those before it draw the place.
fn regex_message(error: &regex::Error) -> String {
    let text = error.to_string();
    let reason = text.lines().last().unwrap_or_default();
    let reason = reason.trim().trim_start_matches("error: ");
    format!("not a regular expression: {reason}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kind::Kind;

    fn check(text: &str, kind: Kind) -> Result<Pred, ExprError> {
        let lists = BTreeMap::from([("shells".to_owned(), vec!["sh".to_owned()])]);
        let macros = BTreeMap::from([
            ("is_shell".to_owned(), "process.name in shells".to_owned()),
            ("a".to_owned(), "b".to_owned()),
            ("b".to_owned(), "a".to_owned()),
        ]);
        compile(
            text,
            &Scope {
                kinds: KindSet::of(kind),
                lists: &lists,
                macros: &macros,
            },
        )
    }

    #[test]
    fn well_typed_conditions_are_accepted() {
        for text in [
            "is_shell && process.uid == 0",
            "process.argv.exists(a, a.startsWith('-') && a.size() > 1)",
            "size(process.argv) * 2 >= 4",
            "process.name + 'x' == 'shx'",
            "process.uid in [0, 1000]",
            "process.name in ['a', 'b'] ? process.is_agent : file.in_workspace",
            "'secret' in process.labels",
            "file.path.glob('**/.ssh/*')",
            "process.command.lowerAscii().matches(r'(?i)curl\\s')",
        ] {
            let result = check(text, Kind::ProcessExec);
            assert!(result.is_ok(), "{text}: {result:?}");
        }
    }

    #[test]
    fn what_is_wrong_is_said_with_place_and_proposal() {
        for (text, offset, message, hint) in [
            (
                "proces.name == 'x'",
                0,
                "unknown name `proces.name`",
                "did you mean `process.name`?",
            ),
            (
                "process.uid == '0'",
                0,
                "`==` cannot join a int and a string",
                "",
            ),
            ("process.name", 0, "expected a bool, not a string", ""),
            (
                "process.name.startswith('x')",
                13,
                "unknown function `startswith`",
                "did you mean `startsWith`?",
            ),
            (
                "true && network.port == 1",
                8,
                "`network.port` is not known for `process.exec` events",
                "it is known for network.connect, network.accept, network.listen, network.close",
            ),
            (
                "process.name.matches('(')",
                21,
                "not a regular expression: unclosed group",
                "",
            ),
            (
                "process.name.matches(process.exe)",
                21,
                "this must be a string, written out: it is compiled when the rule is loaded",
                "",
            ),
            (
                "a",
                0,
                "in macro `a`: in macro `b`: macro `a` contains itself",
                "",
            ),
            (
                "['a'] == ['a']",
                0,
                "`==` cannot join a list of strings and a list of strings",
                "lists cannot be compared; use `exists` or `all`",
            ),
            (
                "process.argv.exists(1, true)",
                20,
                "the first argument of `exists` is the name of a variable",
                "",
            ),
            (
                "process.exe.inCidr('1.2.3')",
                19,
                "`1.2.3` is no network",
                "",
            ),
        ] {
            let error = check(text, Kind::ProcessExec).unwrap_err();
            assert_eq!(
                (
                    error.offset,
                    error.complaint.message.as_str(),
                    error.complaint.hint.as_deref().unwrap_or("")
                ),
                (offset, message, hint),
                "{text}"
            );
        }
    }
}
