use fruit_image::tree::TreeError;

/// Everything that can stop the making of a root. Each message names the file it is about.
#[derive(thiserror::Error, Debug)]
pub enum Error {
    #[error(transparent)]
    Tree(#[from] TreeError),
    #[error("{path}: {source}")]
    Read { path: String, source: std::io::Error },
    /// A file of a package, an overlay or the recipe that is not as its format says.
    #[error("{path}:{line}: found {found:?}, expected {expected}")]
    Malformed { path: String, line: usize, found: String, expected: String },
    #[error("{path}: {what}")]
    Invalid { path: String, what: String },
    #[error("time zone {zone:?} is not in the tz database{}", did_you_mean(candidates))]
    UnknownTimeZone { zone: String, candidates: Vec<String> },
    #[error("unit {unit:?} does not exist in this root{}", did_you_mean(candidates))]
    UnknownUnit { unit: String, candidates: Vec<String> },
    #[error("kernel module {module:?} does not exist in kernel {release}{}", did_you_mean(candidates))]
    UnknownModule { module: String, release: String, candidates: Vec<String> },
    #[error("there is no set of kernel modules {set:?}{}", did_you_mean(candidates))]
    UnknownModuleSet { set: String, candidates: Vec<String> },
    #[error("{place}: there is no {kind} {name:?}{}", did_you_mean(candidates))]
    UnknownAccount { place: String, kind: &'static str, name: String, candidates: Vec<String> },
    #[error("{place}: {kind} id {id} is taken by {holder:?}, choose another for {name:?}")]
    IdTaken { place: String, kind: &'static str, id: u32, holder: String, name: String },
    #[error("the {kind} ids from {first} to {last} are all taken, none is left for {name:?}")]
    IdsExhausted { kind: &'static str, first: u32, last: u32, name: String },
}

fn did_you_mean(candidates: &[String]) -> String {
    match candidates {
        [] => String::new(),
        some => format!("; did you mean {}?", some.join(", ")),
    }
}

/// At most three of `names` that look like `wanted`, the likeliest first.
pub(crate) fn candidates<'a>(wanted: &str, names: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    let mut scored: Vec<(f64, &str)> = names
        .into_iter()
        .map(|name| {
            let part = if name.contains(wanted) { 0.9 } else { 0.0 };
            (strsim::jaro_winkler(wanted, name).max(part), name)
        })
        .filter(|(score, _)| *score > 0.88)
        .collect();
    scored.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(b.1)));
    scored.dedup_by(|a, b| a.1 == b.1);
    scored.into_iter().take(3).map(|(_, name)| name.to_owned()).collect()
}
