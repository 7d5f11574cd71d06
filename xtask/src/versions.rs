//! Versions of the example service, packed as CI would leave them.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

/// A version of `examples/checkout`.
#[derive(Debug, Clone, Copy)]
pub struct Version {
    /// Such as `1.2.0`.
    pub number: &'static str,
    /// The content of its `fault.conf`; empty for a good one.
    pub faults: &'static str,
}

/// Good.
pub const FIRST: Version = Version {
    number: "1.0.0",
    faults: "",
};
/// Good.
pub const GOOD: Version = Version {
    number: "1.1.0",
    faults: "",
};
/// Answers 3 % of requests with an error.
pub const ERRORS: Version = Version {
    number: "1.2.0",
    faults: "CHECKOUT_ERRORS=3%\n",
};
/// Answers a fifth of requests 400 ms later.
pub const SLOW: Version = Version {
    number: "1.3.0",
    faults: "CHECKOUT_LATENCY=+400ms@20%\n",
};

/// Its autoscaler tries in vain twice a second.
pub const SCALING: Version = Version {
    number: "1.4.0",
    faults: "CHECKOUT_SCALE_ERRORS=2/s\n",
};

/// Lays a version out in `folder/NUMBER`: the program, its version, and its faults.
///
/// # Errors
/// Where the program is not built or the folder cannot be written.
pub fn pack(program: &Path, version: Version, folder: &Path) -> anyhow::Result<PathBuf> {
    let to = folder.join(version.number);
    fs::create_dir_all(&to).with_context(|| format!("cannot make {}", to.display()))?;
    let copy = to.join("checkout");
    fs::copy(program, &copy).with_context(|| {
        format!(
            "cannot copy {} (built by `cargo build -p checkout`)",
            program.display()
        )
    })?;
    fs::set_permissions(&copy, fs::Permissions::from_mode(0o755))?;
    // Two good versions differ in something, or they would be one artifact.
    fs::write(to.join("VERSION"), format!("{}\n", version.number))?;
    if !version.faults.is_empty() {
        fs::write(to.join("fault.conf"), version.faults)?;
    }
    Ok(to)
}
