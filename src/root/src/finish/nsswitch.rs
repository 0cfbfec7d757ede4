use crate::Error;
use crate::edit::{Root, names};

/// libc-bin's postinst (the template) and the lines that the libnss-* packages put into it (dh_installnss): each
/// service with its position, when its module is installed.
pub(crate) fn apply(root: &mut Root) -> Result<(), Error> {
    let Some(template) = root.text("usr/share/libc-bin/nsswitch.conf")? else {
        return Ok(()); // a root without glibc's database switch
    };
    let libraries: Vec<String> = names(root.tree, "usr/lib")
        .into_iter()
        .filter(|name| name.ends_with("-linux-gnu") || name.contains("-linux-gnueabi"))
        .flat_map(|dir| names(root.tree, &format!("usr/lib/{dir}")))
        .collect();
    let has = |module: &str| libraries.iter().any(|name| name == &format!("libnss_{module}.so.2"));
    let mut text = String::new();
    for line in template.lines() {
        let Some((database, services)) = line.split_once(':').filter(|_| !line.starts_with('#')) else {
            text += &format!("{line}\n");
            continue;
        };
        // The blanks of the template are kept: the packages edit with sed.
        let mut services = services.to_owned();
        for (module, databases, service, place) in SERVICES {
            if has(module) && databases.contains(&database) {
                services = insert(&services, service, place);
            }
        }
        text += &format!("{database}:{}\n", services.trim_end());
    }
    root.write("etc/nsswitch.conf", text, 0o644)
}

enum Place {
    Before(&'static str),
    After(&'static str),
    Last,
}

/// debian/*.nss of the packages: module, databases, entry, position.
const SERVICES: &[(&str, &[&str], &str, Place)] = &[
    ("resolve", &["hosts"], "resolve [!UNAVAIL=return]", Place::Before("dns")),
    ("mymachines", &["hosts"], "mymachines", Place::After("files")),
    ("mdns4_minimal", &["hosts"], "mdns4_minimal [NOTFOUND=return]", Place::Before("dns")),
    ("myhostname", &["hosts"], "myhostname", Place::Last),
    ("systemd", &["passwd", "group", "shadow", "gshadow"], "systemd", Place::Last),
];

fn insert(services: &str, entry: &str, place: &Place) -> String {
    let word = |name: &str| {
        services.match_indices(name).find(|(at, _)| {
            let edge = |c: Option<char>| c.is_none_or(char::is_whitespace);
            edge(services[..*at].chars().next_back()) && edge(services[at + name.len()..].chars().next())
        })
    };
    match place {
        Place::Before(name) => match word(name) {
            Some((at, _)) => format!("{}{entry} {}", &services[..at], &services[at..]),
            None => format!("{} {entry}", services.trim_end()),
        },
        Place::After(name) => match word(name) {
            Some((at, name)) => {
                let end = at + name.len();
                format!("{} {entry}{}", &services[..end], &services[end..])
            }
            None => format!("{} {entry}", services.trim_end()),
        },
        Place::Last => format!("{} {entry}", services.trim_end()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn services_take_the_place_that_their_package_gives_them() {
        let with_resolve = insert("          files dns", "resolve [!UNAVAIL=return]", &Place::Before("dns"));
        assert_eq!(with_resolve, "          files resolve [!UNAVAIL=return] dns");
        assert_eq!(insert(&with_resolve, "myhostname", &Place::Last), format!("{with_resolve} myhostname"));
        assert_eq!(insert(" files dns", "mymachines", &Place::After("files")), " files mymachines dns");
    }
}
