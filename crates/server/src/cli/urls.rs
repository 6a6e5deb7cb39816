//! `bilin add COLLECTION https://...`: what lies at addresses on the web, one document (or archive) each, under its address as id.

use super::add::{interrupted, problem, summary};
use super::{Context, Failure};
use crate::urls::{Fetched, Fetcher, is_url};
use bilin_engine::{
    AddOptions, AddReport, DocumentContent, Engine, Error, ErrorKind, Kind, Metadata, NewDocument, Problem,
};
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::time::Instant;

/// Addresses and paths of a command line.
pub(super) fn parted(arguments: &[PathBuf]) -> (Vec<String>, Vec<PathBuf>) {
    let (mut urls, mut paths) = (Vec::new(), Vec::new());
    for argument in arguments {
        match argument.to_str().filter(|text| is_url(text)) {
            Some(url) => urls.push(url.to_owned()),
            None => paths.push(argument.clone()),
        }
    }
    (urls, paths)
}

/// Whether addresses may be fetched at all; told before anything is opened or made.
pub(super) fn check(follows_files: bool, context: &Context) -> Result<(), Failure> {
    if context.config.urls.is_none() {
        return Err(Failure::mendable("addresses on the web are not fetched: add.urls is no").with_hint(
            "set add.urls = \"yes\" in bilin.toml or BILIN_ADD_URLS=yes; addresses that are not public stay refused",
        ));
    }
    if follows_files {
        return Err(Failure::usage("--sync and --watch are about files, and an address was given"));
    }
    Ok(())
}

/// Fetches and adds each; one that cannot be had is a problem of its own.
pub(super) fn add(
    engine: &Engine,
    collection: &str,
    urls: &[String],
    options: &AddOptions,
    context: &Context,
) -> Result<AddReport, Failure> {
    let (started, printer) = (Instant::now(), &context.printer);
    let Some(config) = &context.config.urls else { return Ok(AddReport::default()) };
    let fetcher = Fetcher::new(config, context.config.engine.max_file_bytes)?;
    let (stop, bar) = (interrupted(), printer.bar("fetching", Some(urls.len() as u64)));
    let mut report = AddReport::default();
    let mut created = false;
    for (url, done) in urls.iter().zip(1..) {
        if stop.load(Ordering::Relaxed) {
            return Err(Failure::mendable(format!("stopped adding to {collection:?}"))
                .with_hint("what was fetched is in; run the same command again for the rest"));
        }
        let told = match fetcher.fetch(url) {
            Err(reason) => Err((reason, None)),
            Ok(fetched) => match one(engine, collection, url, fetched, options, &mut created) {
                Ok((added, seq)) => Ok((added, seq)),
                Err(error) if matches!(error.kind, ErrorKind::InvalidInput | ErrorKind::TooLarge) => {
                    Err((error.message, error.hint))
                }
                Err(error) => return Err(error.into()),
            },
        };
        match told {
            Ok((items, seq)) => {
                report.files_added += 1;
                report.items_added += items;
                report.seq = seq;
            }
            Err((reason, hint)) => {
                let met = Problem { path: PathBuf::from(url), reason, hint, is_partial: false };
                problem(&met, printer)?;
                report.problems.push(met);
            }
        }
        bar.at(done);
    }
    drop(bar);
    if created && report.files_added == 0 {
        engine.remove(collection)?;
    }
    summary(collection, &report, started, printer)?;
    Ok(report)
}

/// Adds what one address gave; the collection is made when it is not there, for what this is.
fn one(
    engine: &Engine,
    collection: &str,
    url: &str,
    fetched: Fetched,
    options: &AddOptions,
    created: &mut bool,
) -> Result<(usize, u64), Error> {
    let Fetched { name, bytes } = fetched;
    let is_picture = image::guess_format(&bytes).is_ok();
    let info = match engine.collection(collection) {
        Err(error) if error.kind == ErrorKind::NotFound => {
            let kind = options.kind.unwrap_or(if is_picture { Kind::Image } else { Kind::Text });
            *created = true;
            engine.create(collection, &options.new_collection(kind))?
        }
        found => found?,
    };
    let mut metadata = Metadata::new();
    metadata.insert("source".to_owned(), url.into());
    let content = if info.settings.kind == Kind::Image && !name.to_ascii_lowercase().ends_with(".zip") {
        let stem = name.rsplit_once('.').map_or(name.as_str(), |(stem, _)| stem);
        metadata.insert("image_path".to_owned(), url.into());
        metadata.insert("product_id".to_owned(), stem.into());
        DocumentContent::Picture(bytes)
    } else {
        DocumentContent::File { name, bytes }
    };
    metadata.extend(options.metadata.clone());
    let document = NewDocument { id: Some(url.to_owned()), content: Some(content), metadata };
    let added = engine.add_documents(collection, vec![document])?;
    Ok((added.ids.len(), added.seq))
}
