//! The machine's own name: with its domain for `hostname = "auto"`, so that a package can bring a configuration that nobody
//! must edit before the first start; and as NAME.local, by which phones at home find it whatever `hostname` says.

use crate::config::{Config, HOSTNAME_AUTO, is_host_name};

/// Where a machine says which domain it is in (hosts(5)).
const HOSTS: &str = "/etc/hosts";

/// Puts the machine's name where the configuration says `auto`.
pub fn settle_hostname(config: &mut Config) {
    if config.hostname == HOSTNAME_AUTO {
        let system = rustix::system::uname();
        let hosts = std::fs::read_to_string(HOSTS).unwrap_or_default();
        config.hostname = full_name(&system.nodename().to_string_lossy(), &hosts);
    }
}

/// The machine's names in a house full of machines of one name: responders count up.
const NAMESAKES_MAX: u32 = 9;
/// Octets of a label that a responder leaves where it appends a number.
const NUMBERED_BYTES_MAX: usize = 61;

/// NAME.local (RFC 6762), which `pigeon board mdns` or the system's own responder answers for, and NAME-2.local to NAME-9.local,
/// of which either takes the first that no other machine has; none for a machine without a name.
pub(super) fn names_in_the_house() -> Vec<String> {
    local_names(&rustix::system::uname().nodename().to_string_lossy())
}

fn local_names(name: &str) -> Vec<String> {
    let label = name.split('.').next().unwrap_or_default().to_ascii_lowercase();
    let begin = label.get(..NUMBERED_BYTES_MAX).unwrap_or(&label);
    let numbered = (2..=NAMESAKES_MAX).map(|number| format!("{begin}-{number}.local"));
    let found = std::iter::once(format!("{label}.local")).chain(numbered);
    found.filter(|found| label != "localhost" && is_host_name(found)).collect()
}

/// The machine's name with its domain: as it is, or the name that stands first beside it among its addresses (as
/// `hostname -f` finds it).
fn full_name(name: &str, hosts: &str) -> String {
    let full = || {
        hosts.lines().find_map(|line| {
            let mut names = line.split('#').next().unwrap_or_default().split_ascii_whitespace().skip(1);
            let first = names.next().filter(|first| first.contains('.'))?;
            names.any(|other| other == name).then(|| first.to_owned())
        })
    };
    let found = if name.contains('.') { name.to_owned() } else { full().unwrap_or_else(|| name.to_owned()) };
    if is_host_name(&found) { found.to_ascii_lowercase() } else { "localhost".to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machines_name_comes_with_its_domain_where_it_is_known() {
        let debian =
            "127.0.0.1\tlocalhost\n127.0.1.1\tPost.Example.org post # by the installer\n::1 localhost ip6-localhost\n";
        for (name, hosts, expected, why) in [
            ("post", debian, "post.example.org", "as Debian's installer writes it"),
            ("mail.example.net", debian, "mail.example.net", "it is whole already"),
            ("box", debian, "box", "no domain is known; `pigeon check` warns"),
            ("box", "192.0.2.1 a.example # box\n", "box", "in a comment"),
            ("box", "192.0.2.1 box box.example\n", "box", "the first name is the one that counts"),
            ("my_box", "", "localhost", "no name that another server would take"),
            ("", "", "localhost", "no name at all"),
        ] {
            assert_eq!(full_name(name, hosts), expected, "{why}");
        }
    }

    #[test]
    fn in_the_house_a_machine_is_called_by_its_first_label() {
        for (name, label, why) in [
            ("pigeon", "pigeon", "as an image names it"),
            ("Post.Example.org", "post", "responders answer for the first label"),
            ("pigeon.local", "pigeon", "not twice"),
        ] {
            let names = local_names(name);
            assert_eq!(names[..2], [format!("{label}.local"), format!("{label}-2.local")], "{why}");
            assert_eq!((names.len(), &names[8]), (9, &format!("{label}-9.local")), "{why}");
        }
        let longest = "p".repeat(63);
        assert_eq!(local_names(&longest)[1], format!("{}-2.local", "p".repeat(61)), "as a responder makes room");
        for (name, why) in [
            ("localhost", "every machine is that to itself"),
            ("(none)", "the kernel's, before anybody named it"),
            ("my_box", "no name that a certificate may have"),
            ("", "no name at all"),
        ] {
            assert_eq!(local_names(name), [""; 0], "{why}");
        }
    }

    #[test]
    fn only_auto_is_replaced() {
        let mut config = Config::new("mail.example.org");
        settle_hostname(&mut config);
        assert_eq!(config.hostname, "mail.example.org");
        config.hostname = HOSTNAME_AUTO.to_owned();
        settle_hostname(&mut config);
        assert_ne!(config.hostname, HOSTNAME_AUTO);
    }
}
