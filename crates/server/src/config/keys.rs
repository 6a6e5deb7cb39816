//! The table of settings: name in `bilin.toml`, environment variable, default, meaning.

/// One setting.
#[derive(Debug)]
pub struct Key {
    /// Dotted name: table and key in `bilin.toml`.
    pub name: &'static str,
    /// Environment variable.
    pub variable: &'static str,
    /// Value when nothing else is said; `None` leaves it unset.
    pub default: Option<&'static str>,
    /// Never shown.
    pub is_secret: bool,
    /// Whether its value is written with quotes in TOML.
    pub is_text: bool,
    /// One line for people.
    pub about: &'static str,
}

const fn text(
    name: &'static str,
    variable: &'static str,
    default: Option<&'static str>,
    about: &'static str,
) -> Key {
    Key { name, variable, default, is_secret: false, is_text: true, about }
}

const fn secret(name: &'static str, variable: &'static str, about: &'static str) -> Key {
    Key { name, variable, default: None, is_secret: true, is_text: true, about }
}

const fn number(
    name: &'static str,
    variable: &'static str,
    default: &'static str,
    about: &'static str,
) -> Key {
    Key { name, variable, default: Some(default), is_secret: false, is_text: false, about }
}

/// Those that SIGHUP takes over while a service runs.
pub const LIVE: &[&str] = &[
    "log",
    "log_queries",
    "log_requests",
    "log_slow_ms",
    "serve.api_key",
    "serve.rate_limit_per_s",
    "serve.rate_limit_burst",
    "serve.allowed_origins",
    "serve.tls_certificate",
    "serve.tls_key",
];

/// Every setting there is; keys without a dot come first, as TOML wants them.
pub const KEYS: &[Key] = &[
    text("data", "BILIN_DATA", Some("./bilin-data"), "data folder"),
    number("threads", "BILIN_THREADS", "0", "threads for encoding and searching; 0 is one per CPU"),
    number(
        "target_recall",
        "BILIN_TARGET_RECALL",
        "0.95",
        "recall at 10 that new approximate indexes must reach",
    ),
    Key {
        name: "index_memory_bytes",
        variable: "BILIN_INDEX_MEMORY_BYTES",
        default: None,
        is_secret: false,
        is_text: false,
        about: "most memory that an index chosen by auto may need, in bytes; unset is as much as it takes",
    },
    text("log", "BILIN_LOG", None, "log filter, such as info or bilin_engine=debug"),
    text("log_format", "BILIN_LOG_FORMAT", None, "pretty or json; unset is pretty, and json with --json"),
    text(
        "log_queries",
        "BILIN_LOG_QUERIES",
        Some("no"),
        "whether texts of queries stand in the log: yes or no; their length always does",
    ),
    text(
        "log_requests",
        "BILIN_LOG_REQUESTS",
        Some("all"),
        "which requests get a line in the log: all, or failed (refused, failed and slow ones alone; a seventh more answers from memory); of refusals in a flood one in 10 ms has a line",
    ),
    number(
        "log_slow_ms",
        "BILIN_LOG_SLOW_MS",
        "1000",
        "milliseconds from which on a search is logged as slow, with where its time went; 0 is never",
    ),
    text(
        "models.text",
        "BILIN_TEXT_MODEL",
        Some("e5-small-zh-en"),
        "model of new text collections: an id, the folder of one, or the name of one that was pulled",
    ),
    text(
        "models.image",
        "BILIN_IMAGE_MODEL",
        Some("efficientnet-lite0"),
        "model of new picture collections: an id, or a file of weights",
    ),
    text(
        "models.onnxruntime",
        "BILIN_ONNXRUNTIME",
        None,
        "library of ONNX Runtime, for models in ONNX; unset is ORT_DYLIB_PATH, or libonnxruntime.so where the system finds it",
    ),
    text(
        "models.endpoint",
        "BILIN_MODELS_ENDPOINT",
        None,
        "address that bilin model pull asks in place of huggingface.co; unset is HF_ENDPOINT",
    ),
    number(
        "passages.headings",
        "BILIN_PASSAGE_HEADINGS",
        "true",
        "whether new text collections encode chapter and section with a text: true or false",
    ),
    number(
        "passages.sentences",
        "BILIN_PASSAGE_SENTENCES",
        "true",
        "whether sentences of passages are encoded as well, for search.sentence_weight: finds better, adding takes about twice as long",
    ),
    number(
        "passages.max_tokens",
        "BILIN_PASSAGE_MAX_TOKENS",
        "128",
        "most tokens of a passage, headings in front of it not counted; what a model reads bounds it too",
    ),
    number(
        "passages.overlap_tokens",
        "BILIN_PASSAGE_OVERLAP_TOKENS",
        "28",
        "tokens that a passage may repeat of the one before, where it begins within a paragraph",
    ),
    text(
        "watch.sources",
        "BILIN_WATCH_SOURCES",
        None,
        "folders that bilin serve watches, each with its collection: course=./slides; notes=/srv/notes",
    ),
    text(
        "watch.settle",
        "BILIN_WATCH_SETTLE",
        Some("500ms"),
        "how long a watched file must rest before it is read, so that none is read half written",
    ),
    text(
        "watch.poll_every",
        "BILIN_WATCH_POLL_EVERY",
        Some("2s"),
        "how often watched folders are listed from which the system sends no events",
    ),
    text(
        "rerank.model",
        "BILIN_RERANK_MODEL",
        None,
        "folder of a cross-encoder, or the name of one that was pulled, by which searches may be reranked",
    ),
    text(
        "rerank.by_default",
        "BILIN_RERANK_BY_DEFAULT",
        Some("no"),
        "whether searches by text are reranked that do not say: yes or no",
    ),
    number("rerank.candidates", "BILIN_RERANK_CANDIDATES", "50", "how many of the best found are reranked"),
    number(
        "rerank.budget_ms",
        "BILIN_RERANK_BUDGET_MS",
        "1000",
        "longest that reranking one search may take; what is not scored by then keeps its order behind the rest",
    ),
    number("limits.file_bytes", "BILIN_MAX_FILE_BYTES", "268435456", "longest document file that is read"),
    number(
        "limits.unpacked_bytes",
        "BILIN_MAX_UNPACKED_BYTES",
        "1073741824",
        "most bytes that a document or an archive may unfold into",
    ),
    number(
        "limits.unpacking_ratio",
        "BILIN_MAX_UNPACKING_RATIO",
        "200",
        "how many times its own length a document may unfold into, beyond its first 16 MiB",
    ),
    number("limits.entries", "BILIN_MAX_ENTRIES", "20000", "most files in an archive, parts in a document"),
    number("limits.depth", "BILIN_MAX_DEPTH", "256", "how deep elements of a document may be nested"),
    number(
        "limits.pages",
        "BILIN_MAX_PAGES",
        "20000",
        "most pages, slides, chapters or sheets of a document",
    ),
    number("limits.rows", "BILIN_MAX_ROWS", "1000000", "most rows of a workbook"),
    number(
        "limits.document_seconds",
        "BILIN_MAX_DOCUMENT_SECONDS",
        "120",
        "longest time that one document may take to read, each document of an archive by itself",
    ),
    number(
        "limits.picture_bytes",
        "BILIN_MAX_PICTURE_BYTES",
        "33554432",
        "longest picture file that is decoded",
    ),
    number("limits.query_chars", "BILIN_MAX_QUERY_CHARS", "8000", "longest query text, in characters"),
    number(
        "limits.query_min_letters",
        "BILIN_MIN_QUERY_LETTERS",
        "1",
        "letters, digits and Chinese characters that a query text must hold; 0 lets punctuation and emoji through",
    ),
    text(
        "limits.long_queries",
        "BILIN_LONG_QUERIES",
        Some("truncate"),
        "a query text longer than its model reads: truncate searches with its beginning and says so, refuse does not",
    ),
    number(
        "upkeep.rebuild_growth_percent",
        "BILIN_REBUILD_GROWTH_PERCENT",
        "50",
        "rows added or deleted since the last build, in percent, from which an index is built anew; 0 is never",
    ),
    text(
        "upkeep.retrain_after",
        "BILIN_RETRAIN_AFTER",
        Some("7d"),
        "age from which the centroids of an IVF index are learned anew where rows have changed, or off",
    ),
    text(
        "upkeep.compact_every",
        "BILIN_COMPACT_EVERY",
        Some("1h"),
        "how often space of what was deleted is looked for, besides before every build, or off",
    ),
    number("upkeep.build_threads", "BILIN_BUILD_THREADS", "0", "threads of a build; 0 is half the CPUs"),
    text(
        "upkeep.scrub_every",
        "BILIN_SCRUB_EVERY",
        Some("24h"),
        "how often everything on disk is read back and compared with its checksums, or off",
    ),
    number(
        "upkeep.scrub_bytes_per_s",
        "BILIN_SCRUB_BYTES_PER_S",
        "67108864",
        "bytes that this reads in a second; 0 is as fast as the disk",
    ),
    number(
        "upkeep.recall_sample_every",
        "BILIN_RECALL_SAMPLE_EVERY",
        "100",
        "one query in so many is answered exactly, too, to measure recall; 0 is none",
    ),
    number(
        "upkeep.recall_cpu_percent",
        "BILIN_RECALL_CPU_PERCENT",
        "5",
        "most of one core's time that measuring recall takes, 1 to 100",
    ),
    text(
        "upkeep.settle",
        "BILIN_SETTLE",
        Some("10m"),
        "how long a new collection, or writes after a quiet time, wait for their backup",
    ),
    text("backups.every", "BILIN_BACKUPS_EVERY", Some("24h"), "how often what changed is backed up, or off"),
    number("backups.kept", "BILIN_BACKUPS_KEPT", "7", "backups kept of each collection"),
    text(
        "backups.remote_url",
        "BILIN_BACKUP_URL",
        None,
        "where backups are sent to as well: s3://bucket/prefix, or file:///folder; for one data folder alone",
    ),
    text(
        "backups.s3_endpoint",
        "BILIN_S3_ENDPOINT",
        None,
        "address of an S3 service other than Amazon's; plain http on this machine only",
    ),
    text(
        "backups.s3_region",
        "BILIN_S3_REGION",
        None,
        "region of the bucket; unset is AWS_REGION, or us-east-1",
    ),
    secret("backups.s3_access_key", "BILIN_S3_ACCESS_KEY", "id of the key to S3; unset is AWS_ACCESS_KEY_ID"),
    secret("backups.s3_secret_key", "BILIN_S3_SECRET_KEY", "the key to S3; unset is AWS_SECRET_ACCESS_KEY"),
    text(
        "terminal.pictures",
        "BILIN_TERMINAL_PICTURES",
        Some("auto"),
        "how bilin search shows pictures on a terminal: auto, kitty, iterm, sixel, blocks or none",
    ),
    text(
        "add.urls",
        "BILIN_ADD_URLS",
        Some("no"),
        "whether bilin add fetches pictures and documents from addresses on the web: yes or no",
    ),
    text(
        "add.url_hosts",
        "BILIN_ADD_URL_HOSTS",
        None,
        "hosts that may be fetched from although their addresses are not public, such as wiki.local, 10.0.0.5:8080",
    ),
    number("add.url_seconds", "BILIN_ADD_URL_SECONDS", "60", "longest that fetching one address may take"),
    text(
        "search.mode",
        "BILIN_SEARCH_MODE",
        Some("hybrid"),
        "how texts are searched for where a query does not say: dense (by meaning), lexical (by words) or hybrid (by both)",
    ),
    text(
        "search.fusion",
        "BILIN_SEARCH_FUSION",
        Some("share"),
        "how hybrid search joins its two rankings: share (the cosine, and how much of the question was found), rrf (by ranks) or weighted (by scores)",
    ),
    number("search.rrf_k", "BILIN_SEARCH_RRF_K", "60", "rrf: how little the first ranks stand out"),
    number(
        "search.words_weight",
        "BILIN_SEARCH_WORDS_WEIGHT",
        "0.8",
        "share: what is added to the cosine where all words of a question are found",
    ),
    number(
        "search.sentence_weight",
        "BILIN_SEARCH_SENTENCE_WEIGHT",
        "0.5",
        "share: how much the best sentence's cosine counts beside its passage's, 0 to 1",
    ),
    number(
        "search.dense_weight",
        "BILIN_SEARCH_DENSE_WEIGHT",
        "0.6",
        "weighted: how much meaning counts, 0 to 1; words count the rest",
    ),
    number(
        "search.candidates",
        "BILIN_SEARCH_CANDIDATES",
        "100",
        "items of each ranking that hybrid search looks at, at most 10000",
    ),
    number(
        "cache.memory_bytes",
        "BILIN_CACHE_MEMORY_BYTES",
        "67108864",
        "bytes of answers kept in memory; 0 keeps none",
    ),
    text(
        "cache.ttl",
        "BILIN_CACHE_TTL",
        Some("5m"),
        "how long an answer is kept at most; a write makes it unfindable at once",
    ),
    secret(
        "cache.redis_url",
        "BILIN_CACHE_REDIS_URL",
        "a Redis that servers share answers by: redis://[[user]:password@]host[:port][/database], rediss:// for TLS; unset is none",
    ),
    text(
        "cache.redis_ca",
        "BILIN_CACHE_REDIS_CA",
        None,
        "file of certificates (PEM) by which that of the Redis is checked; unset is those of the system",
    ),
    number(
        "cache.redis_timeout_ms",
        "BILIN_CACHE_REDIS_TIMEOUT_MS",
        "50",
        "how long reading from the Redis may take; then the answer is made without it",
    ),
    number(
        "cache.vector_bytes",
        "BILIN_CACHE_VECTOR_BYTES",
        "16777216",
        "bytes of vectors of queries kept in memory, so that a repeated one is not encoded again; 0 keeps none",
    ),
    number(
        "admission.target_ms",
        "BILIN_ADMISSION_TARGET_MS",
        "200",
        "mean time inside above which fewer searches are let in at a time",
    ),
    number(
        "admission.queue_ms",
        "BILIN_ADMISSION_QUEUE_MS",
        "200",
        "how long a search may be expected to wait for its turn; others are turned away at once",
    ),
    number(
        "admission.floor_recall",
        "BILIN_ADMISSION_FLOOR_RECALL",
        "0.9",
        "recall at 10, as live queries show it, that is never gone under when many ask and less effort is made",
    ),
    number(
        "admission.top_k",
        "BILIN_ADMISSION_TOP_K",
        "10",
        "results at most while so many ask that fewer are given",
    ),
    number(
        "admission.memory_percent",
        "BILIN_ADMISSION_MEMORY_PERCENT",
        "90",
        "percent of the memory of the control group from which on nothing new is begun, 1 to 100",
    ),
    text("serve.listen", "BILIN_LISTEN", Some("127.0.0.1:8000"), "address and port of the HTTP service"),
    secret(
        "serve.api_key",
        "BILIN_API_KEY",
        "key that requests bring as Authorization: Bearer KEY; needed to listen beyond this machine",
    ),
    text("serve.text_collection", "BILIN_TEXT_COLLECTION", None, "collection that /text-search means"),
    text("serve.image_collection", "BILIN_IMAGE_COLLECTION", None, "collection that /image-search means"),
    number(
        "serve.max_connections",
        "BILIN_MAX_CONNECTIONS",
        "4096",
        "connections at one time; more wait in the system's queue",
    ),
    text(
        "serve.head_timeout",
        "BILIN_HEAD_TIMEOUT",
        Some("30s"),
        "how long the head of a request may take to arrive, and a connection may be idle",
    ),
    text(
        "serve.write_timeout",
        "BILIN_WRITE_TIMEOUT",
        Some("30s"),
        "how long a client may take to read the next piece of an answer",
    ),
    number("serve.max_body_bytes", "BILIN_MAX_BODY_BYTES", "67108864", "longest request body"),
    number("serve.request_timeout_ms", "BILIN_REQUEST_TIMEOUT_MS", "30000", "how long a request may take"),
    number(
        "serve.max_concurrent_requests",
        "BILIN_MAX_CONCURRENT_REQUESTS",
        "16",
        "searches worked on at one time; four times as many may wait, others are turned away",
    ),
    number(
        "serve.rate_limit_per_s",
        "BILIN_RATE_LIMIT_PER_S",
        "0",
        "requests in a second that each key may make where the key itself does not say; 0 is no bound",
    ),
    number(
        "serve.rate_limit_burst",
        "BILIN_RATE_LIMIT_BURST",
        "0",
        "requests of a key that may come at once; 0 is as many as it may make in a second",
    ),
    text(
        "serve.allowed_origins",
        "BILIN_ALLOWED_ORIGINS",
        None,
        "origins whose pages may call the API, separated by spaces: https://site.example; unset is none (CORS is off)",
    ),
    text(
        "serve.tls_certificate",
        "BILIN_TLS_CERTIFICATE",
        None,
        "PEM file with the certificate chain of the service, to serve HTTPS; read anew when it changes",
    ),
    text("serve.tls_key", "BILIN_TLS_KEY", None, "PEM file with the private key of that certificate"),
    number(
        "serve.drain_seconds",
        "BILIN_DRAIN_SECONDS",
        "8",
        "longest that requests under way are waited for after SIGTERM",
    ),
    number(
        "serve.lame_duck_seconds",
        "BILIN_LAME_DUCK_SECONDS",
        "0",
        "how long requests are still taken after SIGTERM while /readyz says no, so that a balancer sends them elsewhere; a second signal ends it",
    ),
    text(
        "audit.log",
        "BILIN_AUDIT_LOG",
        Some("yes"),
        "whether writes and admin calls are written down in audit/ of the data folder: yes or no",
    ),
    number(
        "audit.max_bytes",
        "BILIN_AUDIT_MAX_BYTES",
        "16777216",
        "length from which a file of the audit log is put aside",
    ),
    number("audit.kept", "BILIN_AUDIT_KEPT", "16", "files of the audit log that are kept beside the newest"),
    text(
        "traces.otlp_url",
        "BILIN_OTLP_URL",
        None,
        "where traces are sent by OTLP over HTTP: http://127.0.0.1:4318/v1/traces; unset is nowhere",
    ),
    number(
        "traces.sample",
        "BILIN_TRACES_SAMPLE",
        "1",
        "share of requests that are traced, 0 to 1; callers that send a traceparent decide for theirs",
    ),
    text(
        "follow.from",
        "BILIN_FOLLOW",
        None,
        "serve as a read-only replica: the address of a bilin server, or the folder that one sends its backups to",
    ),
    secret("follow.key", "BILIN_FOLLOW_KEY", "key for the server that is followed; a read key will do"),
    text(
        "follow.every",
        "BILIN_FOLLOW_EVERY",
        Some("1s"),
        "how often the primary is asked for newer commits",
    ),
    number(
        "follow.max_lag_seconds",
        "BILIN_FOLLOW_MAX_LAG_SECONDS",
        "30",
        "time without being in step with the primary after which /readyz says no",
    ),
];
