//! A way out for TCP through an HTTP CONNECT proxy on the gateway: the real tinyproxy.

use std::path::Path;
use std::time::Duration;

use super::{Gateway, Process, until};

/// A running tinyproxy.
pub struct HttpProxy {
    /// How programs are told: `http://ADDRESS:PORT`.
    pub url: String,
    _process: Process,
}

impl HttpProxy {
    /// Starts it on `gateway`; `folder` is for its configuration.
    pub fn start(gateway: &Gateway, folder: &Path) -> HttpProxy {
        let host = gateway.host();
        std::fs::create_dir_all(folder).expect("a folder for tinyproxy");
        let config = folder.join("tinyproxy.conf");
        // Without ConnectPort every port may be connected to.
        let text = format!("Port 3128\nListen {}\nTimeout 600\nMaxClients 50\nLogLevel Warning\n", host.ip);
        std::fs::write(&config, text).expect("tinyproxy's configuration");
        let process = host.spawn(&format!("tinyproxy -d -c {}", config.display()));
        until("the proxy listens", Duration::from_secs(5), || host.try_run("grep -qi ':0C38 .* 0A ' /proc/net/tcp"));
        HttpProxy { url: format!("http://{}:3128", host.ip), _process: process }
    }
}
