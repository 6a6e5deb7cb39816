//! What the service talks to: the Redis that servers share, the server that is followed, the place for backups elsewhere.

use super::Check;
use crate::config::Config;
use crate::shared_cache::{Facts, ask};
use crate::{follow, offsite};
use reqwest::Url;
use std::path::Path;

/// The shared cache, where one is configured.
pub(super) fn shared_cache(config: &Config) -> Option<Check> {
    let shared = config.shared_cache.as_ref()?;
    let url = Url::parse(&shared.url).ok();
    let is_here = url.as_ref().and_then(Url::host_str).is_some_and(|host| {
        let host = host.trim_matches(['[', ']']);
        host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
    });
    let has_password = url.as_ref().is_some_and(|url| url.password().is_some());
    Some(match ask(shared) {
        Ok(facts) => judge(&facts, is_here || has_password),
        Err(why) => Check::failure(
            "shared cache",
            format!("the Redis of cache.redis_url: {why}"),
            "start it, or mend cache.redis_url (BILIN_CACHE_REDIS_URL) and cache.redis_ca; until then answers are made without it",
        ),
    })
}

/// `is_guarded`: it has a password, or only this machine reaches it.
pub(super) fn judge(facts: &Facts, is_guarded: bool) -> Check {
    let version = facts.version.as_deref().unwrap_or("of a version that it does not tell");
    let policy = facts.policy.as_deref().unwrap_or("unknown");
    let found = match facts.max_bytes {
        Some(0) => format!("Redis {version}, no bound on its memory, {policy}"),
        Some(bytes) => format!("Redis {version}, at most {}, {policy}", super::size(bytes)),
        None => format!("Redis {version}"),
    };
    let advice = match (facts.max_bytes, policy) {
        _ if !is_guarded => {
            "give it a password (requirepass): whoever may write there may answer in the name of this service"
        }
        (Some(0), _) => {
            "set its maxmemory, such as 256mb, and maxmemory-policy allkeys-lru, or it grows until the machine has no more"
        }
        (Some(_), "noeviction") => {
            "set its maxmemory-policy to allkeys-lru: once it is full it takes no new answers, and forgets none"
        }
        _ => return Check::ok("shared cache", found),
    };
    Check::warning("shared cache", found, advice)
}

/// The server, or the folder, that is followed.
pub(super) fn followed(config: &Config) -> Option<Check> {
    let follow = config.follow.as_ref()?;
    Some(match follow::look(follow) {
        Ok(found) => Check::ok("follow", found),
        Err(failure) => {
            let advice = failure.hint().unwrap_or("mend follow.from (BILIN_FOLLOW) or start what it names");
            Check::failure("follow", failure.message(), advice)
        }
    })
}

/// The place for backups beyond this machine, written to and read as when they are sent.
pub(super) fn offsite(config: &Config) -> Option<Check> {
    let url = config.offsite.url.as_deref()?;
    if url.strip_prefix("file://").is_some_and(|folder| !Path::new(folder).exists()) {
        let advice = "mount it before bilin starts, or bilin makes a folder there";
        return Some(Check::warning("backups elsewhere", format!("{url} is not there"), advice));
    }
    Some(match offsite::look(url, config) {
        Ok(()) => Check::ok("backups elsewhere", format!("{url} takes what is sent and gives it back")),
        Err(error) => {
            let advice =
                error.hint.clone().unwrap_or_else(|| "mend backups.remote_url (BILIN_BACKUP_URL)".to_owned());
            Check::failure("backups elsewhere", error.message, advice)
        }
    })
}
