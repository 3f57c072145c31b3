//! Where things are when nothing else is said: the folders of systemd, of the system for root, or of the user (XDG).

use std::path::PathBuf;

/// The folder that a variable names: the first, if systemd names several.
fn folder(variable: &str) -> Option<PathBuf> {
    let value = std::env::var_os(variable)?;
    std::env::split_paths(&value).next().filter(|path| path.is_absolute())
}

fn home(variable: &str, below_home: &str) -> PathBuf {
    let user = || folder("HOME").unwrap_or_else(|| "/".into()).join(below_home);
    folder(variable).unwrap_or_else(user).join("pilot")
}

fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

/// The state folder of a node.
pub fn state() -> PathBuf {
    match folder("STATE_DIRECTORY") {
        Some(folder) => folder,
        None if is_root() => "/var/lib/pilot".into(),
        None => home("XDG_STATE_HOME", ".local/state"),
    }
}

/// The local socket of a node.
pub fn socket() -> PathBuf {
    match folder("RUNTIME_DIRECTORY") {
        Some(folder) => folder.join("pilotd.sock"),
        None => crate::control::default_socket(),
    }
}

/// The configuration file, which need not exist.
pub fn config() -> PathBuf {
    match folder("CONFIGURATION_DIRECTORY") {
        Some(folder) => folder.join("pilotd.toml"),
        None if is_root() => "/etc/pilot/pilotd.toml".into(),
        None => home("XDG_CONFIG_HOME", ".config").join("pilotd.toml"),
    }
}
