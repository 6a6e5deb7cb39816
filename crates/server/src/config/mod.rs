//! Configuration: every setting in one table, each value with where it came from.
//!
//! Precedence: flag > `BILIN_*` variable > `bilin.toml` > default. A key or variable that nobody reads is an error that
//! names the nearest one: a mistyped `BILIN_API_KEI` must not leave a service open. Values travel as text until
//! [`Config::read`] checks them all, so that an error can always quote the value and its origin.

mod faces;
mod file;
mod keys;
mod service;

pub use keys::{KEYS, Key, LIVE};
pub use service::ServiceConfig;

use crate::access::AccessOptions;
use crate::cli::Failure;
use crate::follow::FollowConfig;
use crate::http::{AdmissionOptions, ConnectionBounds};
use crate::shared_cache::SharedCacheConfig;
use crate::terminal::PictureWish;
use crate::urls::UrlConfig;
use bilin_engine::{
    DocumentLimits, EngineConfig, Fusion, LongQueries, RerankConfig, UpkeepPolicy, WatchTiming,
};
use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

/// The file that is read from the working folder when none is named.
pub const DEFAULT_FILE: &str = "bilin.toml";
/// Most candidates of each ranking.
const MAX_CANDIDATES: usize = 10_000;

/// Most candidates for reranking: as many as there may be results.
const MAX_RERANK_CANDIDATES: usize = 1_000;

/// Where a value came from, weakest first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Built in.
    Default,
    /// A key of a configuration file.
    File(PathBuf),
    /// An environment variable.
    Variable(&'static str),
    /// A flag of the command line.
    Flag(&'static str),
}

impl fmt::Display for Origin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Default => formatter.write_str("default"),
            Origin::File(path) => write!(formatter, "{}", path.display()),
            Origin::Variable(name) => write!(formatter, "environment {name}"),
            Origin::Flag(flag) => write!(formatter, "flag {flag}"),
        }
    }
}

/// One setting as resolved; `None` when it is unset.
#[derive(Clone, Debug)]
pub struct Setting {
    /// What it is.
    pub key: &'static Key,
    /// Its text, before it is checked.
    pub value: Option<String>,
    /// Where it came from.
    pub origin: Origin,
}

/// A flag that was given: key name, value, flag as typed.
pub type Flag = (&'static str, String, &'static str);

/// Every setting, checked.
#[derive(Clone, Debug)]
pub struct Config {
    /// What the engine gets, data folder included.
    pub engine: EngineConfig,
    /// Address to serve on.
    pub listen: SocketAddr,
    /// Who may come in, and how much.
    pub access: AccessOptions,
    /// How the service ends, and what it tells of requests.
    pub service: ServiceConfig,
    /// What is followed; `None`: this server takes changes itself.
    pub follow: Option<FollowConfig>,
    /// Collection that `/text-search` means.
    pub text_collection: Option<String>,
    /// Collection that `/image-search` means.
    pub image_collection: Option<String>,
    /// What a connection may cost.
    pub connections: ConnectionBounds,
    /// What is aimed at when many ask.
    pub admission: AdmissionOptions,
    /// A cache that several servers share.
    pub shared_cache: Option<SharedCacheConfig>,
    /// Longest request body, bytes.
    pub max_body_bytes: usize,
    /// How long a request may take, milliseconds.
    pub request_timeout_ms: u64,
    /// Requests worked on at one time.
    pub max_concurrent_requests: usize,
    /// Address to pull models from in place of huggingface.co.
    pub models_endpoint: Option<String>,
    /// Backups beyond this machine.
    pub offsite: OffsiteConfig,
    /// Folders to watch, by collection.
    pub sources: BTreeMap<String, Vec<PathBuf>>,
    /// How folders are watched.
    pub watch_timing: WatchTiming,
    /// Library of ONNX Runtime.
    pub onnxruntime: Option<PathBuf>,
    /// How pictures are shown on a terminal.
    pub terminal_pictures: PictureWish,
    /// Fetching from the web; `None` = not at all.
    pub urls: Option<UrlConfig>,
    /// Log filter; `None` lets the command choose.
    pub log: Option<String>,
    /// All of the above as text, with origins, in the order of [`KEYS`].
    pub settings: Vec<Setting>,
}

/// The place for backups beyond this machine.
#[derive(Clone, Default)]
pub struct OffsiteConfig {
    /// `s3://bucket/prefix` or `file:///folder`; `None` = there is none.
    pub url: Option<String>,
    /// Address of an S3 service other than Amazon's.
    pub endpoint: Option<String>,
    /// Region of the bucket.
    pub region: Option<String>,
    /// Id of the key.
    pub access_key: Option<String>,
    /// The key itself.
    pub secret_key: Option<String>,
}

impl OffsiteConfig {
    fn read(read: &Reader<'_>) -> Result<OffsiteConfig, Failure> {
        let (access_key, secret_key) =
            (read.text("backups.s3_access_key"), read.text("backups.s3_secret_key"));
        if access_key.is_some() != secret_key.is_some() {
            return Err(Failure::mendable(
                "one of backups.s3_access_key and backups.s3_secret_key is set alone",
            )
            .with_hint("set both, or neither and use the AWS_* variables"));
        }
        Ok(OffsiteConfig {
            url: read.text("backups.remote_url"),
            endpoint: read.text("backups.s3_endpoint"),
            region: read.text("backups.s3_region"),
            access_key,
            secret_key,
        })
    }
}

impl fmt::Debug for OffsiteConfig {
    /// Without the keys.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("OffsiteConfig")
            .field("url", &self.url)
            .field("endpoint", &self.endpoint)
            .finish()
    }
}

impl Config {
    /// Resolves flags, environment and file (`file`, else `BILIN_CONFIG`, else `./bilin.toml` where it exists).
    ///
    /// # Errors
    /// An unknown key or variable, a file that cannot be read, or a value that does not fit its key.
    pub fn read(file: Option<&Path>, flags: &[Flag]) -> Result<Config, Failure> {
        let variables: Vec<(String, String)> = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value)))
            .filter(|(name, _)| name.starts_with("BILIN_"))
            .map(|(name, value)| (name, value.to_string_lossy().into_owned()))
            .collect();
        let named = file.map(Path::to_path_buf).or_else(|| {
            variables.iter().find(|(name, _)| name == "BILIN_CONFIG").map(|(_, value)| PathBuf::from(value))
        });
        let from_file = match named {
            Some(path) => file::read(&path)?,
            None if Path::new(DEFAULT_FILE).exists() => file::read(Path::new(DEFAULT_FILE))?,
            None => Vec::new(),
        };
        let settings = resolve(from_file, &variables, flags)?;
        Config::from_settings(settings)
    }

    /// The defaults alone.
    ///
    /// # Errors
    /// None in practice: the tests read them.
    pub fn defaults() -> Result<Config, Failure> {
        Config::from_settings(resolve(Vec::new(), &[], &[])?)
    }

    fn from_settings(settings: Vec<Setting>) -> Result<Config, Failure> {
        let read = Reader { settings: &settings };
        let mut engine = EngineConfig::new(read.text("data").unwrap_or_else(|| "./bilin-data".to_owned()));
        engine.threads = read.parsed("threads", "a whole number; 0 for one per CPU")?;
        engine.max_file_bytes = read.parsed("limits.file_bytes", "a number of bytes")?;
        engine.headings = read.parsed("passages.headings", "true or false")?;
        engine.sentences = read.parsed("passages.sentences", "true or false")?;
        engine.max_passage_tokens = read.positive("passages.max_tokens")?;
        engine.overlap_tokens = read.parsed("passages.overlap_tokens", "a number of tokens")?;
        engine.document_limits = read.document_limits()?;
        engine.picture_limits.max_bytes = read.parsed("limits.picture_bytes", "a number of bytes")?;
        engine.max_query_chars = read.positive("limits.query_chars")?;
        engine.min_query_letters =
            read.parsed("limits.query_min_letters", "a whole number; 0 for no bound")?;
        engine.long_queries = match read.text("limits.long_queries").as_deref() {
            Some("truncate") | None => LongQueries::Truncate,
            Some("refuse") => LongQueries::Refuse,
            Some(_) => return Err(read.refuse("limits.long_queries", "truncate or refuse")),
        };
        engine.target_recall = read.parsed("target_recall", "a number above 0, at most 1")?;
        if !(engine.target_recall > 0.0 && engine.target_recall <= 1.0) {
            return Err(read.refuse("target_recall", "a number above 0, at most 1"));
        }
        if read.text("index_memory_bytes").is_some() {
            engine.index_memory_bytes = Some(read.positive("index_memory_bytes")? as u64);
        }
        engine.upkeep = read.upkeep()?;
        read.search(&mut engine)?;
        if let Some(model) = read.text("models.text") {
            engine.default_text_model = bilin_engine::resolve_model(&engine.data, &model);
        }
        if let Some(model) = read.text("models.image") {
            engine.default_image_model = bilin_engine::resolve_model(&engine.data, &model);
        }
        engine.rerank = read.rerank(&engine.data)?;
        let access = read.access(&engine.data)?;
        engine.cache = read.cache()?;
        let config = Config {
            engine,
            listen: read.parsed("serve.listen", "an address and a port, such as 127.0.0.1:8000")?,
            access,
            service: read.service()?,
            follow: read.follow()?,
            text_collection: read.text("serve.text_collection"),
            image_collection: read.text("serve.image_collection"),
            shared_cache: read.shared_cache()?,
            admission: read.admission()?,
            connections: read.connections()?,
            max_body_bytes: read.positive("serve.max_body_bytes")?,
            request_timeout_ms: read.positive("serve.request_timeout_ms")? as u64,
            max_concurrent_requests: read.positive("serve.max_concurrent_requests")?,
            models_endpoint: read.text("models.endpoint"),
            offsite: OffsiteConfig::read(&read)?,
            sources: read.sources()?,
            watch_timing: read.watch_timing()?,
            onnxruntime: read.text("models.onnxruntime").map(PathBuf::from),
            terminal_pictures: read.terminal_pictures()?,
            urls: read.urls()?,
            log: read.text("log"),
            settings: Vec::new(),
        };
        Ok(Config { settings, ..config })
    }
}

/// Lays file, environment and flags over the defaults.
fn resolve(
    from_file: Vec<(String, String, PathBuf)>,
    variables: &[(String, String)],
    flags: &[Flag],
) -> Result<Vec<Setting>, Failure> {
    let mut settings: Vec<Setting> = KEYS
        .iter()
        .map(|key| Setting { key, value: key.default.map(str::to_owned), origin: Origin::Default })
        .collect();
    for (name, value, path) in from_file {
        let place = format!("in {:?}", path.display().to_string());
        let Some(setting) = settings.iter_mut().find(|setting| setting.key.name == name) else {
            return Err(unknown("configuration key", &name, &place, KEYS.iter().map(|key| key.name)));
        };
        setting.value = Some(value);
        setting.origin = Origin::File(path);
    }
    for (name, value) in variables {
        if name == "BILIN_CONFIG" {
            continue;
        }
        let Some(setting) = settings.iter_mut().find(|setting| setting.key.variable == name) else {
            let known = KEYS.iter().map(|key| key.variable).chain(["BILIN_CONFIG"]);
            return Err(unknown("variable", name, "in the environment", known));
        };
        setting.value = Some(value.clone());
        setting.origin = Origin::Variable(setting.key.variable);
    }
    for (name, value, flag) in flags {
        if let Some(setting) = settings.iter_mut().find(|setting| setting.key.name == *name) {
            setting.value = Some(value.clone());
            setting.origin = Origin::Flag(flag);
        }
    }
    for setting in &mut settings {
        // An empty value means unset: `BILIN_API_KEY=` must not become an empty key.
        if setting.value.as_deref().is_some_and(|value| value.trim().is_empty()) {
            setting.value = setting.key.default.map(str::to_owned);
            setting.origin = Origin::Default;
        }
    }
    Ok(settings)
}

fn unknown<'a>(what: &str, name: &str, place: &str, known: impl Iterator<Item = &'a str> + Clone) -> Failure {
    let failure = Failure::mendable(format!("unknown {what} {name:?} {place}"));
    match nearest(name, known) {
        Some(near) => failure.with_hint(format!("did you mean {near:?}? run bilin config to see them all")),
        None => failure.with_hint("run bilin config in another folder to see what can be set"),
    }
}

/// The known name that looks most like `name`, if any does.
fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    known
        .map(|candidate| {
            let last = candidate.rsplit('.').next().unwrap_or(candidate);
            let likeness =
                strsim::normalized_damerau_levenshtein(name, candidate).max(if name.contains('.') {
                    0.0
                } else {
                    strsim::normalized_damerau_levenshtein(name, last)
                });
            (candidate, likeness)
        })
        .max_by(|a, b| a.1.total_cmp(&b.1))
        .filter(|(_, likeness)| *likeness >= 0.5)
        .map(|(candidate, _)| candidate)
}

struct Reader<'a> {
    settings: &'a [Setting],
}

impl Reader<'_> {
    fn find(&self, name: &str) -> Option<&Setting> {
        self.settings.iter().find(|setting| setting.key.name == name)
    }

    fn text(&self, name: &str) -> Option<String> {
        self.find(name).and_then(|setting| setting.value.clone())
    }

    fn parsed<T: FromStr>(&self, name: &str, expected: &str) -> Result<T, Failure> {
        let value = self.text(name).unwrap_or_default();
        value.trim().parse().map_err(|_| self.refuse(name, expected))
    }

    fn positive(&self, name: &str) -> Result<usize, Failure> {
        match self.parsed(name, "a whole number above 0")? {
            0 => Err(self.refuse(name, "a whole number above 0")),
            number => Ok(number),
        }
    }

    /// How texts are searched for.
    fn search(&self, engine: &mut EngineConfig) -> Result<(), Failure> {
        engine.search_mode = self.parsed("search.mode", "dense, lexical or hybrid")?;
        let k = self.parsed("search.rrf_k", "a whole number")?;
        let weight = "a number from 0 to 1";
        let dense: f32 = self.parsed("search.dense_weight", weight)?;
        if !(0.0..=1.0).contains(&dense) {
            return Err(self.refuse("search.dense_weight", weight));
        }
        engine.sentence_weight = self.parsed("search.sentence_weight", weight)?;
        if !(0.0..=1.0).contains(&engine.sentence_weight) {
            return Err(self.refuse("search.sentence_weight", weight));
        }
        let weight = "a number from 0 to 100";
        let words: f32 = self.parsed("search.words_weight", weight)?;
        if !(0.0..=100.0).contains(&words) {
            return Err(self.refuse("search.words_weight", weight));
        }
        engine.fusion = match self.text("search.fusion").as_deref() {
            Some("share") => Fusion::Share { words },
            Some("rrf") => Fusion::Rrf { k },
            Some("weighted") => Fusion::Weighted { dense },
            _ => return Err(self.refuse("search.fusion", "share, rrf or weighted")),
        };
        engine.search_candidates = self.positive("search.candidates")?;
        if engine.search_candidates > MAX_CANDIDATES {
            return Err(self.refuse("search.candidates", "a whole number, 1 to 10000"));
        }
        Ok(())
    }

    /// What a document may unfold into.
    fn document_limits(&self) -> Result<DocumentLimits, Failure> {
        Ok(DocumentLimits {
            unpacked_bytes: self.positive("limits.unpacked_bytes")? as u64,
            unpacking_ratio: self.positive("limits.unpacking_ratio")? as u64,
            entries: self.positive("limits.entries")?,
            depth: self.positive("limits.depth")?,
            pages: self.positive("limits.pages")?,
            rows: self.positive("limits.rows")?,
            seconds: self.positive("limits.document_seconds")? as u64,
        })
    }

    /// What is done by itself, and when.
    fn upkeep(&self) -> Result<UpkeepPolicy, Failure> {
        let percent = "a whole number, 1 to 100";
        let recall_cpu_percent = self.parsed("upkeep.recall_cpu_percent", percent)?;
        if !(1..=100).contains(&recall_cpu_percent) {
            return Err(self.refuse("upkeep.recall_cpu_percent", percent));
        }
        let bytes_per_s: u64 =
            self.parsed("upkeep.scrub_bytes_per_s", "a number of bytes; 0 for no limit")?;
        Ok(UpkeepPolicy {
            rebuild_growth_percent: self
                .parsed("upkeep.rebuild_growth_percent", "a whole number of percent; 0 for never")?,
            retrain_after: self.duration("upkeep.retrain_after")?,
            compact_every: self.duration("upkeep.compact_every")?,
            build_threads: self.parsed("upkeep.build_threads", "a whole number; 0 for half the CPUs")?,
            backup_every: self.duration("backups.every")?,
            backups_kept: self.positive("backups.kept")?,
            scrub_every: self.duration("upkeep.scrub_every")?,
            scrub_bytes_per_s: (bytes_per_s > 0).then_some(bytes_per_s),
            recall_sample_every: self
                .parsed("upkeep.recall_sample_every", "a whole number; 0 for no samples")?,
            recall_cpu_percent,
            settle: self.duration("upkeep.settle")?.unwrap_or_default(),
            ..UpkeepPolicy::default()
        })
    }

    /// `course=./slides; notes=/srv/a; notes=/srv/b`.
    fn sources(&self) -> Result<BTreeMap<String, Vec<PathBuf>>, Failure> {
        let mut sources: BTreeMap<String, Vec<PathBuf>> = BTreeMap::new();
        let told = self.text("watch.sources").unwrap_or_default();
        for one in told.split(';').map(str::trim).filter(|one| !one.is_empty()) {
            let (collection, folder) = one.split_once('=').unwrap_or_default();
            let (collection, folder) = (collection.trim(), folder.trim());
            if collection.is_empty() || folder.is_empty() {
                return Err(self.refuse("watch.sources", "COLLECTION=FOLDER, several of them with ; between"));
            }
            sources.entry(collection.to_owned()).or_default().push(folder.into());
        }
        Ok(sources)
    }

    /// How folders are watched.
    fn watch_timing(&self) -> Result<WatchTiming, Failure> {
        let poll_every = self.duration("watch.poll_every")?;
        let poll_every =
            poll_every.ok_or_else(|| self.refuse("watch.poll_every", "a time above 0, such as 2s"))?;
        Ok(WatchTiming { settle: self.duration("watch.settle")?.unwrap_or_default(), poll_every })
    }

    /// How searches are reranked.
    fn rerank(&self, data: &Path) -> Result<RerankConfig, Failure> {
        let candidates = self.positive("rerank.candidates")?;
        if candidates > MAX_RERANK_CANDIDATES {
            let expected = format!("a whole number, 1 to {MAX_RERANK_CANDIDATES}");
            return Err(self.refuse("rerank.candidates", &expected));
        }
        let by_default = match self.text("rerank.by_default").as_deref() {
            Some("yes" | "true") => true,
            Some("no" | "false") | None => false,
            Some(_) => return Err(self.refuse("rerank.by_default", "yes or no")),
        };
        let model = self.text("rerank.model").map(|model| bilin_engine::resolve_model(data, &model));
        if by_default && model.is_none() {
            return Err(Failure::mendable("rerank.by_default is yes, and rerank.model is not set")
                .with_hint(
                    "name the folder of a cross-encoder by rerank.model, or leave rerank.by_default out",
                ));
        }
        let budget = Duration::from_millis(self.positive("rerank.budget_ms")? as u64);
        Ok(RerankConfig { model, by_default, candidates, budget })
    }

    /// `24h`, `7d 12h`; `None` for `off` and `0`.
    fn duration(&self, name: &str) -> Result<Option<Duration>, Failure> {
        let value = self.text(name).unwrap_or_default();
        match value.trim() {
            "off" | "0" => Ok(None),
            value => match humantime::parse_duration(value) {
                Ok(duration) => Ok((!duration.is_zero()).then_some(duration)),
                Err(_) => Err(self.refuse(name, "a time such as 90s, 12h or 7d; off or 0 for never")),
            },
        }
    }

    fn refuse(&self, name: &str, expected: &str) -> Failure {
        let setting = self.find(name);
        let value = setting.and_then(|setting| setting.value.as_deref()).unwrap_or_default();
        let origin = setting.map_or_else(String::new, |setting| format!(" ({})", setting.origin));
        Failure::mendable(format!("setting {name:?} cannot be {value:?}{origin}"))
            .with_hint(format!("expected {expected}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value<'a>(settings: &'a [Setting], name: &str) -> (&'a str, String) {
        let setting = settings.iter().find(|setting| setting.key.name == name).unwrap();
        (setting.value.as_deref().unwrap_or(""), setting.origin.to_string())
    }

    #[test]
    fn flag_beats_variable_beats_file_beats_default() {
        let file = || vec![("serve.listen".to_owned(), "127.0.0.1:1".to_owned(), PathBuf::from("f.toml"))];
        let variables = [("BILIN_LISTEN".to_owned(), "127.0.0.1:2".to_owned())];
        let flags = [("serve.listen", "127.0.0.1:3".to_owned(), "--listen")];
        let listen = |settings: Vec<Setting>| {
            let (value, origin) = value(&settings, "serve.listen");
            (value.to_owned(), origin)
        };
        let expect = |value: &str, origin: &str| (value.to_owned(), origin.to_owned());
        assert_eq!(listen(resolve(vec![], &[], &[]).unwrap()), expect("127.0.0.1:8000", "default"));
        assert_eq!(listen(resolve(file(), &[], &[]).unwrap()), expect("127.0.0.1:1", "f.toml"));
        assert_eq!(
            listen(resolve(file(), &variables, &[]).unwrap()),
            expect("127.0.0.1:2", "environment BILIN_LISTEN")
        );
        assert_eq!(
            listen(resolve(file(), &variables, &flags).unwrap()),
            expect("127.0.0.1:3", "flag --listen")
        );
    }

    #[test]
    fn an_empty_key_is_no_key() {
        let settings = resolve(vec![], &[("BILIN_API_KEY".to_owned(), String::new())], &[]).unwrap();
        assert_eq!(Config::from_settings(settings).unwrap().access.api_key, None);
    }

    #[test]
    fn unknown_names_get_the_nearest_one() {
        let file = vec![("serve.lisen".to_owned(), "x".to_owned(), PathBuf::from("bilin.toml"))];
        let failure = resolve(file, &[], &[]).unwrap_err();
        assert!(failure.message().contains("unknown configuration key \"serve.lisen\""), "{failure:?}");
        assert!(failure.hint().unwrap().contains("serve.listen"), "{failure:?}");
        let failure = resolve(vec![], &[("BILIN_API_KEI".to_owned(), "k".to_owned())], &[]).unwrap_err();
        assert!(failure.hint().unwrap().contains("BILIN_API_KEY"), "{failure:?}");
        assert_eq!(nearest("listen", KEYS.iter().map(|key| key.name)), Some("serve.listen"));
        assert_eq!(nearest("zzzzzzzzzzzz", KEYS.iter().map(|key| key.name)), None);
    }

    #[test]
    fn values_that_do_not_fit_are_quoted_with_their_origin() {
        for (variable, bad) in [
            ("BILIN_THREADS", "many"),
            ("BILIN_MAX_QUERY_CHARS", "0"),
            ("BILIN_MIN_QUERY_LETTERS", "-1"),
            ("BILIN_WATCH_SOURCES", "./slides"),
            ("BILIN_WATCH_SOURCES", "course="),
            ("BILIN_WATCH_POLL_EVERY", "0"),
            ("BILIN_LONG_QUERIES", "cut"),
            ("BILIN_RERANK_BY_DEFAULT", "maybe"),
            ("BILIN_RERANK_CANDIDATES", "1001"),
            ("BILIN_RERANK_BUDGET_MS", "0"),
            ("BILIN_TARGET_RECALL", "1.5"),
            ("BILIN_TARGET_RECALL", "NaN"),
            ("BILIN_LISTEN", "8000"),
            ("BILIN_MAX_BODY_BYTES", "0"),
            ("BILIN_REQUEST_TIMEOUT_MS", "-1"),
            ("BILIN_BACKUPS_EVERY", "daily"),
            ("BILIN_BACKUPS_KEPT", "0"),
            ("BILIN_SCRUB_BYTES_PER_S", "64 MB"),
            ("BILIN_RECALL_CPU_PERCENT", "101"),
            ("BILIN_RETRAIN_AFTER", "-1d"),
            ("BILIN_RATE_LIMIT_PER_S", "-1"),
            ("BILIN_ALLOWED_ORIGINS", "*"),
            ("BILIN_ALLOWED_ORIGINS", "https://a.example/path"),
            ("BILIN_AUDIT_LOG", "maybe"),
            ("BILIN_LOG_FORMAT", "xml"),
            ("BILIN_LOG_QUERIES", "some"),
            ("BILIN_LOG_SLOW_MS", "1s"),
            ("BILIN_DRAIN_SECONDS", "3601"),
            ("BILIN_OTLP_URL", "127.0.0.1:4318"),
            ("BILIN_TRACES_SAMPLE", "2"),
            ("BILIN_FOLLOW_EVERY", "0"),
            ("BILIN_FOLLOW_MAX_LAG_SECONDS", "0"),
            ("BILIN_AUDIT_MAX_BYTES", "0"),
            ("BILIN_CACHE_TTL", "off"),
            ("BILIN_ADMISSION_FLOOR_RECALL", "1.1"),
            ("BILIN_ADMISSION_MEMORY_PERCENT", "0"),
            ("BILIN_ADMISSION_TOP_K", "0"),
            ("BILIN_CACHE_MEMORY_BYTES", "64 MB"),
        ] {
            let settings = resolve(vec![], &[(variable.to_owned(), bad.to_owned())], &[]).unwrap();
            let failure = Config::from_settings(settings).unwrap_err();
            assert!(failure.message().contains(&format!("{bad:?}")), "{failure:?}");
            assert!(failure.message().contains(variable), "{failure:?}");
            assert!(failure.hint().unwrap().starts_with("expected "), "{failure:?}");
        }
    }

    #[test]
    fn defaults_agree_with_the_engine() {
        let config = Config::from_settings(resolve(vec![], &[], &[]).unwrap()).unwrap();
        let engine = EngineConfig::new("./bilin-data");
        assert_eq!(config.engine.max_file_bytes, engine.max_file_bytes);
        assert_eq!(config.engine.document_limits, engine.document_limits);
        assert_eq!(config.engine.overlap_tokens, engine.overlap_tokens);
        assert_eq!(config.engine.headings, engine.headings);
        assert_eq!(config.engine.sentences, engine.sentences);
        assert_eq!(config.engine.sentence_weight, engine.sentence_weight);
        assert_eq!(config.engine.max_passage_tokens, engine.max_passage_tokens);
        assert_eq!(config.engine.picture_limits.max_bytes, engine.picture_limits.max_bytes);
        assert_eq!(config.engine.max_query_chars, engine.max_query_chars);
        assert_eq!(config.engine.min_query_letters, engine.min_query_letters);
        assert_eq!(config.engine.long_queries, engine.long_queries);
        assert_eq!(config.engine.rerank, engine.rerank);
        assert_eq!(config.engine.cache, engine.cache);
        assert_eq!(config.watch_timing, WatchTiming::default());
        assert_eq!(config.engine.target_recall, engine.target_recall);
        assert_eq!(config.engine.default_text_model, engine.default_text_model);
        assert_eq!(config.engine.default_image_model, engine.default_image_model);
        assert_eq!(config.engine.upkeep, engine.upkeep);
        assert_eq!(config.engine.search_mode, engine.search_mode);
        assert_eq!(config.engine.fusion, engine.fusion);
        assert_eq!(config.engine.search_candidates, engine.search_candidates);
        assert_eq!(config.listen.to_string(), "127.0.0.1:8000");
    }

    #[test]
    fn periods_are_read_as_people_write_them_and_can_be_off() {
        let read = |every: &str| {
            let variables = [("BILIN_BACKUPS_EVERY".to_owned(), every.to_owned())];
            Config::from_settings(resolve(vec![], &variables, &[]).unwrap())
                .unwrap()
                .engine
                .upkeep
                .backup_every
        };
        assert_eq!(read("90s"), Some(Duration::from_secs(90)));
        assert_eq!(read("1d 12h"), Some(Duration::from_secs(36 * 3_600)));
        for off in ["off", "0", "0s"] {
            assert_eq!(read(off), None, "{off}");
        }
    }
}
