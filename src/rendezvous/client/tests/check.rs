//! STUN servers of the user, and checks that somebody asked for.

use super::*;

const EXTRA: &str = "192.0.2.77:3478";
const SEEN: &str = "198.51.100.1:40000";

/// Answers one request as a server that saw us at `seen`.
fn reply(client: &mut Client, now: Now, (to, request): &(SocketAddr, Vec<u8>), seen: &str) {
    let mut answer = [0; 100];
    let reflection = stun::respond(request, endpoint(seen), None, &mut answer).unwrap();
    client.handle_stun(now, MAIN, *to, &answer[..reflection.len]).unwrap();
}

/// The STUN requests that went to this server.
fn requests(out: &Out, server: &str) -> Vec<(SocketAddr, Vec<u8>)> {
    let is_one = |(to, payload): &&(SocketAddr, Vec<u8>)| *to == endpoint(server) && payload.len() == stun::REQUEST_LEN;
    out.transmitted.iter().filter(is_one).cloned().collect()
}

fn later(now: Now, millis: u64) -> Now {
    now.after(Duration::from_millis(millis))
}

/// A client that is logged in, with a further server that saw it at `seen`.
fn with_extra(now: Now, seen: &str) -> Client {
    let mut client = logged_in(now, SAME);
    drain(&mut client);
    client.set_stun(now, &[endpoint(EXTRA)]);
    let out = drain(&mut client);
    reply(&mut client, now, &requests(&out, EXTRA)[0], seen);
    client
}

#[test]
fn a_users_server_is_asked_at_once_even_without_a_rendezvous() {
    let now = start();
    let mut client = client(now);
    client.set_stun(now, &[endpoint(EXTRA)]);
    let out = drain(&mut client);
    reply(&mut client, now, &requests(&out, EXTRA)[0], SEEN);
    assert_eq!(drain(&mut client).notices, [Notice::Changed]);
    assert_eq!((client.reflexive(), client.stun_server()), (vec![endpoint(SEEN)], Some(endpoint(EXTRA))));
    client.set_stun(now, &[]);
    assert_eq!((client.reflexive(), drain(&mut client).notices), (vec![], vec![Notice::Changed]));
}

#[test]
fn a_users_server_that_is_gone_delays_no_login() {
    let now = start();
    let mut client = client(now);
    client.set_stun(now, &[endpoint(EXTRA)]);
    client.handle_link(now, up()).unwrap();
    client.handle_link(now, welcome(1)).unwrap();
    let mut out = drain(&mut client);
    assert!(!requests(&out, EXTRA).is_empty());
    out.transmitted.retain(|(to, _)| *to != endpoint(EXTRA));
    answer(&mut client, now, &out, SAME, endpoint("192.0.2.1:9001"));
    assert_eq!(drain(&mut client).notices, [Notice::Gathered]);
}

#[test]
fn another_address_shows_whether_the_mapping_depends_on_it() {
    let now = start();
    assert_eq!(with_extra(now, SEEN).nat().mapping, Mapping::EndpointIndependent);
    assert_eq!(with_extra(now, "198.51.100.1:40777").nat().mapping, Mapping::AddressDependent);
}

#[test]
fn a_nat_that_moved_us_is_not_taken_for_one_that_maps_by_destination() {
    let mut client = with_extra(start(), SEEN);
    let now = later(start(), 121_000);
    client.handle_timeout(now);
    let out = drain(&mut client);
    for server in ["192.0.2.1:9001", "192.0.2.1:9002", EXTRA] {
        reply(&mut client, now, &requests(&out, server)[0], "198.51.100.1:41111");
        assert_eq!(client.nat().mapping, Mapping::EndpointIndependent, "after {server}");
    }
    assert_eq!(client.reflexive(), [endpoint("198.51.100.1:41111")]);
}

#[test]
fn a_check_asks_everybody_and_ends_with_the_last_answer() {
    let now = start();
    let mut client = with_extra(now, SEEN);
    let now = later(now, 5_000);
    client.handle_timeout(now);
    drain(&mut client);
    client.behaviour = Behaviour::new();
    assert!(client.is_checked());
    client.doubt(now);
    let out = drain(&mut client);
    assert!(!client.is_checked());
    let answered = later(now, 40);
    answer(&mut client, answered, &out, SAME, endpoint("192.0.2.1:9001"));
    assert!(client.is_checked());
    let report = client.report();
    assert!(report.stun.iter().all(|port| port.seen == Some(endpoint(SEEN))), "{report:?}");
    let rtts: Vec<_> = report.stun.iter().filter_map(|port| port.rtt).map(|rtt| rtt.last.as_millis()).collect();
    assert_eq!(rtts, [40, 40, 40]);
    assert_eq!((report.relay, client.relay_rtt()), (Some(endpoint("192.0.2.1:9001")), Some(Duration::from_millis(40))));
}

#[test]
fn a_check_gives_up_silent_servers_within_two_seconds_and_says_so() {
    let now = start();
    let mut client = with_extra(now, SEEN);
    client.behaviour = Behaviour::new();
    let now = later(now, 600);
    client.doubt(now);
    let mut out = drain(&mut client);
    out.transmitted.retain(|(to, _)| *to != endpoint(EXTRA));
    answer(&mut client, now, &out, SAME, endpoint("192.0.2.1:9001"));
    for tenth in 1..20 {
        client.handle_timeout(later(now, tenth * 100));
    }
    assert!(client.reflexive.is_over());
    let silent = client.report().stun.into_iter().find(|port| port.server == endpoint(EXTRA)).unwrap();
    assert_eq!((silent.seen, silent.rtt, silent.whose), (None, None, Whose::Extra));
}

#[test]
fn a_round_trip_is_measured_from_the_request_that_was_answered() {
    let now = start();
    let mut client = client(now);
    client.set_stun(now, &[endpoint(EXTRA)]);
    drain(&mut client);
    let again = later(now, 250);
    client.handle_timeout(again);
    let out = drain(&mut client);
    reply(&mut client, later(again, 30), &requests(&out, EXTRA)[0], SEEN);
    let rtt = client.report().stun[0].rtt.unwrap();
    assert_eq!((rtt.last.as_millis(), rtt.smoothed.as_millis()), (30, 30));
}
