//! Where and by what a report was measured.

use crate::Device;
use serde::Serialize;

/// What a figure depends on besides its settings.
#[derive(Clone, Debug, Serialize)]
pub struct Machine {
    /// The device's own description.
    pub device: String,
    /// The processor's name, as the system gives it.
    pub cpu: String,
    /// This program's version.
    pub version: &'static str,
    /// The commit it was built from, with `-dirty` where files were changed; `unknown` outside a repository.
    pub commit: &'static str,
}

impl Machine {
    /// Of this process and `device`.
    pub fn of(device: &Device) -> Self {
        Self {
            device: device.description(),
            cpu: cpu_name(),
            version: env!("CARGO_PKG_VERSION"),
            commit: option_env!("ROCL_COMMIT").unwrap_or("unknown"),
        }
    }
}

fn cpu_name() -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name =
        info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':').map(|(_, name)| name.trim().to_owned()));
    name.unwrap_or_else(|| std::env::consts::ARCH.to_owned())
}

/// The most memory this process ever had resident, in bytes; 0 where the system does not tell.
pub fn peak_resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let kibibytes =
        status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
    kibibytes.unwrap_or(0) * 1024
}
