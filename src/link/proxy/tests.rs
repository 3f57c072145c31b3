use tokio::net::TcpListener;

use super::*;

fn proxy(text: &str) -> Proxy {
    text.parse().unwrap()
}

fn url() -> RendezvousUrl {
    let key = crate::identity::Identity::generate(&mut rand_core::OsRng).public_key();
    RendezvousUrl { key, host: "rendezvous.example.org".parse().unwrap(), port: 9000 }
}

#[test]
fn every_spelling_and_none_shows_its_password() {
    for (text, shown, credentials) in [
        ("http://proxy.example.org:3128", "http://proxy.example.org:3128", None),
        ("proxy:8080/", "http://proxy:8080", None),
        ("http://192.0.2.1", "http://192.0.2.1:80", None),
        ("http://[2001:db8::1]:3128", "http://[2001:db8::1]:3128", None),
        ("http://me:p%40ss%3a@proxy:1", "http://proxy:1", Some("me:p@ss:")),
    ] {
        let read = proxy(text);
        assert_eq!((read.to_string(), format!("{read:?}")), (shown.to_owned(), shown.to_owned()));
        assert_eq!(read.credentials.as_ref().map(|text| text.as_str()), credentials, "{text}");
    }
    for wrong in
        ["", "https://proxy:1", "http://:1", "http://proxy:0", "http://a:%4@proxy:1", "socks5://me:a@proxy:1", "a b"]
    {
        assert!(wrong.parse::<Proxy>().is_err(), "{wrong}");
    }
}

/// What a proxy that answers with these bytes leads to, and what it was asked.
async fn answered(credentials: &str, answer: &'static [u8]) -> (Result<(), ProxyError>, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let served = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let asked = read_head(&mut stream).await.unwrap();
        stream.write_all(answer).await.unwrap();
        String::from_utf8(asked).unwrap()
    });
    let result = proxy(&format!("http://{credentials}127.0.0.1:{port}")).connect(&url()).await;
    (result.map(drop), served.await.unwrap())
}

#[tokio::test]
async fn the_proxy_is_asked_for_the_host_by_name_and_told_who_asks() {
    let (result, asked) = answered("me:secret@", b"HTTP/1.1 200 Connection established\r\nVia: x\r\n\r\n").await;
    result.unwrap();
    let expected = "CONNECT rendezvous.example.org:9000 HTTP/1.1\r\nHost: rendezvous.example.org:9000\r\n\
                    Proxy-Authorization: Basic bWU6c2VjcmV0\r\n\r\n";
    assert_eq!(asked, expected);
}

#[tokio::test]
async fn refusals_say_what_to_do() {
    let text = |result: Result<(), ProxyError>| result.unwrap_err().to_string();
    let (result, _) = answered("", b"HTTP/1.0 403 Forbidden\x1b[2J\r\n\r\n").await;
    assert!(text(result).contains("refuses (403 Forbidden[2J)"));
    let (result, _) = answered("", b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n").await;
    assert!(text(result).contains("USER:PASSWORD"));
    let (result, _) = answered("", b"SSH-2.0-OpenSSH\r\n\r\n").await;
    assert!(matches!(result, Err(ProxyError::NotHttp)));
    let (result, _) = answered("", b"HTTP/1.1 20").await;
    assert!(matches!(result, Err(ProxyError::Unreachable(_))), "it ended the connection");
    let endless: &'static [u8] = vec![b'a'; MAX_HEAD + 1].leak();
    let (result, _) = answered("", endless).await;
    assert!(matches!(result, Err(ProxyError::NotHttp)));
}
