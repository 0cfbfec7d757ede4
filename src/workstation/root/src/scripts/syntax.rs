//! The grammar of a POSIX shell script (XCU 2.9, 2.10) over the tokens of [`super::lexer`].

use super::lexer::{Placed, Token, Word};

#[derive(Clone, Debug)]
pub enum Node {
    Simple {
        words: Vec<Word>,
        writes: Vec<Word>,
        line: usize,
    },
    Not(Box<Node>),
    /// `first && … || …`; true for `&&`.
    Chain {
        first: Box<Node>,
        rest: Vec<(bool, Node)>,
    },
    Pipe(Vec<Node>),
    List(Vec<Node>),
    If {
        arms: Vec<(Node, Node)>,
        otherwise: Option<Box<Node>>,
    },
    Case {
        word: Word,
        arms: Vec<(Vec<Word>, Node)>,
    },
    For {
        variable: String,
        words: Vec<Word>,
        body: Box<Node>,
    },
    While {
        condition: Box<Node>,
        body: Box<Node>,
    },
    Function {
        name: String,
        body: Box<Node>,
    },
    /// `( … )`: its assignments stay inside. What a compound command writes to is listed.
    Subshell {
        body: Box<Node>,
        writes: Vec<Word>,
        line: usize,
    },
}

/// Nested deeper than this is refused, before it exhausts the stack.
const MAX_DEPTH: usize = 24;

struct Parser {
    tokens: Vec<Placed>,
    at: usize,
    depth: usize,
}

/// Parses a whole script.
///
/// # Errors
/// The line where it stops being a script this grammar knows.
pub fn parse(tokens: Vec<Placed>) -> Result<Node, usize> {
    let mut parser = Parser { tokens, at: 0, depth: 0 };
    let list = parser.list(&[])?;
    match parser.at == parser.tokens.len() {
        true => Ok(list),
        false => Err(parser.line()),
    }
}

impl Parser {
    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.at).map(|(token, _)| token)
    }

    fn line(&self) -> usize {
        self.tokens.get(self.at).or(self.tokens.last()).map_or(1, |(_, line)| *line)
    }

    fn is_op(&self, op: &str) -> bool {
        matches!(self.peek(), Some(Token::Op(o)) if *o == op)
    }

    /// The unquoted literal word here, which may be a keyword.
    fn keyword(&self) -> Option<&str> {
        match self.peek() {
            Some(Token::Word(word)) if !word.quoted => word.literal(),
            _ => None,
        }
    }

    fn expect_keyword(&mut self, keyword: &str) -> Result<(), usize> {
        if self.keyword() != Some(keyword) {
            return Err(self.line());
        }
        self.at += 1;
        Ok(())
    }

    fn skip_newlines(&mut self) {
        while self.is_op("\n") {
            self.at += 1;
        }
    }

    /// Commands up to one of the closing keywords, `)` or `;;`, which are left where they are.
    fn list(&mut self, closing: &[&str]) -> Result<Node, usize> {
        let mut items = Vec::new();
        loop {
            while self.is_op("\n") || self.is_op(";") || self.is_op("&") {
                self.at += 1;
            }
            let done = self.peek().is_none()
                || self.is_op(")")
                || self.is_op(";;")
                || self.keyword().is_some_and(|k| closing.contains(&k));
            if done {
                break;
            }
            items.push(self.and_or()?);
        }
        Ok(Node::List(items))
    }

    fn and_or(&mut self) -> Result<Node, usize> {
        let first = self.pipeline()?;
        let mut rest = Vec::new();
        loop {
            let and = self.is_op("&&");
            if !and && !self.is_op("||") {
                break;
            }
            self.at += 1;
            self.skip_newlines();
            rest.push((and, self.pipeline()?));
        }
        Ok(if rest.is_empty() { first } else { Node::Chain { first: Box::new(first), rest } })
    }

    fn pipeline(&mut self) -> Result<Node, usize> {
        let mut negated = false;
        while self.keyword() == Some("!") {
            self.at += 1;
            negated = !negated;
        }
        let pipe = self.stages()?;
        Ok(if negated { Node::Not(Box::new(pipe)) } else { pipe })
    }

    fn stages(&mut self) -> Result<Node, usize> {
        let mut stages = vec![self.command()?];
        while self.is_op("|") {
            self.at += 1;
            self.skip_newlines();
            stages.push(self.command()?);
        }
        Ok(match stages.pop() {
            Some(only) if stages.is_empty() => only,
            Some(last) => {
                stages.push(last);
                Node::Pipe(stages)
            }
            None => Node::List(Vec::new()),
        })
    }

    fn command(&mut self) -> Result<Node, usize> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(self.line());
        }
        let node = self.any_command()?;
        self.depth -= 1;
        Ok(node)
    }

    fn any_command(&mut self) -> Result<Node, usize> {
        let line = self.line();
        let node = match self.keyword() {
            Some("if") => self.if_clause()?,
            Some("case") => self.case_clause()?,
            Some("for") => self.for_clause()?,
            Some("while" | "until") => {
                self.at += 1;
                let condition = Box::new(self.list(&["do"])?);
                let body = self.do_group()?;
                Node::While { condition, body }
            }
            Some("{") => {
                self.at += 1;
                let body = self.list(&["}"])?;
                self.expect_keyword("}")?;
                body
            }
            _ if self.is_op("(") => {
                self.at += 1;
                let body = Box::new(self.list(&[])?);
                if !self.is_op(")") {
                    return Err(self.line());
                }
                self.at += 1;
                Node::Subshell { body, writes: Vec::new(), line }
            }
            Some(name) if self.function_follows() => {
                let name = name.to_owned();
                self.at += 3;
                self.skip_newlines();
                let body = Box::new(self.command()?);
                return Ok(Node::Function { name, body });
            }
            _ => return self.simple(),
        };
        let mut writes = Vec::new();
        while let Some(Token::Redirect { reads, target }) = self.peek() {
            if !reads {
                writes.push(target.clone());
            }
            self.at += 1;
        }
        Ok(match (node, writes) {
            (node, writes) if writes.is_empty() => node,
            (Node::Subshell { body, line, .. }, writes) => Node::Subshell { body, writes, line },
            (node, writes) => Node::List(vec![node, Node::Simple { words: vec![Word::of("cat")], writes, line }]),
        })
    }

    fn function_follows(&self) -> bool {
        let op =
            |ahead: usize, op: &str| matches!(self.tokens.get(self.at + ahead), Some((Token::Op(o), _)) if *o == op);
        op(1, "(") && op(2, ")")
    }

    fn simple(&mut self) -> Result<Node, usize> {
        let line = self.line();
        let (mut words, mut writes) = (Vec::new(), Vec::new());
        loop {
            match self.peek() {
                Some(Token::Word(word)) => words.push(word.clone()),
                Some(Token::Redirect { reads, target }) => {
                    if !reads {
                        writes.push(target.clone());
                    }
                }
                _ => break,
            }
            self.at += 1;
        }
        if words.is_empty() && writes.is_empty() {
            return Err(line);
        }
        Ok(Node::Simple { words, writes, line })
    }

    fn if_clause(&mut self) -> Result<Node, usize> {
        let mut arms = Vec::new();
        let mut otherwise = None;
        loop {
            if arms.len() > MAX_DEPTH {
                return Err(self.line());
            }
            self.at += 1; // `if` or `elif`
            let condition = self.list(&["then"])?;
            self.expect_keyword("then")?;
            arms.push((condition, self.list(&["elif", "else", "fi"])?));
            match self.keyword() {
                Some("elif") => continue,
                Some("else") => {
                    self.at += 1;
                    otherwise = Some(Box::new(self.list(&["fi"])?));
                    self.expect_keyword("fi")?;
                }
                _ => self.expect_keyword("fi")?,
            }
            return Ok(Node::If { arms, otherwise });
        }
    }

    fn case_clause(&mut self) -> Result<Node, usize> {
        self.at += 1;
        let Some(Token::Word(word)) = self.peek().cloned() else { return Err(self.line()) };
        self.at += 1;
        self.skip_newlines();
        self.expect_keyword("in")?;
        let mut arms = Vec::new();
        loop {
            while self.is_op("\n") || self.is_op(";;") {
                self.at += 1;
            }
            if self.keyword() == Some("esac") {
                self.at += 1;
                return Ok(Node::Case { word, arms });
            }
            if self.is_op("(") {
                self.at += 1;
            }
            let mut patterns = Vec::new();
            while let Some(Token::Word(pattern)) = self.peek().cloned() {
                patterns.push(pattern);
                self.at += 1;
                if self.is_op("|") {
                    self.at += 1;
                }
            }
            if !self.is_op(")") {
                return Err(self.line());
            }
            self.at += 1;
            arms.push((patterns, self.list(&["esac"])?));
        }
    }

    fn for_clause(&mut self) -> Result<Node, usize> {
        self.at += 1;
        let variable = self.keyword().ok_or(self.line())?.to_owned();
        self.at += 1;
        self.skip_newlines();
        let mut words = Vec::new();
        if self.keyword() == Some("in") {
            self.at += 1;
            while let Some(Token::Word(word)) = self.peek().cloned() {
                words.push(word);
                self.at += 1;
            }
        }
        while self.is_op(";") || self.is_op("\n") {
            self.at += 1;
        }
        Ok(Node::For { variable, words, body: self.do_group()? })
    }

    fn do_group(&mut self) -> Result<Box<Node>, usize> {
        self.expect_keyword("do")?;
        let body = Box::new(self.list(&["done"])?);
        self.expect_keyword("done")?;
        Ok(body)
    }
}
