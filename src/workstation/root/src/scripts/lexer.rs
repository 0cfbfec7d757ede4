//! Words and operators of a POSIX shell script (POSIX.1-2017, XCU 2.3), as far as maintainer scripts use them.

/// Part of a word. Quoting decides whether an expansion is split into fields.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// Text as it stands, quotes and backslashes taken off.
    Text(String),
    /// `$name`, `${name…}`: name and the rest inside the braces (`:-x`), empty without one.
    Variable { name: String, rest: String, quoted: bool },
    /// `$(…)` or backquotes: the commands inside.
    Substitution(String),
    /// `$((…))`
    Arithmetic,
}

#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Word {
    pub parts: Vec<Part>,
    /// Some of it was quoted: it is no keyword, and not dropped when it expands to nothing.
    pub quoted: bool,
}

impl Word {
    /// A word of plain text.
    pub fn of(text: &str) -> Word {
        Word { parts: vec![Part::Text(text.to_owned())], quoted: false }
    }

    /// The text of a word that has no expansions.
    pub fn literal(&self) -> Option<&str> {
        match self.parts.as_slice() {
            [] => Some(""),
            [Part::Text(text)] => Some(text),
            _ => None,
        }
    }

    fn push(&mut self, c: char) {
        match self.parts.last_mut() {
            Some(Part::Text(text)) => text.push(c),
            _ => self.parts.push(Part::Text(c.to_string())),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Token {
    Word(Word),
    /// `;` `;;` `&` `&&` `|` `||` `(` `)` and newline as `"\n"`.
    Op(&'static str),
    /// `>` and its kin with the word that follows; `reads` for `<`.
    Redirect {
        reads: bool,
        target: Word,
    },
}

/// A token and the line it begins on, counted from 1.
pub type Placed = (Token, usize);

struct Lexer {
    chars: Vec<char>,
    at: usize,
    line: usize,
    out: Vec<Placed>,
    /// Here-documents announced on this line: delimiter, and whether leading tabs are stripped.
    pending: Vec<(String, bool)>,
}

/// Splits a script into tokens.
///
/// # Errors
/// The line of a quote, brace or parenthesis that does not close.
pub fn tokens(text: &str) -> Result<Vec<Placed>, usize> {
    let mut lexer = Lexer { chars: text.chars().collect(), at: 0, line: 1, out: Vec::new(), pending: Vec::new() };
    lexer.run()?;
    Ok(lexer.out)
}

impl Lexer {
    fn peek(&self, ahead: usize) -> Option<char> {
        self.chars.get(self.at + ahead).copied()
    }

    fn bump(&mut self) -> Option<char> {
        let c = self.peek(0)?;
        self.at += 1;
        if c == '\n' {
            self.line += 1;
        }
        Some(c)
    }

    fn op(&mut self, op: &'static str, len: usize) {
        self.out.push((Token::Op(op), self.line));
        self.at += len;
    }

    fn run(&mut self) -> Result<(), usize> {
        while let Some(c) = self.peek(0) {
            match (c, self.peek(1)) {
                ('\n', _) => {
                    self.out.push((Token::Op("\n"), self.line));
                    self.bump();
                    self.skip_here_documents();
                }
                (' ' | '\t' | '\r', _) => self.at += 1,
                ('\\', Some('\n')) => {
                    self.bump();
                    self.bump();
                }
                ('#', _) => {
                    while self.peek(0).is_some_and(|c| c != '\n') {
                        self.at += 1;
                    }
                }
                (';', Some(';')) => self.op(";;", 2),
                (';', _) => self.op(";", 1),
                ('&', Some('&')) => self.op("&&", 2),
                ('&', _) => self.op("&", 1),
                ('|', Some('|')) => self.op("||", 2),
                ('|', _) => self.op("|", 1),
                ('(', _) => self.op("(", 1),
                (')', _) => self.op(")", 1),
                ('<' | '>', _) => self.redirect()?,
                _ => self.word_token()?,
            }
        }
        Ok(())
    }

    fn word_token(&mut self) -> Result<(), usize> {
        let line = self.line;
        let word = self.word()?;
        let number =
            word.literal().is_some_and(|t| !word.quoted && !t.is_empty() && t.chars().all(|c| c.is_ascii_digit()));
        if number && matches!(self.peek(0), Some('<' | '>')) {
            return Ok(()); // the file descriptor of a redirection
        }
        self.out.push((Token::Word(word), line));
        Ok(())
    }

    fn redirect(&mut self) -> Result<(), usize> {
        let line = self.line;
        let mut op = String::new();
        while let Some(c @ ('<' | '>' | '&' | '|')) = self.peek(0) {
            if op.len() == 2 {
                break;
            }
            op.push(c);
            self.at += 1;
        }
        if op == "<<" {
            let strip = self.peek(0) == Some('-');
            if strip {
                self.at += 1;
            }
            self.skip_blanks();
            let delimiter = self.word()?;
            let text = delimiter.parts.iter().map(|p| if let Part::Text(t) = p { t.as_str() } else { "" }).collect();
            self.pending.push((text, strip));
            return Ok(());
        }
        self.skip_blanks();
        let target = self.word()?;
        if !op.ends_with('&') {
            self.out.push((Token::Redirect { reads: op == "<", target }, line));
        }
        Ok(())
    }

    fn skip_blanks(&mut self) {
        while matches!(self.peek(0), Some(' ' | '\t')) {
            self.at += 1;
        }
    }

    /// Here-documents feed the command that announced them; their text has no effect of its own here.
    fn skip_here_documents(&mut self) {
        for (delimiter, strip) in std::mem::take(&mut self.pending) {
            while self.at < self.chars.len() {
                let mut line = String::new();
                while let Some(c) = self.bump() {
                    if c == '\n' {
                        break;
                    }
                    line.push(c);
                }
                if (if strip { line.trim_start_matches('\t') } else { &line }) == delimiter {
                    break;
                }
            }
        }
    }

    fn word(&mut self) -> Result<Word, usize> {
        let mut word = Word::default();
        let start = self.line;
        while let Some(c) = self.peek(0) {
            match c {
                ' ' | '\t' | '\r' | '\n' | ';' | '&' | '|' | '(' | ')' | '<' | '>' => break,
                '\'' => {
                    self.at += 1;
                    word.quoted = true;
                    loop {
                        match self.bump().ok_or(start)? {
                            '\'' => break,
                            c => word.push(c),
                        }
                    }
                    if word.parts.is_empty() {
                        word.parts.push(Part::Text(String::new()));
                    }
                }
                '"' => {
                    self.at += 1;
                    word.quoted = true;
                    self.double_quoted(&mut word, start)?;
                }
                '\\' => {
                    self.at += 1;
                    match self.bump() {
                        Some('\n') | None => {}
                        Some(c) => word.push(c),
                    }
                    word.quoted = true;
                }
                '$' => self.dollar(&mut word, false)?,
                '`' => self.backquote(&mut word)?,
                c => {
                    word.push(c);
                    self.at += 1;
                }
            }
        }
        Ok(word)
    }

    fn double_quoted(&mut self, word: &mut Word, start: usize) -> Result<(), usize> {
        loop {
            match self.peek(0).ok_or(start)? {
                '"' => {
                    self.at += 1;
                    break;
                }
                '\\' => {
                    self.at += 1;
                    match self.bump().ok_or(start)? {
                        '\n' => {}
                        c @ ('$' | '`' | '"' | '\\') => word.push(c),
                        c => {
                            word.push('\\');
                            word.push(c);
                        }
                    }
                }
                '$' => self.dollar(word, true)?,
                '`' => self.backquote(word)?,
                _ => {
                    if let Some(c) = self.bump() {
                        word.push(c);
                    }
                }
            }
        }
        if word.parts.is_empty() {
            word.parts.push(Part::Text(String::new()));
        }
        Ok(())
    }

    fn dollar(&mut self, word: &mut Word, quoted: bool) -> Result<(), usize> {
        let line = self.line;
        self.at += 1;
        match self.peek(0) {
            Some('(') => {
                let inside = self.balanced('(', ')').ok_or(line)?;
                match inside.strip_prefix('(') {
                    Some(_) if inside.ends_with(')') => word.parts.push(Part::Arithmetic),
                    _ => word.parts.push(Part::Substitution(inside)),
                }
            }
            Some('{') => {
                let inside = self.balanced('{', '}').ok_or(line)?;
                let end =
                    inside.char_indices().position(|(i, c)| !name_char(c, i == 0)).unwrap_or(inside.chars().count());
                let end = if end == 0 { inside.chars().next().map_or(0, char::len_utf8) } else { end };
                let (name, rest) = inside.split_at(end.min(inside.len()));
                word.parts.push(Part::Variable { name: name.to_owned(), rest: rest.to_owned(), quoted });
            }
            Some(c) if name_char(c, true) => {
                let mut name = String::new();
                while let Some(c) = self.peek(0).filter(|c| name_char(*c, false)) {
                    name.push(c);
                    self.at += 1;
                }
                word.parts.push(Part::Variable { name, rest: String::new(), quoted });
            }
            Some(c @ ('0'..='9' | '@' | '*' | '#' | '?' | '!' | '$' | '-')) => {
                self.at += 1;
                word.parts.push(Part::Variable { name: c.to_string(), rest: String::new(), quoted });
            }
            _ => word.push('$'),
        }
        Ok(())
    }

    fn backquote(&mut self, word: &mut Word) -> Result<(), usize> {
        let line = self.line;
        self.at += 1;
        let mut inside = String::new();
        loop {
            match self.bump().ok_or(line)? {
                '`' => break,
                '\\' => inside.extend(self.bump()),
                c => inside.push(c),
            }
        }
        word.parts.push(Part::Substitution(inside));
        Ok(())
    }

    /// The text between a bracket here and its partner, quotes respected; `at` ends behind the partner.
    fn balanced(&mut self, open: char, close: char) -> Option<String> {
        let mut depth = 0usize;
        let mut inside = String::new();
        let mut quote = None;
        while let Some(c) = self.bump() {
            match quote {
                Some(q) => {
                    if c == '\\' && q == '"' {
                        inside.push(c);
                        inside.extend(self.bump());
                        continue;
                    }
                    if c == q {
                        quote = None;
                    }
                }
                None if c == '\'' || c == '"' => quote = Some(c),
                None if c == '\\' => {
                    inside.push(c);
                    inside.extend(self.bump());
                    continue;
                }
                None if c == open => {
                    depth += 1;
                    if depth == 1 {
                        continue;
                    }
                }
                None if c == close => {
                    depth -= 1;
                    if depth == 0 {
                        return Some(inside);
                    }
                }
                None => {}
            }
            inside.push(c);
        }
        None
    }
}

fn name_char(c: char, first: bool) -> bool {
    c == '_' || c.is_ascii_alphabetic() || (!first && c.is_ascii_digit())
}
