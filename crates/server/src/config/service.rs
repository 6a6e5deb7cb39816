//! Settings of who may come in to the service.

use super::Reader;
use crate::access::{AccessOptions, AuditOptions};
use crate::cli::Failure;
use std::path::Path;

impl Reader<'_> {
    /// Keys, rates, origins and the audit log of a data folder.
    pub(super) fn access(&self, data: &Path) -> Result<AccessOptions, Failure> {
        let audit = match self.yes_or_no("audit.log")? {
            true => Some(AuditOptions {
                data: data.to_path_buf(),
                max_bytes: self.positive("audit.max_bytes")? as u64,
                kept: self.parsed("audit.kept", "a whole number")?,
            }),
            false => None,
        };
        Ok(AccessOptions {
            api_key: self.text("serve.api_key"),
            keys_in: Some(data.to_path_buf()),
            rate_per_s: self.parsed("serve.rate_limit_per_s", "a whole number; 0 for no bound")?,
            rate_burst: self.parsed("serve.rate_limit_burst", "a whole number; 0 for a second's worth")?,
            allowed_origins: self.origins()?,
            audit,
        })
    }

    fn origins(&self) -> Result<Vec<String>, Failure> {
        let told = self.text("serve.allowed_origins").unwrap_or_default();
        let origins: Vec<String> = told.split_whitespace().map(str::to_ascii_lowercase).collect();
        let is_origin = |origin: &String| {
            let host = origin.strip_prefix("https://").or_else(|| origin.strip_prefix("http://"));
            host.is_some_and(|host| !host.is_empty() && !host.contains(['/', '*', '?', '#', '@']))
        };
        match origins.iter().all(is_origin) {
            true => Ok(origins),
            false => Err(self.refuse(
                "serve.allowed_origins",
                "scheme and host, with the port where it is not the usual one, such as https://site.example:8443; no path, no *",
            )),
        }
    }

    /// `yes` and `true`, `no` and `false`.
    pub(super) fn yes_or_no(&self, name: &str) -> Result<bool, Failure> {
        match self.text(name).as_deref() {
            Some("yes" | "true") => Ok(true),
            Some("no" | "false") => Ok(false),
            _ => Err(self.refuse(name, "yes or no")),
        }
    }
}
