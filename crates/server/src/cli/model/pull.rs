//! `bilin model pull`: a model from a hub into the data folder, or another one.

use super::{Context, Exit, Failure};
use crate::pull::{self, Hub, Wish};
use clap::Args;
use indicatif::HumanBytes;
use reqwest::Url;
use serde::Serialize;
use std::path::PathBuf;

/// Only the files that are read here are fetched. HF_TOKEN is sent to Hugging Face, or the address in its place, and nowhere else.
#[derive(Debug, Args)]
pub(in crate::cli) struct Pull {
    /// Name on the hub, such as BAAI/bge-small-zh-v1.5
    #[arg(value_name = "NAME", value_parser = pull::name)]
    name: String,
    /// Where from
    #[arg(long, value_enum, default_value_t = Hub::Huggingface)]
    from: Hub,
    /// Address of a mirror that speaks the language of --from [default: models.endpoint, HF_ENDPOINT, the hub's own]
    #[arg(long, value_name = "URL")]
    endpoint: Option<String>,
    /// Branch, tag or commit [default: the newest]
    #[arg(long, value_name = "REV")]
    revision: Option<String>,
    /// Folder that gets NAME [default: models in the data folder, where NAME alone is enough for --model]
    #[arg(long, value_name = "DIR")]
    to: Option<PathBuf>,
}

#[derive(Serialize)]
struct Record<'a> {
    name: &'a str,
    path: String,
    from: &'a str,
    endpoint: &'a str,
    revision: &'a str,
    bytes: u64,
    was_there: bool,
}

pub(super) fn run(args: &Pull, context: &Context) -> Result<Exit, Failure> {
    let printer = &context.printer;
    let to = match &args.to {
        Some(to) => to.clone(),
        None => bilin_engine::models_folder(&context.config.engine.data),
    };
    let token = std::env::var("HF_TOKEN").ok().filter(|_| args.from == Hub::Huggingface);
    let wish = Wish {
        name: &args.name,
        hub: args.from,
        endpoint: endpoint(args, context)?,
        revision: args.revision.as_deref(),
        to: &to,
        token,
    };
    let pulled = pull::pull(&wish, printer)?;
    let path = pulled.path.display().to_string();
    if printer.is_json() {
        let origin = &pulled.origin;
        let record = Record {
            name: &origin.name,
            path: path.clone(),
            from: &origin.from,
            endpoint: &origin.endpoint,
            revision: &origin.revision,
            bytes: pulled.bytes,
            was_there: pulled.was_there,
        };
        printer.record("pulled", &record)?;
    } else {
        printer.line(&path)?;
    }
    let how = if pulled.was_there { "is there already" } else { "pulled" };
    printer.note(format_args!(
        "{} {how}, revision {}, {}",
        args.name,
        pulled.origin.revision,
        HumanBytes(pulled.bytes)
    ));
    // Told now rather than when it is first needed.
    if let Err(error) = bilin_engine::open_model(&path) {
        return Err(Failure::mendable(format!("{} is there, but cannot be used: {}", args.name, error.message))
            .with_hint("it may be of an architecture that is not supported, or a picture model, whose weights are named by their file"));
    }
    Ok(Exit::Success)
}

/// Flag, then setting, then HF_ENDPOINT, as far as they speak of that hub, then its own.
fn endpoint(args: &Pull, context: &Context) -> Result<Url, Failure> {
    let configured = || context.config.models_endpoint.clone().map(|url| (url, "models.endpoint"));
    let variable =
        || std::env::var("HF_ENDPOINT").ok().filter(|url| !url.is_empty()).map(|url| (url, "HF_ENDPOINT"));
    let elsewhere = match args.from {
        Hub::Huggingface => configured().or_else(variable),
        Hub::HfMirror | Hub::Modelscope => None,
    };
    let flag = args.endpoint.clone().map(|url| (url, "--endpoint"));
    let (text, origin) = flag.or(elsewhere).unwrap_or_else(|| (args.from.endpoint().to_owned(), "--from"));
    let url = Url::parse(&text).ok().filter(|url| {
        matches!(url.scheme(), "http" | "https")
            && url.has_host()
            && url.query().is_none()
            && url.username().is_empty()
    });
    url.ok_or_else(|| {
        Failure::mendable(format!("{origin} {text:?} is no address of a hub"))
            .with_hint("expected an address such as https://hf-mirror.com")
    })
}
