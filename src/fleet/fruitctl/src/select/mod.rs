//! Which nodes a verb is about. All verbs name them in the same way, and offline: by what the records here say.

mod document;
mod filter;

pub use document::{Node, nodes, report, state};
pub use filter::Filter;

use crate::failure::Failure;
use crate::fleet::{Opened, candidates, usage};
use clap::{ArgAction, Args};
use clap_complete::engine::ArgValueCandidates;
use fruit_record::{Body, Class, Key, Labels, Name, Selector};
use globset::{Glob, GlobMatcher};

/// Words with which nodes are named, for help.
pub const WORDS: &str = "labels such as `site=berlin,rack=1` (alternatives with `;`), a name, a pattern of names such as `pi-*`, \
                         an id or 8 digits of its beginning, `@GROUP`, or `all`";

/// What narrows a choice of nodes.
#[derive(Args, Default)]
pub struct Narrow {
    /// Only nodes with these labels; repeatable.
    #[arg(short = 'l', long = "label", value_name = "KEY=VALUE,…", add = ArgValueCandidates::new(candidates::selectors))]
    labels: Vec<Labels>,
    /// Only nodes whose value at this JSON pointer compares so: `/facts/temperature '>' 60`; several must all hold. Pointers are those
    /// of `node list --json`; OP is `=`, `<`, `>` or `glob`; VALUE is JSON, or a text.
    #[arg(long = "filter", num_args = 3, action = ArgAction::Append, value_names = ["POINTER", "OP", "VALUE"], allow_hyphen_values = true)]
    filters: Vec<String>,
}

/// One word of a choice.
enum Word {
    Means(Selector),
    Names(GlobMatcher),
    /// A name, an id, or the beginning of one.
    One(String),
}

impl Word {
    fn read(text: &str, opened: &Opened) -> Result<Word, Failure> {
        if let Some(name) = text.strip_prefix('@') {
            return group(opened, name).map(Word::Means);
        }
        if text == "all" || text.contains('=') {
            let selector = text.parse::<Selector>();
            return selector.map(Word::Means).map_err(|why| usage(why.to_string()));
        }
        if text.contains(['*', '?', '[']) {
            let glob = Glob::new(text).map_err(|why| usage(why.to_string()))?;
            return Ok(Word::Names(glob.compile_matcher()));
        }
        Ok(Word::One(text.to_owned()))
    }

    fn means(&self, node: &Node<'_>) -> bool {
        match self {
            Word::Means(selector) => selector.means(&node.member.labels.of_node(&node.id)),
            Word::Names(glob) => glob.is_match(&node.member.name),
            Word::One(text) => {
                node.member.name == *text || (text.len() >= 8 && node.id.to_string().starts_with(text.as_str()))
            }
        }
    }
}

/// The nodes of a group's record.
fn group(opened: &Opened, name: &str) -> Result<Selector, Failure> {
    let groups = opened.replica.of_class(Class::Group).filter_map(|record| match record.body() {
        Body::Group(group) => Some((record.key(), group)),
        _ => None,
    });
    let is = |key: &Key| matches!(&key.name, Name::Text(text) if text == name);
    let found: Vec<Selector> = groups.filter(|(key, _)| is(key)).map(|(_, group)| group.nodes.clone()).collect();
    let alternatives = found.iter().flat_map(|selector| selector.alternatives().iter().cloned());
    if found.is_empty() {
        return Err(usage(format!("@{name}: there is no such group in the records here")));
    }
    Selector::any(alternatives).map_err(|why| usage(format!("@{name}: {why}")))
}

impl Narrow {
    /// The nodes that any of `words` means, which pass all that narrows. A word that is no selector or pattern must mean a node.
    pub fn choose<'o>(&self, opened: &'o Opened, words: &[String]) -> Result<Vec<Node<'o>>, Failure> {
        let read: Vec<Word> = words.iter().map(|text| Word::read(text, opened)).collect::<Result<_, _>>()?;
        let filters: Vec<Filter> = self.filters.chunks(3).map(Filter::read).collect::<Result<_, _>>()?;
        let all = nodes(opened);
        for (word, text) in read.iter().zip(words) {
            if matches!(word, Word::One(_)) && !all.iter().any(|node| word.means(node)) {
                let message = format!("{text:?} is no node of this fleet; expected {WORDS} (`fruitctl node list`)");
                return Err(usage(message));
            }
        }
        let passes = |node: &Node<'_>| {
            read.iter().any(|word| word.means(node))
                && self.labels.iter().all(|labels| node.member.labels.contain(labels))
                && (filters.is_empty() || {
                    let document = node.document();
                    filters.iter().all(|filter| filter.passes(&document))
                })
        };
        Ok(all.into_iter().filter(passes).collect())
    }
}
