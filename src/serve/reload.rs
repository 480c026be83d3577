//! SIGHUP: the certificate and the configuration are read again. What can change does, for new connections; what needs
//! a restart is named in the log; a file with problems changes nothing but a renewed certificate.

use super::hostname::settle_hostname;
use super::listeners::Listeners;
use super::server::Server;
use super::tls_source;
use crate::config::{Config, StoreConfig, read};
use std::path::Path;
use std::sync::Arc;

/// Reads `file` again, if the configuration came from one, and takes over what it can.
pub(super) async fn reload(server: &Arc<Server>, listeners: &mut Listeners, file: Option<&Path>) {
    let old = server.config();
    let new = match file {
        Some(file) => read_again(file).unwrap_or_else(|| Config::clone(&old)),
        None => Config::clone(&old),
    };
    for key in needs_restart(&old, &new) {
        log::warn!("changed, and takes effect at the next start key={key}");
    }
    let new = in_force(&old, new);

    let (source, tls, now_s) = (tls_source(&new), server.tls.clone(), server.world.clock.unix_s());
    match server.world.workers.run(move || tls.reload(source, now_s)).await {
        Some(Ok(())) => log::info!("certificate loaded"),
        Some(Err(error)) => log::error!("the certificate stays as it was: {error}"),
        None => log::error!("the certificate stays as it was"),
    }
    for wrong in listeners.change(server, &new).await {
        log::error!("{wrong}");
    }
    server.set_listening(listeners.served());
    server.world.store.keep_free(new.store.reserve_bytes);
    server.set_config(new);
    log::info!("configuration loaded");
}

/// `None`, with every problem logged, when it cannot be used.
fn read_again(file: &Path) -> Option<Config> {
    let text = match std::fs::read_to_string(file) {
        Ok(text) => text,
        Err(error) => {
            log::error!("the configuration stays as it was: cannot read {}: {error}", file.display());
            return None;
        }
    };
    match read(&text, file.parent().unwrap_or(Path::new("."))) {
        Ok(mut parsed) => {
            settle_hostname(&mut parsed.config);
            Some(parsed.config)
        }
        Err(problems) => {
            for problem in problems {
                let line = problem.line(&text).map_or_else(String::new, |line| format!(" line={line}"));
                log::error!("the configuration stays as it was: {}{line}", problem.message);
            }
            None
        }
    }
}

/// The keys that only a start reads.
fn needs_restart(old: &Config, new: &Config) -> Vec<&'static str> {
    let (before, after) = (&old.store, &new.store);
    let changed = [
        ("data", old.data != new.data),
        ("limits.memory", old.limits.memory_bytes != new.limits.memory_bytes),
        ("store.segment", before.segment_bytes != after.segment_bytes),
        ("store.index_cache", before.index_cache_bytes != after.index_cache_bytes),
        ("store.gather", before.gather != after.gather),
        ("store.endurance", before.endurance_bytes != after.endurance_bytes),
    ];
    changed.into_iter().filter(|(_, is_changed)| *is_changed).map(|(key, _)| key).collect()
}

/// `new`, with what needs a restart as it is.
fn in_force(old: &Config, mut new: Config) -> Config {
    new.data = old.data.clone();
    new.limits.memory_bytes = old.limits.memory_bytes;
    new.store = StoreConfig { reserve_bytes: new.store.reserve_bytes, ..old.store.clone() };
    new
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_needs_a_restart_is_named_and_stays() {
        let old = Config::new("a.example.org");
        let mut new = Config::new("b.example.org");
        new.data = "/elsewhere".into();
        new.limits.memory_bytes *= 2;
        new.limits.connections = 7;
        assert_eq!(needs_restart(&old, &new), ["data", "limits.memory"]);
        let now = in_force(&old, new);
        assert_eq!((now.hostname.as_str(), now.limits.connections), ("b.example.org", 7));
        assert_eq!((now.data, now.limits.memory_bytes), (old.data, old.limits.memory_bytes));
    }
}
