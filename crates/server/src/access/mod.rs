//! Who may do what: keys with roles and scopes, what each route asks for, rates, and the audit log.
//!
//! [`Access`] is the live state behind the HTTP service: the configured key and those of the key file, swapped as a whole
//! when the file or the configuration changes. Invariants: a key file that cannot be trusted never opens anything (the keys
//! read before stay, or the start is refused); secrets are kept as hashes only and compared in constant time; where there is
//! any key, also a revoked one, nobody comes in without one. See `docs/decisions/0105-keys.md`.

mod audit;
mod keys;
mod rate;
mod roles;

pub use audit::{Audit, AuditOptions, Entry};
pub use keys::{Key, KeyError, KeyFile, NewKey, Secret};
pub use roles::{ROUTES, Reach, Role, Route, route};

use rate::Bucket;
use std::collections::{BTreeSet, HashMap};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Key id of the one in the configuration.
const CONFIGURED: &str = "configured";
/// Key id of whoever comes where no key is asked for.
const NOBODY: &str = "-";

/// What a service is opened to, and how much.
#[derive(Clone, Debug, Default)]
pub struct AccessOptions {
    /// A key for everything, from the configuration.
    pub api_key: Option<String>,
    /// The data folder, whose key file counts; `None`: no key file.
    pub keys_in: Option<PathBuf>,
    /// Requests in a second that each key may make where the key does not say; 0 is no bound.
    pub rate_per_s: u32,
    /// Requests that may come at once beyond that; 0 is as many as come in a second.
    pub rate_burst: u32,
    /// Origins whose pages may call the API; empty: CORS is off.
    pub allowed_origins: Vec<String>,
    /// Where writes and admin calls are written down; `None`: nowhere.
    pub audit: Option<AuditOptions>,
}

/// Who makes a request, as far as it was found out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// Id of the key.
    pub id: Arc<str>,
    /// What it may do.
    pub role: Role,
    /// The collections it may do that to; `None`: all.
    pub scope: Option<Arc<BTreeSet<String>>>,
}

impl Caller {
    /// Where nobody is asked for a key.
    pub(crate) fn nobody() -> Caller {
        Caller { id: NOBODY.into(), role: Role::Admin, scope: None }
    }

    /// Whether a collection is within its scope.
    pub fn may_use(&self, collection: &str) -> bool {
        self.scope.as_ref().is_none_or(|scope| scope.contains(collection))
    }
}

/// Why a credential does not open the door.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// None came, or one that is not known.
    Unknown,
    /// It was good until then (seconds since 1970).
    Expired(u64),
    /// It was taken back.
    Revoked,
    /// Too many requests; good again after this time.
    TooMany(Duration),
}

/// What changes together when keys change.
struct Ring {
    configured: Option<blake3::Hash>,
    keys: Vec<Held>,
}

struct Held {
    key: Key,
    caller: Caller,
}

/// The live state.
pub struct Access {
    file: Option<KeyFile>,
    ring: RwLock<Arc<Ring>>,
    rates: RwLock<(u32, u32)>,
    origins: RwLock<Arc<BTreeSet<String>>>,
    /// By key id; what was spent stays spent when keys are read anew.
    buckets: Mutex<HashMap<Arc<str>, Bucket>>,
    audit: Option<Audit>,
}

impl Default for Access {
    /// Open to whoever comes.
    fn default() -> Access {
        Access {
            file: None,
            ring: RwLock::new(Arc::new(Ring::new(None, Vec::new()))),
            rates: RwLock::default(),
            origins: RwLock::default(),
            buckets: Mutex::default(),
            audit: None,
        }
    }
}

impl Access {
    /// Reads the keys.
    ///
    /// # Errors
    /// A key file that is there and cannot be trusted.
    pub fn open(options: AccessOptions) -> Result<Access, KeyError> {
        let file = options.keys_in.as_deref().map(KeyFile::of);
        let keys = file.as_ref().map(KeyFile::read).transpose()?.unwrap_or_default();
        Ok(Access {
            ring: RwLock::new(Arc::new(Ring::new(options.api_key.as_deref(), keys))),
            file,
            rates: RwLock::new((options.rate_per_s, options.rate_burst)),
            origins: RwLock::new(Arc::new(options.allowed_origins.into_iter().collect())),
            buckets: Mutex::default(),
            audit: options.audit.map(Audit::new),
        })
    }

    /// Whether a key is asked for.
    pub fn asks(&self) -> bool {
        let ring = self.ring();
        ring.configured.is_some() || !ring.keys.is_empty()
    }

    /// Who brings this credential.
    ///
    /// # Errors
    /// Why it does not open the door; `None` in `credential` is [`Refusal::Unknown`] where a key is asked for.
    pub fn admit(&self, credential: Option<&[u8]>) -> Result<Caller, Refusal> {
        let ring = self.ring();
        if ring.configured.is_none() && ring.keys.is_empty() {
            return Ok(Caller::nobody());
        }
        let hash = blake3::hash(credential.ok_or(Refusal::Unknown)?);
        // Hashes are compared in constant time, and all of them, so that the time tells nothing of where a fit stands.
        let mut fit = None;
        for held in &ring.keys {
            if held.key.hash == hash {
                fit = Some(held);
            }
        }
        if ring.configured == Some(hash) {
            let caller = Caller { id: CONFIGURED.into(), role: Role::Admin, scope: None };
            return self.spend(caller, None);
        }
        let held = fit.ok_or(Refusal::Unknown)?;
        if held.key.revoked_unix_s.is_some() {
            return Err(Refusal::Revoked);
        }
        if let Some(end) = held.key.expires_unix_s.filter(|end| *end <= now_unix_s()) {
            return Err(Refusal::Expired(end));
        }
        self.spend(held.caller.clone(), held.key.rate_per_s)
    }

    fn spend(&self, caller: Caller, own_rate: Option<u32>) -> Result<Caller, Refusal> {
        let (rate, burst) = *self.rates.read().unwrap_or_else(PoisonError::into_inner);
        let (rate, burst) = match own_rate {
            Some(own) => (own, 0),
            None => (rate, burst),
        };
        if rate == 0 {
            return Ok(caller);
        }
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        let bucket = buckets.entry(Arc::clone(&caller.id)).or_default();
        bucket.take(rate, burst).map_err(Refusal::TooMany)?;
        Ok(caller)
    }

    /// Whether pages of this origin may call the API.
    pub fn allows_origin(&self, origin: &str) -> bool {
        self.origins.read().unwrap_or_else(PoisonError::into_inner).contains(origin)
    }

    /// Where writes and admin calls are written down.
    pub fn audit(&self) -> Option<&Audit> {
        self.audit.as_ref()
    }

    /// Reads the key file anew when it was changed since; `force`: in any case. What cannot be trusted changes nothing.
    /// Whether the keys are other ones now.
    ///
    /// # Errors
    /// A key file that cannot be trusted, once for each of its states.
    pub fn refresh(&self, force: bool) -> Result<bool, KeyError> {
        let Some(file) = &self.file else { return Ok(false) };
        let Some(keys) = file.read_changed(force)? else { return Ok(false) };
        let before = self.ring();
        let is_same = before.keys.iter().map(|held| &held.key).eq(keys.iter());
        let ring = Ring { configured: before.configured, keys: held(keys) };
        *self.ring.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(ring);
        Ok(!is_same)
    }

    /// Takes over what may change while the service runs: the configured key, rates, origins.
    pub fn reconfigure(&self, options: &AccessOptions) {
        let keys = self.ring().keys.iter().map(|held| held.key.clone()).collect();
        let ring = Ring::new(options.api_key.as_deref(), keys);
        *self.ring.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(ring);
        *self.rates.write().unwrap_or_else(PoisonError::into_inner) =
            (options.rate_per_s, options.rate_burst);
        let origins = options.allowed_origins.iter().cloned().collect();
        *self.origins.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(origins);
    }

    fn ring(&self) -> Arc<Ring> {
        Arc::clone(&self.ring.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Ring {
    fn new(configured: Option<&str>, keys: Vec<Key>) -> Ring {
        Ring { configured: configured.map(|key| blake3::hash(key.as_bytes())), keys: held(keys) }
    }
}

fn held(keys: Vec<Key>) -> Vec<Held> {
    let hold = |key: Key| {
        let scope = key.collections.as_ref().map(|names| Arc::new(names.iter().cloned().collect()));
        Held { caller: Caller { id: key.id.as_str().into(), role: key.role, scope }, key }
    };
    keys.into_iter().map(hold).collect()
}

/// Seconds since 1970.
pub(crate) fn now_unix_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn access(folder: &std::path::Path, api_key: Option<&str>) -> Access {
        Access::open(AccessOptions {
            api_key: api_key.map(str::to_owned),
            keys_in: Some(folder.to_path_buf()),
            ..AccessOptions::default()
        })
        .unwrap()
    }

    fn new(name: &str) -> NewKey {
        NewKey {
            name: name.to_owned(),
            role: Role::Read,
            collections: None,
            expires_unix_s: None,
            rate_per_s: None,
        }
    }

    #[test]
    fn keys_come_go_and_end_while_the_service_runs() {
        let folder = tempfile::tempdir().unwrap();
        let access = access(folder.path(), None);
        assert!(!access.asks());
        assert_eq!(access.admit(None).unwrap().role, Role::Admin);
        let file = KeyFile::of(folder.path());
        let first = file.create(new("a")).unwrap();
        let second = file.create(new("a2")).unwrap();
        let ended = file.create(NewKey { expires_unix_s: Some(1), ..new("old") }).unwrap();
        assert!(access.refresh(false).unwrap() && access.asks());
        assert_eq!(access.admit(None), Err(Refusal::Unknown));
        assert_eq!(access.admit(Some(b"bilin_nothing")), Err(Refusal::Unknown));
        assert_eq!(access.admit(Some(ended.secret.as_bytes())), Err(Refusal::Expired(1)));
        for good in [&first, &second] {
            assert_eq!(
                *access.admit(Some(good.secret.as_bytes())).unwrap().id,
                good.key.id,
                "two are good at once"
            );
        }
        file.revoke(&first.key.id).unwrap();
        assert!(access.refresh(false).unwrap());
        assert_eq!(access.admit(Some(first.secret.as_bytes())), Err(Refusal::Revoked));
        access.admit(Some(second.secret.as_bytes())).unwrap();
        file.revoke("a2").unwrap();
        file.revoke("old").unwrap();
        access.refresh(false).unwrap();
        assert!(access.asks(), "taking the last key back opens nothing");
        assert!(!access.refresh(true).unwrap(), "nothing new");
    }

    #[test]
    fn a_damaged_or_lost_file_changes_nothing_and_is_told_once() {
        let folder = tempfile::tempdir().unwrap();
        let file = KeyFile::of(folder.path());
        let made = file.create(new("a")).unwrap();
        let access = access(folder.path(), None);
        let path = folder.path().join("keys.json");
        let whole = std::fs::read(&path).unwrap();
        let text = String::from_utf8(whole.clone()).unwrap();
        for damaged in [
            text.replace("\"read\"", "\"admin\""),
            text.replace("\"version\": 1", "\"version\": 2"),
            text[..40].to_owned(),
        ] {
            assert_ne!(damaged, text);
            std::fs::write(&path, damaged).unwrap();
            assert!(access.refresh(false).is_err());
            assert!(!access.refresh(false).unwrap(), "told once");
            assert_eq!(access.admit(Some(made.secret.as_bytes())).unwrap().role, Role::Read);
            let options = AccessOptions { keys_in: Some(folder.path().into()), ..AccessOptions::default() };
            assert!(Access::open(options).is_err(), "a start is refused");
            assert!(
                file.create(new("b")).is_err() && file.revoke("a").is_err(),
                "and nothing written over it"
            );
        }
        std::fs::remove_file(&path).unwrap();
        assert!(access.refresh(false).is_err());
        assert_eq!(access.admit(None), Err(Refusal::Unknown), "a lost file opens nothing");
        std::fs::write(&path, whole).unwrap();
        assert!(!access.refresh(false).unwrap(), "back as it was");
    }

    #[test]
    fn each_key_has_its_own_rate_which_reading_anew_does_not_refill() {
        let folder = tempfile::tempdir().unwrap();
        let file = KeyFile::of(folder.path());
        let slow = file.create(NewKey { rate_per_s: Some(1), ..new("slow") }).unwrap();
        let free = file.create(new("free")).unwrap();
        let access = access(folder.path(), Some("configured one"));
        access.admit(Some(slow.secret.as_bytes())).unwrap();
        access.refresh(true).unwrap();
        let Err(Refusal::TooMany(wait)) = access.admit(Some(slow.secret.as_bytes())) else {
            panic!("no bound")
        };
        assert!(wait <= Duration::from_secs(1) && wait > Duration::from_millis(500), "{wait:?}");
        for _ in 0..100 {
            access.admit(Some(free.secret.as_bytes())).unwrap();
            access.admit(Some(b"configured one")).unwrap();
        }
        access.reconfigure(&AccessOptions { rate_per_s: 1, rate_burst: 3, ..AccessOptions::default() });
        let let_in = (0..10).filter(|_| access.admit(Some(free.secret.as_bytes())).is_ok()).count();
        assert_eq!(let_in, 3);
        assert_eq!(access.admit(Some(b"configured one")), Err(Refusal::Unknown), "it is configured no more");
    }
}
