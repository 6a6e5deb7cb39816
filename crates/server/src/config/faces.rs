//! Settings of the command line's faces: pictures on a terminal, addresses on the web.

use super::Reader;
use crate::cli::Failure;
use crate::terminal::PictureWish;
use crate::urls::UrlConfig;
use clap::ValueEnum;
use std::time::Duration;

impl Reader<'_> {
    pub(super) fn terminal_pictures(&self) -> Result<PictureWish, Failure> {
        let name = "terminal.pictures";
        let text = self.text(name).unwrap_or_default();
        PictureWish::from_str(text.trim(), true)
            .map_err(|_| self.refuse(name, "auto, kitty, iterm, sixel, blocks or none"))
    }

    /// `None`: nothing is fetched.
    pub(super) fn urls(&self) -> Result<Option<UrlConfig>, Failure> {
        let hosts = self.text("add.url_hosts").unwrap_or_default();
        let hosts = hosts.split([',', ' ', ';']).filter(|host| !host.is_empty());
        let config = UrlConfig {
            hosts: hosts.map(str::to_ascii_lowercase).collect(),
            time: Duration::from_secs(self.positive("add.url_seconds")? as u64),
        };
        Ok(self.yes_or_no("add.urls")?.then_some(config))
    }
}
