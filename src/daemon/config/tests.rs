use std::collections::BTreeSet;
use std::path::Path;

use super::*;

const EXAMPLE: &str = include_str!("../../../config/pilotd.toml");

fn from_file(text: &str) -> Result<Config, ConfigError> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("pilotd.toml");
    std::fs::write(&path, text).unwrap();
    Config::new(&Up { config: Some(path), ..Up::default() }, &|_| "flag")
}

#[test]
fn the_example_is_understood_and_changes_nothing() {
    let example = from_file(EXAMPLE).unwrap();
    let default = from_file("").unwrap();
    assert_eq!(example.settings, default.settings, "every key is commented out");
}

#[test]
fn every_key_stands_in_the_example_with_its_default() {
    let uncommented: String = EXAMPLE
        .lines()
        .map(|line| match line.strip_prefix('#') {
            Some(setting) if !setting.starts_with(' ') => format!("{setting}\n"),
            _ => format!("{line}\n"),
        })
        .collect();
    let all = from_file(&uncommented).unwrap();
    let missing: Vec<_> = all.settings.iter().filter(|setting| setting.origin != "file").map(|s| &s.key).collect();
    assert!(missing.is_empty(), "not in config/pilotd.toml: {missing:?}");
    let keys: BTreeSet<_> = all.settings.iter().map(|setting| setting.key.clone()).collect();
    assert_eq!(keys, from_file("").unwrap().settings.into_iter().map(|setting| setting.key).collect());
    assert_eq!(all.wireguard.len(), 1);
    assert_eq!((all.mtu, all.firewall, all.mutual_by_name), (1420, true, true));
}

#[test]
fn a_flag_goes_before_the_file_and_the_file_before_the_default() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("pilotd.toml");
    std::fs::write(&path, "mtu = 1300\nnetwork = 7\n").unwrap();
    let up = Up { config: Some(path), mtu: Some(1400), ..Up::default() };
    let config = Config::new(&up, &|_| "environment").unwrap();
    assert_eq!((config.mtu, config.network, config.listen_port), (1400, Network(7), 0));
    let origin = |key: &str| config.settings.iter().find(|setting| setting.key == key).unwrap().origin.clone();
    assert_eq!([origin("mtu"), origin("network"), origin("listen_port")], ["environment", "file", "default"]);
}

#[test]
fn errors_name_file_line_and_key() {
    let parse = |text: &str| File::parse(Path::new("pilotd.toml"), text).unwrap_err().to_string();
    let unknown = parse("interface = \"pilot0\"\n\n[rendezvous]\nurll = \"x\"\n");
    assert!(unknown.starts_with("pilotd.toml:4: ") && unknown.contains("urll") && unknown.contains("url"), "{unknown}");
    assert!(parse("mtu = \"big\"\n").starts_with("pilotd.toml:1: "));
    let value = from_file("hostname = \"Not A Name\"").unwrap_err().to_string();
    assert!(value.contains("hostname") && value.contains("Not A Name") && value.contains("file"), "{value}");
    let peer = |mtu: &str| {
        let text = "[[wireguard.peers]]\npublic_key = \"HIgo9xNzJMWLKASShiTqIybxZ0U3wGLiUeJ1PKf8ykw=\"\n\
                    address = \"fd50:494c:4f54::ffff:0:1\"\n";
        from_file(&format!("{text}{mtu}")).map(|config| config.wireguard[0].mtu)
    };
    assert_eq!((peer("").unwrap(), peer("mtu = 1420").unwrap()), (1280, 1420));
    assert!(peer("mtu = 1500").unwrap_err().to_string().contains("1280 to 1420"));
    assert!(from_file("mtu = 9000").unwrap_err().to_string().contains("1280 to 1420"));
}

#[test]
fn stun_servers_come_from_flags_or_the_file_and_must_be_hosts() {
    let hosts = |config: Config| config.stun.iter().map(ToString::to_string).collect::<Vec<_>>();
    let file = "stun = [\"stun.example.org\", \"192.0.2.1:3479\", \"[2001:db8::1]:3478\"]";
    assert_eq!(hosts(from_file(file).unwrap()), ["stun.example.org", "192.0.2.1:3479", "[2001:db8::1]:3478"]);
    let up = Up { stun: vec!["other.example.org".into()], ..Up::default() };
    assert_eq!(hosts(Config::new(&up, &|_| "flag").unwrap()), ["other.example.org"]);
    let wrong = from_file("stun = [\"a b\"]").unwrap_err().to_string();
    assert!(wrong.contains("stun") && wrong.contains("a b") && wrong.contains("file"), "{wrong}");
    let many = format!("stun = [{}]", "\"a\", ".repeat(9));
    assert!(from_file(&many).unwrap_err().to_string().contains("at most 8 are used"));
}

#[test]
fn a_named_file_must_exist() {
    let up = Up { config: Some("/nonexistent/pilotd.toml".into()), ..Up::default() };
    assert!(Config::new(&up, &|_| "flag").unwrap_err().to_string().contains("/nonexistent/pilotd.toml"));
}

#[test]
fn a_proxys_password_is_never_shown() {
    let config = from_file("proxy = \"http://me:secret@proxy:3128\"").unwrap();
    let shown = config.settings.iter().find(|setting| setting.key == "proxy").unwrap();
    assert_eq!(shown.value, "http://proxy:3128");
    let wrong = from_file("proxy = \"socks5://me:secret@proxy\"").unwrap_err().to_string();
    assert!(wrong.contains("proxy") && !wrong.contains("secret"), "{wrong}");
}
