//! What the kernel's tables say about IPv6 on this machine, as `/proc` shows it to the calling thread.

use ipnet::Ipv6Net;
use std::{fs, io, net::Ipv6Addr};

/// Routes of the calling thread's network namespace (`/proc/self` would be the main thread's).
const ROUTES: &str = "/proc/thread-self/net/ipv6_route";

/// The name of an interface other than `ours` and the loopback that has a route inside `network`, if any.
///
/// A shorter route that merely covers `network` (a company's `fd00::/8`) does no harm: ours is more specific.
/// Without `/proc` nothing is known and nothing is found.
pub fn rival(network: Ipv6Net, ours: &str) -> Option<String> {
    let table = fs::read_to_string(ROUTES).unwrap_or_default();
    rival_in(&table, network, ours)
}

fn rival_in(table: &str, network: Ipv6Net, ours: &str) -> Option<String> {
    table
        .lines()
        .filter_map(route)
        .find(|(destination, device)| network.contains(destination) && *device != ours && *device != "lo")
        .map(|(_, device)| device.to_owned())
}

/// Destination and device of one line: `destination length source length gateway metric refs use flags device`,
/// numbers in hexadecimal (Documentation/networking/proc_net, `ipv6_route`).
fn route(line: &str) -> Option<(Ipv6Net, &str)> {
    let mut fields = line.split_ascii_whitespace();
    let address = u128::from_str_radix(fields.next()?, 16).ok()?;
    let length = u8::from_str_radix(fields.next()?, 16).ok()?;
    let destination = Ipv6Net::new(Ipv6Addr::from(address), length).ok()?;
    Some((destination, fields.nth(7)?))
}

/// Switches IPv6 on for `interface` where the system's default switched it off, as containers often do.
///
/// A kernel that shows no such switch is left alone: adding the address tells whether IPv6 works.
pub fn enable(interface: &str) -> io::Result<()> {
    let switch = format!("/proc/sys/net/ipv6/conf/{interface}/disable_ipv6");
    match fs::read_to_string(&switch) {
        Ok(value) if value.trim() != "0" => fs::write(&switch, "0"),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "\
fd50494c4f5400000000000000000000 40 00000000000000000000000000000000 00 00000000000000000000000000000000 00000100 00000001 00000000 00000001   pilot0
fd000000000000000000000000000000 08 00000000000000000000000000000000 00 00000000000000000000000000000000 00000100 00000001 00000000 00000001     eth0
fd50494c4f540000000000000000abcd 80 00000000000000000000000000000000 00 00000000000000000000000000000000 00000000 00000002 00000000 80200001       lo
garbage
";

    fn network() -> Ipv6Net {
        "fd50:494c:4f54::/64".parse().unwrap()
    }

    #[test]
    fn another_interface_with_our_network_is_found() {
        assert_eq!(rival_in(TABLE, network(), "pilot1").as_deref(), Some("pilot0"));
    }

    #[test]
    fn our_own_route_the_loopback_and_wider_routes_do_no_harm() {
        assert_eq!(rival_in(TABLE, network(), "pilot0"), None);
    }

    #[test]
    fn another_network_of_the_overlay_is_free() {
        let other = "fd50:494c:4f54:7::/64".parse().unwrap();
        assert_eq!(rival_in(TABLE, other, "pilot1"), None);
    }
}
