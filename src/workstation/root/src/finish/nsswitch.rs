use crate::edit::TreeEditor;
use crate::{Error, PackageScripts};

/// libc-bin's postinst (the template) and the services that the libnss-* packages put into it. Their postinst, made by
/// dh_installnss, edits the file with sed and says in a comment what it does, which is read here:
/// `# Installing hosts/resolve[!UNAVAIL=return] from libnss-resolve in position before=dns`.
pub(crate) fn apply(root: &mut TreeEditor, packages: &[PackageScripts]) -> Result<(), Error> {
    let Some(mut text) = root.text("usr/share/libc-bin/nsswitch.conf")? else {
        return Ok(()); // a root without glibc's database switch
    };
    for line in packages.iter().filter_map(|p| p.scripts.get("postinst")).flat_map(|script| script.lines()) {
        if let Some(request) = request(line.trim()) {
            text = install(&text, &request);
        }
    }
    root.write("etc/nsswitch.conf", text, 0o644)
}

/// A service to be put into a database's line.
#[derive(Debug, PartialEq, Eq)]
struct Request<'a> {
    database: &'a str,
    service: &'a str,
    /// `[!UNAVAIL=return]`, or nothing.
    action: &'a str,
    /// `first`, `last`, `before=a,b`, `after=a,b`.
    position: &'a str,
}

fn request(comment: &str) -> Option<Request<'_>> {
    let (what, rest) = comment.strip_prefix("# Installing ")?.split_once(" from ")?;
    let position = rest.split_once(" in position ")?.1.trim();
    let (database, service) = what.split_once('/')?;
    let (service, action) = service.split_at(service.find('[').unwrap_or(service.len()));
    Some(Request { database, service: service.trim(), action, position })
}

fn install(text: &str, request: &Request<'_>) -> String {
    let mut out = String::new();
    for line in text.lines() {
        let services = line.split_once(':').filter(|(database, _)| *database == request.database).map(|(_, s)| s);
        match services {
            Some(services) if find(services, request.service).is_none() => {
                out += &format!("{}:{}\n", request.database, place(services, request));
            }
            _ => out += &format!("{line}\n"),
        }
    }
    out
}

/// Start and end of a service's entry in the list, its `[action]` included.
fn find(services: &str, name: &str) -> Option<(usize, usize)> {
    let edge = |c: Option<char>| c.is_none_or(|c| c.is_whitespace() || c == '[');
    let (at, _) = services.match_indices(name).find(|(at, _)| {
        edge(services[..*at].chars().next_back()) && edge(services[at + name.len()..].chars().next())
    })?;
    let end = at + name.len();
    let rest = services[end..].trim_start();
    let skipped = services[end..].len() - rest.len();
    match rest.find(']').filter(|_| rest.starts_with('[')) {
        Some(close) => Some((at, end + skipped + close + 1)),
        None => Some((at, end)),
    }
}

fn place(services: &str, request: &Request<'_>) -> String {
    let entry = match request.action {
        "" => request.service.to_owned(),
        action => format!("{} {action}", request.service),
    };
    let neighbour = |list: &str| list.split(',').find_map(|name| find(services, name));
    let before = request.position.strip_prefix("before=").and_then(neighbour).map(|(start, _)| start);
    let after = request.position.strip_prefix("after=").and_then(neighbour).map(|(_, end)| end);
    let first = (request.position == "first").then(|| services.len() - services.trim_start().len());
    match (before.or(first), after) {
        (Some(start), _) => format!("{}{entry} {}", &services[..start], &services[start..]),
        (None, Some(end)) => format!("{} {entry}{}", &services[..end], &services[end..]),
        _ => format!("{} {entry}", services.trim_end()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn services_take_the_place_that_their_package_gives_them() {
        let text = "passwd:         files\nhosts:          files dns\n";
        let resolve =
            request("# Installing hosts/resolve[!UNAVAIL=return] from libnss-resolve in position before=dns").unwrap();
        let text = install(text, &resolve);
        assert_eq!(text, "passwd:         files\nhosts:          files resolve [!UNAVAIL=return] dns\n");
        let name = request("# Installing hosts/myhostname from libnss-myhostname in position after=files").unwrap();
        let text = install(&text, &name);
        assert_eq!(text, "passwd:         files\nhosts:          files myhostname resolve [!UNAVAIL=return] dns\n");
        assert_eq!(install(&text, &name), text, "what is there is not put in again");
    }
}
