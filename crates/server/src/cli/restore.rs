//! `bilin restore`: a backup in the place of a collection.

use super::{Context, Exit, Failure, backup, values};
use clap::Args;

/// What stands in the place is moved to the data folder's quarantine/ and never deleted. Stop the server first.
#[derive(Debug, Args)]
pub(super) struct Restore {
    /// Collection to restore
    collection: String,
    /// The newest backup at or before this time (UTC), such as 2026-01-31 or 2026-01-31T12:00 [default: the newest]
    #[arg(long, value_name = "TIME", value_parser = values::time)]
    at: Option<u64>,
    /// From the other place, by way of the folder of backups
    #[arg(long)]
    remote: bool,
}

pub(super) fn run(args: &Restore, context: &Context) -> Result<Exit, Failure> {
    // What comes from elsewhere may come into an empty folder.
    let engine = if args.remote { context.open()? } else { context.open_existing()? };
    let printer = &context.printer;
    let (restored, info) = {
        let _bar = printer.bar("restoring", None);
        if args.remote {
            context.connect_offsite(&engine)?;
            engine.restore_offsite(&args.collection, args.at)?
        } else {
            engine.restore(&args.collection, args.at)?
        }
    };
    backup::show(&restored, "restored", printer)?;
    // A backup from before a move to another model brings the model of then.
    let of_model = info.settings.model.map(|model| format!(", of model {}", model.id)).unwrap_or_default();
    printer.note(format_args!("{} serves commit {} again{of_model}", info.name, info.status.seq));
    Ok(Exit::Success)
}
