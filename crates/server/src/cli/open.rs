//! Opening the data folder for a command.

use super::{Context, Failure};
use crate::offsite;
use bilin_engine::Engine;

impl Context {
    /// Opens the data folder; makes it when it is not there.
    pub(super) fn open(&self) -> Result<Engine, Failure> {
        Ok(Engine::open(self.config.engine.clone())?)
    }

    /// What a model that is named on the command line stands for: one that was pulled has a name of its own.
    pub(super) fn model_id(&self, named: &str) -> String {
        bilin_engine::resolve_model(&self.config.engine.data, named)
    }

    /// Gives the engine the place for backups beyond this machine, which must be configured.
    pub(super) fn connect_offsite(&self, engine: &Engine) -> Result<(), Failure> {
        if offsite::connect(engine, &self.config)? {
            return Ok(());
        }
        Err(Failure::mendable("no place for backups beyond this machine is configured").with_hint(
            "set backups.remote_url (BILIN_BACKUP_URL), such as s3://bucket/prefix or file:///mnt/backups",
        ))
    }

    /// Opens the data folder that must be there already: looking for something makes nothing on disk.
    pub(super) fn open_existing(&self) -> Result<Engine, Failure> {
        let data = &self.config.engine.data;
        if !data.is_dir() {
            return Err(Failure::mendable(format!(
                "there is no data folder {:?}",
                data.display().to_string()
            ))
            .with_hint(
                "make one with bilin add COLLECTION PATH or bilin demo, or name another with --data DIR",
            ));
        }
        self.open()
    }
}
