//! The grammar: `or` of `and` of comparisons.

use super::eval::{Value, compare};
use super::lex::{Token, tokens};
use super::{DEPTH_MAX, Expr, Order, PARTS_MAX, Part, Sql, SqlError};
use std::collections::HashMap;

pub(super) fn parse(text: &str) -> Result<Sql, SqlError> {
    let mut parser = Parser { tokens: tokens(text)?, next: 0, names: HashMap::new(), parts: 0, depth: 0 };
    let root = parser.or()?;
    let root = parser.condition(root)?;
    match parser.peek() {
        Token::End => Ok(Sql { root, names: parser.names }),
        other => {
            let why = format!("{} is not expected here", name(other));
            Err(parser.error(why))
        }
    }
}

struct Parser {
    tokens: Vec<(usize, Token)>,
    next: usize,
    names: HashMap<Box<str>, usize>,
    parts: usize,
    depth: usize,
}

/// A word as an error names it.
fn name(token: &Token) -> String {
    match token {
        Token::Name(name) => format!("the name {name}"),
        Token::Text(text) => format!("the text '{text}'"),
        Token::Whole(digits) | Token::Fraction(digits) => format!("the number {digits}"),
        Token::End => "the end".to_owned(),
        other => format!("{other:?}").to_uppercase(),
    }
}

type Parsed = Result<Expr, SqlError>;

impl Parser {
    fn peek(&self) -> &Token {
        self.tokens.get(self.next).map_or(&Token::End, |(_, token)| token)
    }

    fn peek_second(&self) -> &Token {
        self.tokens.get(self.next + 1).map_or(&Token::End, |(_, token)| token)
    }

    fn take(&mut self) -> Token {
        let token = self.peek().clone();
        self.next += 1;
        token
    }

    fn accept(&mut self, token: &Token) -> bool {
        let is = self.peek() == token;
        self.next += usize::from(is);
        is
    }

    fn expect(&mut self, token: &Token) -> Result<(), SqlError> {
        if self.accept(token) {
            return Ok(());
        }
        let why = format!("{} is expected, not {}", name(token), name(self.peek()));
        Err(self.error(why))
    }

    fn error(&self, why: impl Into<String>) -> SqlError {
        let last = self.tokens.last().map_or(0, |(at, _)| *at);
        SqlError { at: self.tokens.get(self.next).map_or(last, |(at, _)| *at), why: why.into() }
    }

    fn part(&mut self, expr: Expr) -> Parsed {
        self.parts += 1;
        if self.parts > PARTS_MAX {
            return Err(self.error(format!("there are more than {PARTS_MAX} parts")));
        }
        Ok(expr)
    }

    fn nested(&mut self, inner: impl FnOnce(&mut Self) -> Parsed) -> Parsed {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(self.error(format!("parts are nested more than {DEPTH_MAX} deep")));
        }
        let parsed = inner(self);
        self.depth -= 1;
        parsed
    }

    /// What can be true or false.
    fn condition(&mut self, expr: Expr) -> Parsed {
        match expr {
            Expr::Property(_) => self.part(Expr::Cast(Box::new(expr))),
            expr if expr.is_condition() => Ok(expr),
            _ => Err(self.error("what stands before this is no condition: it is neither true nor false")),
        }
    }

    fn or(&mut self) -> Parsed {
        let mut left = self.and()?;
        while self.accept(&Token::Or) {
            let right = self.and()?;
            let (a, b) = (self.condition(left)?, self.condition(right)?);
            left = self.part(Expr::Or(Box::new(a), Box::new(b)))?;
        }
        Ok(left)
    }

    fn and(&mut self) -> Parsed {
        let mut left = self.equality()?;
        while self.accept(&Token::And) {
            let right = self.equality()?;
            let (a, b) = (self.condition(left)?, self.condition(right)?);
            left = self.part(Expr::And(Box::new(a), Box::new(b)))?;
        }
        Ok(left)
    }

    fn equality(&mut self) -> Parsed {
        let mut left = self.comparison()?;
        loop {
            let not = match self.peek() {
                Token::Equal => false,
                Token::Unequal => true,
                Token::Is => {
                    self.take();
                    let not = self.accept(&Token::Not);
                    self.expect(&Token::Null)?;
                    let is_null = self.part(Expr::IsNull(Box::new(left)))?;
                    left = self.negated(is_null, not)?;
                    continue;
                }
                _ => return Ok(left),
            };
            self.take();
            let right = self.comparison()?;
            for side in [&left, &right] {
                if matches!(side, Expr::Constant(Value::Null)) {
                    return Err(self.error("NULL cannot be compared: use IS NULL"));
                }
            }
            if let (Expr::Constant(Value::Bool(_)), Expr::Constant(other)) = (&left, &right)
                && !matches!(other, Value::Bool(_))
            {
                return Err(self.error("true and false cannot be compared with a number or text"));
            }
            let equal = self.part(Expr::Equal(Box::new(left), Box::new(right)))?;
            left = self.negated(equal, not)?;
        }
    }

    fn negated(&mut self, expr: Expr, not: bool) -> Parsed {
        if not { self.part(Expr::Not(Box::new(expr))) } else { Ok(expr) }
    }

    fn comparison(&mut self) -> Parsed {
        let mut left = self.unary()?;
        loop {
            let not = *self.peek() == Token::Not;
            let operator = if not { self.peek_second().clone() } else { self.peek().clone() };
            left = match operator {
                Token::Contains => self.text_part(left, Part::Contains, not)?,
                Token::StartsWith => self.text_part(left, Part::StartsWith, not)?,
                Token::EndsWith => self.text_part(left, Part::EndsWith, not)?,
                Token::Between => self.between(left, not)?,
                Token::In => self.one_of(left, not)?,
                Token::Less if !not => self.ordered(left, Order::Less)?,
                Token::LessOrEqual if !not => self.ordered(left, Order::LessOrEqual)?,
                Token::Greater if !not => self.ordered(left, Order::Greater)?,
                Token::GreaterOrEqual if !not => self.ordered(left, Order::GreaterOrEqual)?,
                _ => return Ok(left),
            };
        }
    }

    fn skip_operator(&mut self, not: bool) {
        self.next += 1 + usize::from(not);
    }

    fn text_part(&mut self, left: Expr, part: Part, not: bool) -> Parsed {
        self.skip_operator(not);
        let search = self.text()?;
        self.part(Expr::Text { part, of: Box::new(left), search, not })
    }

    fn text(&mut self) -> Result<String, SqlError> {
        match self.peek().clone() {
            Token::Text(text) => {
                self.take();
                Ok(text)
            }
            other => Err(self.error(format!("a text in quotes is expected, not {}", name(&other)))),
        }
    }

    fn one_of(&mut self, left: Expr, not: bool) -> Parsed {
        let Expr::Property(property) = left else {
            return Err(self.error("IN wants a property before it"));
        };
        self.skip_operator(not);
        self.expect(&Token::Open)?;
        let mut list = vec![self.text()?];
        while self.accept(&Token::Comma) {
            list.push(self.text()?);
            self.part(Expr::Property(property))?;
        }
        self.expect(&Token::Close)?;
        list.sort_unstable();
        self.part(Expr::In { property, list, not })
    }

    fn ordered(&mut self, left: Expr, order: Order) -> Parsed {
        self.take();
        let right = self.unary()?;
        self.compared(order, left, right)
    }

    fn compared(&mut self, order: Order, left: Expr, right: Expr) -> Parsed {
        for side in [&left, &right] {
            let number = match side {
                Expr::Constant(value) => value.is_number(),
                side => !side.is_condition(),
            };
            if !number {
                return Err(self.error("only numbers and properties have an order"));
            }
        }
        self.part(Expr::Compare(order, Box::new(left), Box::new(right)))
    }

    fn between(&mut self, value: Expr, not: bool) -> Parsed {
        self.skip_operator(not);
        let low = self.unary()?;
        self.expect(&Token::And)?;
        let high = self.unary()?;
        if let (Expr::Constant(low), Expr::Constant(high)) = (&low, &high)
            && compare(high, low).is_ok_and(std::cmp::Ordering::is_lt)
        {
            return Err(self.error("the first value of BETWEEN is greater than the second"));
        }
        let again = value.again().ok_or_else(|| self.error("BETWEEN wants a property before it"))?;
        let (first, second) = match not {
            true => (Order::Less, Order::Greater),
            false => (Order::GreaterOrEqual, Order::LessOrEqual),
        };
        let (a, b) = (self.compared(first, value, low)?, self.compared(second, again, high)?);
        let (a, b) = (Box::new(a), Box::new(b));
        self.part(if not { Expr::Or(a, b) } else { Expr::And(a, b) })
    }

    fn unary(&mut self) -> Parsed {
        match self.peek() {
            Token::Plus => {
                self.take();
                self.nested(Self::unary)
            }
            Token::Minus => {
                self.take();
                let inner = self.nested(Self::unary)?;
                self.part(Expr::Negate(Box::new(inner)))
            }
            Token::Not => {
                self.take();
                let inner = self.nested(Self::unary)?;
                let inner = self.condition(inner)?;
                self.part(Expr::Not(Box::new(inner)))
            }
            _ => self.primary(),
        }
    }

    fn primary(&mut self) -> Parsed {
        let value = match self.peek().clone() {
            Token::Name(name) => {
                self.take();
                let number = self.names.len();
                let property = *self.names.entry(name.into()).or_insert(number);
                return self.part(Expr::Property(property));
            }
            Token::Open => {
                self.take();
                let inner = self.nested(Self::or)?;
                self.expect(&Token::Close)?;
                return Ok(inner);
            }
            Token::Text(text) => Value::Owned(text),
            Token::Whole(digits) => self.whole(&digits)?,
            Token::Fraction(digits) => self.fraction(&digits)?,
            Token::True => Value::Bool(true),
            Token::False => Value::Bool(false),
            Token::Null => Value::Null,
            other => return Err(self.error(format!("{} is not expected here", name(&other)))),
        };
        self.take();
        self.part(Expr::Constant(value))
    }

    fn whole(&self, digits: &str) -> Result<Value<'static>, SqlError> {
        let plain = digits.trim_end_matches('L');
        if plain.len() > 1 && plain.starts_with('0') {
            return Err(self.error("a whole number does not begin with 0"));
        }
        let value: i64 = plain.parse().map_err(|_| self.error("the number is beyond 64 bits"))?;
        Ok(i32::try_from(value).map_or(Value::Long(value), Value::Int))
    }

    fn fraction(&self, digits: &str) -> Result<Value<'static>, SqlError> {
        match digits.parse::<f64>() {
            Ok(value) if value.is_finite() && value > 0.0 => Ok(Value::Double(value)),
            _ => Err(self.error("the number is too large or too small (Apache takes 0 but not 0.0)")),
        }
    }
}

impl Expr {
    fn is_condition(&self) -> bool {
        match self {
            Self::Constant(value) => matches!(value, Value::Bool(_) | Value::Null),
            Self::Property(_) | Self::Negate(_) => false,
            _ => true,
        }
    }

    /// A second one of what can stand before BETWEEN.
    fn again(&self) -> Option<Self> {
        match self {
            Self::Property(number) => Some(Self::Property(*number)),
            Self::Negate(inner) => Some(Self::Negate(Box::new(inner.again()?))),
            Self::Constant(value) => Some(Self::Constant(value.clone())),
            _ => None,
        }
    }
}
