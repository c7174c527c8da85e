//! From words to a tree. Precedence is that of CEL.

use super::lexer::{Token, tokens};
use super::{ExprError, MAX_BYTES, MAX_DEPTH};

/// A part of a condition, with the byte at which it begins.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Node {
    pub(crate) offset: usize,
    pub(crate) expr: Expr,
}

/// What a part is.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Expr {
    Bool(bool),
    Int(i64),
    Text(String),
    List(Vec<Node>),
    /// A name, with its dots.
    Name(String),
    Unary(&'static str, Box<Node>),
    Binary(&'static str, Box<Node>, Box<Node>),
    Condition(Box<Node>, Box<Node>, Box<Node>),
    /// A function, what it is called on, and its arguments.
    Call(String, Option<Box<Node>>, Vec<Node>),
}

/// Parses a whole condition.
pub(crate) fn parse(text: &str) -> Result<Node, ExprError> {
    if text.len() > MAX_BYTES {
        let message = format!("a condition may have {MAX_BYTES} bytes");
        return Err(ExprError::new(0, message));
    }
    let tokens = tokens(text)?;
    let mut parser = Parser {
        tokens: &tokens,
        at: 0,
        depth: 0,
    };
    let node = parser.condition()?;
    match parser.peek() {
        Token::End => Ok(node),
        token => Err(parser.error(format!(
            "expected an operator or the end, not {}",
            shown(token)
        ))),
    }
}

struct Parser<'a> {
    tokens: &'a [(usize, Token)],
    at: usize,
    depth: usize,
}

/// Binary operators by precedence, the weakest first.
const LEVELS: &[&[&str]] = &[
    &["||"],
    &["&&"],
    &["==", "!=", "<", "<=", ">", ">=", "in"],
    &["+", "-"],
    &["*", "/", "%"],
];

fn shown(token: &Token) -> String {
    match token {
        Token::Ident(word) => format!("`{word}`"),
        Token::Int(number) => format!("`{number}`"),
        Token::Text(text) => format!("the string `{text}`"),
        Token::Mark(mark) => format!("`{mark}`"),
        Token::End => "the end".to_owned(),
    }
}

impl Parser<'_> {
    fn peek(&self) -> &Token {
        self.tokens
            .get(self.at)
            .map_or(&Token::End, |(_, token)| token)
    }

    fn offset(&self) -> usize {
        let last = self.tokens.last();
        let token = self.tokens.get(self.at).or(last);
        token.map_or(0, |(offset, _)| *offset)
    }

    fn error(&self, message: impl Into<String>) -> ExprError {
        ExprError::new(self.offset(), message)
    }

    fn advance(&mut self) {
        self.at = self.at.saturating_add(1);
    }

    fn takes(&mut self, mark: &str) -> bool {
        let is = matches!(self.peek(), Token::Mark(found) if *found == mark);
        if is {
            self.advance();
        }
        is
    }

    fn expect(&mut self, mark: &str) -> Result<(), ExprError> {
        if self.takes(mark) {
            return Ok(());
        }
        Err(self.error(format!("expected `{mark}`, not {}", shown(self.peek()))))
    }

    /// Enters one level of nesting; the caller leaves it.
    fn nested<T>(
        &mut self,
        inner: impl FnOnce(&mut Self) -> Result<T, ExprError>,
    ) -> Result<T, ExprError> {
        self.depth = self.depth.saturating_add(1);
        if self.depth > MAX_DEPTH {
            return Err(self.error(format!("a condition may be nested {MAX_DEPTH} deep")));
        }
        let result = inner(self);
        self.depth = self.depth.saturating_sub(1);
        result
    }

    fn condition(&mut self) -> Result<Node, ExprError> {
        self.nested(|parser| {
            let test = parser.binary(0)?;
            if !parser.takes("?") {
                return Ok(test);
            }
            let offset = test.offset;
            let yes = parser.binary(0)?;
            parser.expect(":")?;
            let no = parser.condition()?;
            let expr = Expr::Condition(Box::new(test), Box::new(yes), Box::new(no));
            Ok(Node { offset, expr })
        })
    }

    fn binary(&mut self, level: usize) -> Result<Node, ExprError> {
        let Some(operators) = LEVELS.get(level) else {
            return self.unary();
        };
        let next = level.saturating_add(1);
        let mut left = self.binary(next)?;
        let mut chained = 0_usize;
        while let Some(operator) = self.operator(operators) {
            // The tree leans to the left and is walked recursively.
            chained = chained.saturating_add(1);
            if chained > MAX_DEPTH {
                let message = format!("more than {MAX_DEPTH} times `{operator}` in a row");
                return Err(self.error(message));
            }
            let right = self.binary(next)?;
            left = Node {
                offset: left.offset,
                expr: Expr::Binary(operator, Box::new(left), Box::new(right)),
            };
        }
        Ok(left)
    }

    fn operator(&mut self, operators: &[&'static str]) -> Option<&'static str> {
        let word = match self.peek() {
            Token::Mark(mark) => mark,
            Token::Ident(word) if word == "in" => "in",
            _ => return None,
        };
        let operator = operators.iter().find(|operator| **operator == word)?;
        self.advance();
        Some(operator)
    }

    fn unary(&mut self) -> Result<Node, ExprError> {
        let offset = self.offset();
        for operator in ["!", "-"] {
            if self.takes(operator) {
                let inner = self.nested(Self::unary)?;
                // The smallest integer has no positive counterpart.
                let expr = match (operator, inner.expr) {
                    ("-", Expr::Int(number)) if number > 0 => Expr::Int(number.saturating_neg()),
                    (_, expr) => Expr::Unary(
                        operator,
                        Box::new(Node {
                            offset: inner.offset,
                            expr,
                        }),
                    ),
                };
                return Ok(Node { offset, expr });
            }
        }
        self.member()
    }

    fn member(&mut self) -> Result<Node, ExprError> {
        let mut node = self.primary()?;
        while self.takes(".") {
            let Token::Ident(word) = self.peek().clone() else {
                return Err(self.error("expected a name after `.`"));
            };
            let offset = self.offset();
            self.advance();
            if self.takes("(") {
                let arguments = self.list(")")?;
                node = Node {
                    offset,
                    expr: Expr::Call(word, Some(Box::new(node)), arguments),
                };
            } else if let Expr::Name(name) = &mut node.expr {
                name.push('.');
                name.push_str(&word);
            } else {
                return Err(ExprError::new(
                    offset,
                    format!("`.{word}` needs a name before it"),
                ));
            }
        }
        Ok(node)
    }

    fn primary(&mut self) -> Result<Node, ExprError> {
        let offset = self.offset();
        let expr = match self.peek().clone() {
            Token::Int(number) => Expr::Int(number),
            Token::Text(text) => Expr::Text(text),
            Token::Ident(word) => match word.as_str() {
                "true" => Expr::Bool(true),
                "false" => Expr::Bool(false),
                "in" => return Err(self.error("`in` needs a value before it")),
                _ => {
                    self.advance();
                    if !self.takes("(") {
                        let expr = Expr::Name(word);
                        return Ok(Node { offset, expr });
                    }
                    let arguments = self.list(")")?;
                    let expr = Expr::Call(word, None, arguments);
                    return Ok(Node { offset, expr });
                }
            },
            Token::Mark("(") => {
                self.advance();
                let inner = self.condition()?;
                self.expect(")")?;
                return Ok(inner);
            }
            Token::Mark("[") => {
                self.advance();
                let expr = Expr::List(self.list("]")?);
                return Ok(Node { offset, expr });
            }
            token => return Err(self.error(format!("expected a value, not {}", shown(&token)))),
        };
        self.advance();
        Ok(Node { offset, expr })
    }

    fn list(&mut self, end: &str) -> Result<Vec<Node>, ExprError> {
        let mut list = Vec::new();
        while !self.takes(end) {
            if !list.is_empty() {
                self.expect(",")?;
            }
            list.push(self.condition()?);
        }
        Ok(list)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> (usize, String) {
        let error = parse(text).unwrap_err();
        (error.offset, error.complaint.message)
    }

    #[test]
    fn malformed_conditions_say_where() {
        for (text, offset, message) in [
            ("", 0, "expected a value, not the end"),
            ("a ==", 4, "expected a value, not the end"),
            ("a = b", 2, "unexpected character `=`"),
            ("a b", 2, "expected an operator or the end, not `b`"),
            ("(a", 2, "expected `)`, not the end"),
            ("a.contains('x'", 14, "expected `,`, not the end"),
            ("'x", 0, "a string is not closed"),
            (r"'\d'", 1, r"unknown escape `\d` in a string"),
            (
                "99999999999999999999",
                0,
                "`99999999999999999999` is no integer of 64 bits",
            ),
            ("1.5", 2, "expected a name after `.`"),
            ("a ? b", 5, "expected `:`, not the end"),
        ] {
            assert_eq!(refused(text), (offset, message.to_owned()), "{text}");
        }
    }

    #[test]
    fn depth_is_bounded() {
        for text in [
            "(".repeat(10_000),
            "!".repeat(10_000),
            "a && ".repeat(1_000) + "a",
            "[".repeat(4_000),
            "a ? b : ".repeat(900),
        ] {
            let (_, message) = refused(&text);
            assert!(
                message.contains("64") || message.contains("bytes"),
                "{message}"
            );
        }
    }

    #[test]
    fn operators_bind_as_in_cel() {
        for (text, same) in [
            ("a || b && c", "a || (b && c)"),
            ("!a && b", "(!a) && b"),
            ("1 + 2 * 3 == 7", "(1 + (2 * 3)) == 7"),
            ("1 - 2 - 3", "(1 - 2) - 3"),
            ("a == b == c", "(a == b) == c"),
            ("a ? b : c ? d : e", "a ? b : (c ? d : e)"),
        ] {
            let shape = |text| format!("{:?}", strip(parse(text).unwrap()));
            assert_eq!(shape(text), shape(same), "{text}");
        }
    }

    /// The tree without its places.
    fn strip(mut node: Node) -> Node {
        node.offset = 0;
        let inner = |node: Box<Node>| Box::new(strip(*node));
        node.expr = match node.expr {
            Expr::Unary(operator, one) => Expr::Unary(operator, inner(one)),
            Expr::Binary(operator, left, right) => {
                Expr::Binary(operator, inner(left), inner(right))
            }
            Expr::Condition(test, yes, no) => Expr::Condition(inner(test), inner(yes), inner(no)),
            other => other,
        };
        node
    }
}
