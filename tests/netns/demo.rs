//! `make demo`: two homes behind two NATs, a public rendezvous, two real daemons and a real curl across.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test fails by panicking")]

#[allow(dead_code, unused_imports)]
mod lab;

use lab::{Nat, TwoHomes, output};

const MEGABYTES: u64 = 200;

fn main() {
    println!("Two homes, each behind its own NAT, and a public rendezvous (all in network namespaces) ...");
    let mut homes = TwoHomes::new(Nat::PortRestricted, Nat::PortRestricted);
    let (a, b) = (homes.a.ipv6.clone(), homes.b.ipv6.clone());
    println!("  home A   192.168.1.2 behind NAT   overlay {a}");
    println!("  home B   192.168.1.2 behind NAT   overlay {b}");
    let first_reply = homes.up_to_first_reply();
    homes.a.ctl(&["wait", "--for", "direct:b", "--timeout", "10s"]);
    let ping = homes.a.ctl(&["ping", "b", "--count", "5"]);

    let share = homes.lab.path("share");
    std::fs::create_dir(&share).expect("a folder for the HTTP server");
    homes.b.host.run(&format!("head -c {MEGABYTES}000000 /dev/urandom > {}/file", share.display()));
    let _server = homes.b.host.http_server(&b, &share);
    println!("\nhome A$ curl http://[{b}]/file");
    let figures = output(
        homes
            .a
            .host
            .command("curl")
            .args(["-sf", "-w", "%{time_starttransfer} %{speed_download}", "-o", "/dev/null"])
            .arg(format!("http://[{b}]/file")),
    );
    let mut figures = figures.split(' ').map(|figure| figure.parse::<f64>().expect("curl's figures"));
    let (first_byte, speed) = (figures.next().unwrap_or_default(), figures.next().unwrap_or_default());

    let peer = homes.a.peer(&homes.b);
    let relayed = homes.rendezvous.status()["relay"]["bytes"].as_u64().unwrap_or(0);
    println!(
        "\n  path              {} ({})",
        peer["path"].as_str().unwrap_or("?"),
        peer["endpoint"].as_str().unwrap_or("?")
    );
    println!("  first reply       {:.0} ms after both daemons were started", first_reply * 1e3);
    println!("  round trip        {:.2} ms", ping["avg_ms"].as_f64().unwrap_or(f64::NAN));
    println!("  time to 1st byte  {:.1} ms", first_byte * 1e3);
    println!("  throughput        {:.0} Mbit/s ({MEGABYTES} MB)", speed * 8.0 / 1e6);
    println!("  over the relay    {:.1} kB", relayed as f64 / 1e3);
}
