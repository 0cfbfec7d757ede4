//! Answers to the questions of debconf, checked against the packages' templates (debconf-devel(7)).

use std::collections::{BTreeMap, BTreeSet};

use fruit_debian::PackageContents;

/// A checked answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    package: String,
    question: String,
    kind: String,
    value: String,
}

/// What is wrong with an answer, and what was likely meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flaw {
    pub message: String,
    pub candidates: Vec<String>,
    /// Whether it is the question that is wrong, and not the answer.
    pub of_question: bool,
}

impl Answer {
    /// As debconf-set-selections(1) reads it.
    pub(crate) fn line(&self) -> String {
        format!("{} {} {} {}\n", self.package, self.question, self.kind, self.value)
    }
}

struct Template {
    package: String,
    kind: String,
    /// `None` when they are made by the package's script.
    choices: Option<Vec<String>>,
}

/// The questions of all packages of an image.
pub struct Templates(BTreeMap<String, Template>);

/// Types of templates that ask nothing.
const NO_QUESTIONS: [&str; 3] = ["error", "note", "text"];

impl Templates {
    /// Reads the templates of all packages; a broken one has no questions.
    pub fn of(packages: &[PackageContents]) -> Templates {
        let mut all = BTreeMap::new();
        for package in packages {
            for (name, template) in read(&package.name, package.control.templates.as_deref().unwrap_or_default()) {
                all.entry(name).or_insert(template);
            }
        }
        Templates(all)
    }

    /// # Errors
    /// A question that no package asks, or an answer that it does not take.
    pub fn check(&self, question: &str, value: &str) -> Result<Answer, Flaw> {
        let Some(template) = self.0.get(question) else {
            return Err(Flaw {
                message: format!("no package of this image asks `{question}`"),
                candidates: self.0.iter().filter(|(_, t)| t.asks()).map(|(name, _)| name.clone()).collect(),
                of_question: true,
            });
        };
        let wrong = |message: String, candidates: &[String]| {
            Err(Flaw { message, candidates: candidates.to_vec(), of_question: false })
        };
        if !template.asks() {
            let message = format!("`{question}` of {} is a {}, which takes no answer", template.package, template.kind);
            return Err(Flaw { message, candidates: Vec::new(), of_question: true });
        }
        let given = match template.kind.as_str() {
            "multiselect" => choices(value),
            _ => vec![value.to_owned()],
        };
        let booleans = ["true".to_owned(), "false".to_owned()];
        let allowed = match template.kind.as_str() {
            "boolean" => Some(&booleans[..]),
            "select" | "multiselect" => template.choices.as_deref(),
            _ => None,
        };
        if let Some(choices) = allowed
            && let Some(bad) = given.iter().find(|one| !choices.contains(one))
        {
            let listed = choices.iter().take(12).map(|choice| format!("`{choice}`")).collect::<Vec<_>>().join(", ");
            return wrong(format!("`{question}` takes one of {listed}, not `{bad}`"), choices);
        }
        if value.chars().any(char::is_control) {
            return wrong(format!("the answer to `{question}` has more than one line"), &[]);
        }
        Ok(Answer {
            package: template.package.clone(),
            question: question.to_owned(),
            kind: template.kind.clone(),
            value: value.to_owned(),
        })
    }
}

impl Template {
    fn asks(&self) -> bool {
        !NO_QUESTIONS.contains(&self.kind.as_str())
    }
}

/// What a package asks, by name.
pub(crate) fn questions(package: &PackageContents) -> BTreeSet<String> {
    let all = read(&package.name, package.control.templates.as_deref().unwrap_or_default());
    all.into_iter().filter(|(_, template)| template.asks()).map(|(name, _)| name).collect()
}

fn read(package: &str, text: &str) -> Vec<(String, Template)> {
    let mut all = Vec::new();
    let unix = text.replace("\r\n", "\n");
    for paragraph in unix.split("\n\n") {
        let field = |name: &str| {
            let lines = paragraph.lines().filter_map(|line| line.split_once(':'));
            lines.filter(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim()).next()
        };
        let (Some(name), Some(kind)) = (field("Template"), field("Type")) else { continue };
        // What is stored are the choices of the C locale, where a package has such (debconf-devel(7), Choices-C).
        let choices = field("Choices-C").or_else(|| field("Choices")).filter(|text| !text.contains("${")).map(choices);
        all.push((name.to_owned(), Template { package: package.to_owned(), kind: kind.to_owned(), choices }));
    }
    all
}

/// Separated by commas; one that belongs to a choice has a backslash before it.
fn choices(text: &str) -> Vec<String> {
    let mut all = vec![String::new()];
    let mut characters = text.chars();
    while let Some(c) = characters.next() {
        let last = all.len() - 1;
        match c {
            '\\' => all[last].extend(characters.next()),
            ',' => all.push(String::new()),
            c => all[last].push(c),
        }
    }
    all.into_iter().map(|choice| choice.trim().to_owned()).filter(|choice| !choice.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use fruit_debian::package::Control;

    fn templates() -> Templates {
        let text = "Template: postfix/main_mailer_type\nType: select\nChoices: No configuration, Internet Site, Local only\nDefault: Internet Site\nDescription: x\n y\n\nTemplate: postfix/mailname\nType: string\nDescription: z\n\nTemplate: postfix/bad\nType: error\n\nTemplate: a/sure\nType: boolean\n\nTemplate: a/many\nType: multiselect\nChoices: one, two\\, three\n\nTemplate: a/dynamic\nType: select\nChoices: ${list}\n";
        let control = Control { templates: Some(text.to_owned()), ..Control::default() };
        let package = PackageContents {
            name: "postfix".into(),
            version: "1".into(),
            architecture: "arm64".into(),
            control,
            paths: Vec::new(),
            bytes: 0,
        };
        Templates::of(&[package])
    }

    #[test]
    fn answers_that_fit_become_lines_of_debconf() {
        let templates = templates();
        let line = |question: &str, value: &str| templates.check(question, value).unwrap().line();
        assert_eq!(
            line("postfix/main_mailer_type", "Local only"),
            "postfix postfix/main_mailer_type select Local only\n"
        );
        assert_eq!(line("a/sure", "true"), "postfix a/sure boolean true\n");
        assert_eq!(line("a/many", "one"), "postfix a/many multiselect one\n");
        assert_eq!(line("a/dynamic", "anything"), "postfix a/dynamic select anything\n");
    }

    #[test]
    fn unknown_questions_and_answers_are_told_with_what_was_meant() {
        let templates = templates();
        let flaw = |question: &str, value: &str| templates.check(question, value).unwrap_err();
        let unknown = flaw("postfix/mailnam", "x");
        assert!(unknown.of_question && unknown.candidates.contains(&"postfix/mailname".to_owned()));
        assert!(!unknown.candidates.contains(&"postfix/bad".to_owned()));
        let choice = flaw("postfix/main_mailer_type", "local");
        assert!(choice.message.contains("`Local only`") && !choice.of_question, "{choice:?}");
        assert!(flaw("a/sure", "yes").message.contains("`true`, `false`"));
        assert!(flaw("a/many", "one, four").message.contains("`four`"));
        assert!(flaw("postfix/bad", "x").message.contains("takes no answer"));
        assert!(flaw("postfix/mailname", "a\nb").message.contains("more than one line"));
    }
}
