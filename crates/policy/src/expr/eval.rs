//! Typed predicates and their evaluation.
//!
//! `None` is CEL's error: an integer overflow, a division by zero. It makes a condition false, unless `&&`,
//! `||` or `?:` do not need it.

use std::borrow::Cow;
use std::collections::HashSet;
use std::sync::Arc;

use regex::Regex;

use crate::field::Field;
use crate::pattern::{Cidr, Glob};
use crate::view::View;

/// Local variables of macros such as `exists`, the innermost last.
type Locals<'a> = Vec<Cow<'a, str>>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Compare {
    Equal,
    NotEqual,
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
}

impl Compare {
    fn holds<T: Ord + ?Sized>(self, left: &T, right: &T) -> bool {
        let order = left.cmp(right);
        match self {
            Self::Equal => order.is_eq(),
            Self::NotEqual => order.is_ne(),
            Self::Less => order.is_lt(),
            Self::LessEqual => order.is_le(),
            Self::Greater => order.is_gt(),
            Self::GreaterEqual => order.is_ge(),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Arithmetic {
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Quantifier {
    Exists,
    All,
    ExistsOne,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TextTest {
    Contains,
    StartsWith,
    EndsWith,
}

/// A condition.
#[derive(Clone, Debug)]
pub(crate) enum Pred {
    Const(bool),
    Field(Field),
    Not(Box<Self>),
    And(Box<Self>, Box<Self>),
    Or(Box<Self>, Box<Self>),
    If(Box<Self>, Box<Self>, Box<Self>),
    Texts(Compare, Text, Text),
    Ints(Compare, Int, Int),
    Bools(Compare, Box<Self>, Box<Self>),
    Test(TextTest, Text, Text),
    Matches(Text, Regex),
    Glob(Text, Glob),
    InCidr(Text, Cidr),
    InSet(Text, Arc<HashSet<String>>),
    InInts(Int, Arc<HashSet<i64>>),
    InList(Text, List),
    Quantified(Quantifier, List, Box<Self>),
}

/// A text.
#[derive(Clone, Debug)]
pub(crate) enum Text {
    Const(Arc<str>),
    Field(Field),
    /// A local variable, counted from the outermost.
    Local(usize),
    Join(Box<Self>, Box<Self>),
    Lower(Box<Self>),
    If(Box<Pred>, Box<Self>, Box<Self>),
}

/// An integer.
#[derive(Clone, Debug)]
pub(crate) enum Int {
    Const(i64),
    Field(Field),
    Negate(Box<Self>),
    Compute(Arithmetic, Box<Self>, Box<Self>),
    /// Characters of a text.
    SizeText(Box<Text>),
    SizeList(Box<List>),
    If(Box<Pred>, Box<Self>, Box<Self>),
}

/// A list of texts.
#[derive(Clone, Debug)]
pub(crate) enum List {
    Const(Arc<[Arc<str>]>),
    Field(Field),
}

impl Pred {
    /// Whether it holds; `None` if that cannot be said.
    pub(crate) fn holds(&self, view: &View<'_>) -> Option<bool> {
        self.eval(view, &mut Vec::new())
    }

    fn eval<'a>(&'a self, view: &View<'a>, locals: &mut Locals<'a>) -> Option<bool> {
        Some(match self {
            Self::Const(value) => *value,
            Self::Field(field) => view.flag(*field),
            Self::Not(inner) => !inner.eval(view, locals)?,
            Self::And(left, right) => return both(left, right, false, view, locals),
            Self::Or(left, right) => return both(left, right, true, view, locals),
            Self::If(test, yes, no) => {
                let branch = if test.eval(view, locals)? { yes } else { no };
                return branch.eval(view, locals);
            }
            Self::Texts(compare, left, right) => {
                compare.holds(&*left.eval(view, locals)?, &*right.eval(view, locals)?)
            }
            Self::Ints(compare, left, right) => {
                compare.holds(&left.eval(view, locals)?, &right.eval(view, locals)?)
            }
            Self::Bools(compare, left, right) => {
                compare.holds(&left.eval(view, locals)?, &right.eval(view, locals)?)
            }
            Self::Test(test, text, part) => {
                let (text, part) = (text.eval(view, locals)?, part.eval(view, locals)?);
                match test {
                    TextTest::Contains => text.contains(&*part),
                    TextTest::StartsWith => text.starts_with(&*part),
                    TextTest::EndsWith => text.ends_with(&*part),
                }
            }
            Self::Matches(text, regex) => regex.is_match(&text.eval(view, locals)?),
            Self::Glob(text, glob) => glob.matches(&text.eval(view, locals)?),
            Self::InCidr(text, cidr) => {
                let address = text.eval(view, locals)?;
                address.parse().is_ok_and(|address| cidr.contains(address))
            }
            Self::InSet(text, set) => set.contains(&*text.eval(view, locals)?),
            Self::InInts(int, set) => set.contains(&int.eval(view, locals)?),
            Self::InList(text, list) => {
                let text = text.eval(view, locals)?;
                list.eval(view).contains(&text)
            }
            Self::Quantified(quantifier, list, pred) => {
                return quantified(*quantifier, list, pred, view, locals);
            }
        })
    }
}

/// `&&` and `||`: one side may decide, whatever the other says.
fn both<'a>(
    left: &'a Pred,
    right: &'a Pred,
    deciding: bool,
    view: &View<'a>,
    locals: &mut Locals<'a>,
) -> Option<bool> {
    let left = left.eval(view, locals);
    if left == Some(deciding) {
        return left;
    }
    let right = right.eval(view, locals);
    if right == Some(deciding) {
        return right;
    }
    left.and(right)
}

fn quantified<'a>(
    quantifier: Quantifier,
    list: &'a List,
    pred: &'a Pred,
    view: &View<'a>,
    locals: &mut Locals<'a>,
) -> Option<bool> {
    let (mut count, mut failed) = (0_usize, false);
    for element in list.eval(view) {
        locals.push(element);
        let result = pred.eval(view, locals);
        locals.pop();
        match (quantifier, result) {
            (Quantifier::Exists, Some(true)) => return Some(true),
            (Quantifier::All, Some(false)) => return Some(false),
            (_, Some(true)) => count = count.saturating_add(1),
            (_, Some(false)) => {}
            (_, None) => failed = true,
        }
    }
    if failed {
        return None;
    }
    Some(match quantifier {
        Quantifier::Exists => false,
        Quantifier::All => true,
        Quantifier::ExistsOne => count == 1,
    })
}

impl Text {
    fn eval<'a>(&'a self, view: &View<'a>, locals: &mut Locals<'a>) -> Option<Cow<'a, str>> {
        Some(match self {
            Self::Const(text) => Cow::Borrowed(text),
            Self::Field(field) => view.text(*field),
            Self::Local(index) => locals.get(*index)?.clone(),
            Self::Join(left, right) => {
                let mut joined = left.eval(view, locals)?.into_owned();
                joined.push_str(&right.eval(view, locals)?);
                Cow::Owned(joined)
            }
            Self::Lower(inner) => Cow::Owned(inner.eval(view, locals)?.to_ascii_lowercase()),
            Self::If(test, yes, no) => {
                let branch = if test.eval(view, locals)? { yes } else { no };
                branch.eval(view, locals)?
            }
        })
    }
}

impl Int {
    fn eval<'a>(&'a self, view: &View<'a>, locals: &mut Locals<'a>) -> Option<i64> {
        Some(match self {
            Self::Const(value) => *value,
            Self::Field(field) => view.int(*field),
            Self::Negate(inner) => inner.eval(view, locals)?.checked_neg()?,
            Self::Compute(operation, left, right) => {
                let (left, right) = (left.eval(view, locals)?, right.eval(view, locals)?);
                match operation {
                    Arithmetic::Add => left.checked_add(right)?,
                    Arithmetic::Subtract => left.checked_sub(right)?,
                    Arithmetic::Multiply => left.checked_mul(right)?,
                    Arithmetic::Divide => left.checked_div(right)?,
                    Arithmetic::Remainder => left.checked_rem(right)?,
                }
            }
            Self::SizeText(text) => {
                let count = text.eval(view, locals)?.chars().count();
                i64::try_from(count).unwrap_or(i64::MAX)
            }
            Self::SizeList(list) => i64::try_from(list.eval(view).len()).unwrap_or(i64::MAX),
            Self::If(test, yes, no) => {
                let branch = if test.eval(view, locals)? { yes } else { no };
                branch.eval(view, locals)?
            }
        })
    }
}

impl List {
    fn eval<'a>(&'a self, view: &View<'a>) -> Vec<Cow<'a, str>> {
        match self {
            Self::Const(list) => list.iter().map(|text| Cow::Borrowed(&**text)).collect(),
            Self::Field(field) => view.list(*field),
        }
    }
}
