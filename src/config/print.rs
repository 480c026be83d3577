//! A configuration as the text of a file: what differs from the defaults, so that what is read is what was printed.

use super::{Config, Limits, Service, StoreConfig};

/// The file's text; the data directory as `data` says.
pub fn print(config: &Config, data: &str) -> String {
    let default = Config::new(&config.hostname);
    let mut text = format!("hostname = {}\ndata = {}\n", quoted(&config.hostname), quoted(data));
    let section = |text: &mut String, name: &str, lines: Vec<String>| {
        if !lines.is_empty() {
            text.push_str(&format!("\n[{name}]\n{}\n", lines.join("\n")));
        }
    };
    let mut lines = Vec::new();
    for service in Service::ALL {
        let addresses = config.listen.of(service);
        if addresses != default.listen.of(service) {
            let list: Vec<String> = addresses.iter().map(|address| format!("\"{address}\"")).collect();
            let value = if list.is_empty() { "\"off\"".to_owned() } else { format!("[{}]", list.join(", ")) };
            lines.push(format!("{} = {value}", service.name()));
        }
    }
    section(&mut text, "listen", lines);
    if let Some(tls) = &config.tls {
        let line = |key: &str, path: &std::path::Path| format!("{key} = {}", quoted(&path.to_string_lossy()));
        section(&mut text, "tls", vec![line("certificate", &tls.certificate), line("key", &tls.key)]);
    }

    let Limits { memory_bytes, message_bytes, connections, connections_per_ip } = config.limits;
    let mut lines = Vec::new();
    let size = |lines: &mut Vec<String>, key: &str, bytes: u64, usual: u64| {
        if bytes != usual {
            lines.push(format!("{key} = \"{}\"", exact(bytes)));
        }
    };
    size(&mut lines, "memory", memory_bytes, default.limits.memory_bytes);
    size(&mut lines, "message", message_bytes, default.limits.message_bytes);
    if connections != default.limits.connections {
        lines.push(format!("connections = {connections}"));
    }
    if connections_per_ip != default.limits.connections_per_ip {
        lines.push(format!("connections_per_ip = {connections_per_ip}"));
    }
    section(&mut text, "limits", lines);

    let StoreConfig { segment_bytes, index_cache_bytes, reserve_bytes, gather, endurance_bytes } = config.store;
    let mut lines = Vec::new();
    size(&mut lines, "segment", segment_bytes, default.store.segment_bytes);
    size(&mut lines, "index_cache", index_cache_bytes, default.store.index_cache_bytes);
    size(&mut lines, "reserve", reserve_bytes, default.store.reserve_bytes);
    if gather != default.store.gather {
        lines.push(format!("gather = \"{} ms\"", gather.as_millis()));
    }
    size(&mut lines, "endurance", endurance_bytes, default.store.endurance_bytes);
    section(&mut text, "store", lines);

    if let Some(outbound) = &config.outbound {
        let mut lines = vec![format!("relay = {}", quoted(&outbound.relay))];
        if let Some(file) = &outbound.password_file {
            lines.push(format!("password_file = {}", quoted(&file.to_string_lossy())));
        }
        section(&mut text, "outbound", lines);
    }
    text
}

/// In the largest unit that needs no fraction.
fn exact(bytes: u64) -> String {
    for (unit, shift) in [("GiB", 30), ("MiB", 20), ("KiB", 10)] {
        if bytes != 0 && bytes.trailing_zeros() >= shift {
            return format!("{} {unit}", bytes >> shift);
        }
    }
    format!("{bytes} B")
}

/// A basic string of TOML.
fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

#[cfg(test)]
mod tests {
    use super::super::{Outbound, TlsFiles, profile, read};
    use super::*;
    use std::path::Path;
    use std::time::Duration;

    #[test]
    fn what_is_printed_is_read_again() {
        let mut config = Config::new("mail.example.org");
        config.data = "/data/pigeon".into();
        let check = |config: &Config| {
            let text = print(config, ".");
            assert_eq!(&read(&text, Path::new("/data/pigeon")).unwrap().config, config, "{text}");
        };
        check(&config);
        config.listen.set(Service::Pop3, Vec::new());
        config.listen.set(Service::Smtp, vec!["192.0.2.1:25".parse().unwrap(), "[2001:db8::1]:26".parse().unwrap()]);
        config.tls = Some(TlsFiles { certificate: "/it's \"here\".pem".into(), key: "/a\\b.pem".into() });
        (config.limits, config.store) = profile(4 << 30);
        config.limits.message_bytes = 100_000_000;
        config.limits.connections_per_ip = 3;
        config.store.segment_bytes = 8 << 20;
        config.store.reserve_bytes = 0;
        config.store.gather = Duration::from_millis(7);
        config.store.endurance_bytes = 10_000_000_000_000;
        config.outbound =
            Some(Outbound { relay: "smtps://u@smtp.provider.example:465".into(), password_file: Some("/p".into()) });
        check(&config);
    }
}
