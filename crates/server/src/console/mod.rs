//! The page at `/`: plain files, embedded in the binary, served without a build step.
