use proptest::prelude::*;

use super::*;

const TRACEPARENT: &str = "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n";

fn request(text: &str) -> Option<Request> {
    match read(text.as_bytes()) {
        Some(Head::Request(request)) => Some(request),
        Some(Head::Response { .. }) => panic!("{text} is no response"),
        None => None,
    }
}

fn url_of(first_line: &str, fields: &str) -> Option<String> {
    request(&format!("{first_line}\r\n{fields}\r\n")).map(|request| request.url)
}

#[test]
fn a_request_says_what_it_asks_for_and_which_trace_it_is_part_of() {
    let text =
        format!("POST /cart?user=7 HTTP/1.1\r\nHost: shop.test:8080\r\nAuthorization: secret\r\n{TRACEPARENT}\r\n{{}}");
    let read = request(&text).unwrap();
    assert_eq!(
        (read.method.as_str(), read.url.as_str(), read.protocol),
        ("POST", "http://shop.test:8080/cart", "HTTP/1.1")
    );
    let trace = read.trace.unwrap();
    assert_eq!(trace.trace_id(), "0af7651916cd43dd8448eb211c80319c");
    assert_eq!(trace.span_id(), "b7ad6b7169203331");
}

#[test]
fn a_url_is_made_of_target_and_host_and_has_no_secrets() {
    for (first_line, fields, url) in [
        ("GET / HTTP/1.0", "", "/"),
        ("GET /a/b?token=x HTTP/1.1", "host: h.test\r\n", "http://h.test/a/b"),
        (
            "GET http://me:secret@h.test:81/a?b#c HTTP/1.1",
            "Host: other\r\n",
            "http://h.test:81/a",
        ),
        ("GET https://h.test HTTP/1.1", "Host: other\r\n", "https://h.test/"),
        ("CONNECT h.test:443 HTTP/1.1", "Host: h.test:443\r\n", "h.test:443"),
        ("OPTIONS * HTTP/1.1", "Host: h.test\r\n", "http://h.test"),
        ("GET /v6 HTTP/1.1", "Host: [fd99::2]:80\r\n", "http://[fd99::2]:80/v6"),
        ("GET /twice HTTP/1.1", "Host: a\r\nHost: b\r\n", "/twice"),
        ("GET /bad HTTP/1.1", "Host: a b\r\n", "/bad"),
        ("GET /user HTTP/1.1", "Host: me:secret@h.test\r\n", "http://h.test/user"),
    ] {
        assert_eq!(url_of(first_line, fields).as_deref(), Some(url), "{first_line}");
    }
}

#[test]
fn what_is_no_request_has_no_row() {
    for text in [
        "GET ",
        "GET / HTTP/1.1",
        "GET /\r\n\r\n",
        "GET / HTTP/2.0\r\n\r\n",
        "GET  / HTTP/1.1\r\n\r\n",
        "POST office\r\n\r\n",
        "PUT the lid on\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "DELEGATE / HTTP/1.1\r\n\r\n",
    ] {
        assert_eq!(request(text), None, "{text}");
    }
}

#[test]
fn a_trace_that_is_there_twice_is_none() {
    let text = format!("GET / HTTP/1.1\r\n{TRACEPARENT}{TRACEPARENT}\r\n");
    assert_eq!(request(&text).unwrap().trace, None);
}

#[test]
fn of_a_response_only_the_first_line_is_read() {
    for text in [
        "HTTP/1.1 404 Not Found\r\nContent-Le",
        "HTTP/1.1 404\r\n\r\n",
        "HTTP/1.1 404 Not Found\r\n\0\0\0",
    ] {
        assert_eq!(
            read(text.as_bytes()),
            Some(Head::Response {
                code: 404,
                protocol: "HTTP/1.1"
            }),
            "{text}"
        );
    }
    for text in [
        "HTTP/1.1 404 Not Fou",
        "HTTP/1.1 4040 x\r\n",
        "HTTP/3 200 OK\r\n",
        "HTTP/1.1\r\n",
    ] {
        assert_eq!(read(text.as_bytes()), None, "{text}");
    }
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(start in 0..5_usize, rest in proptest::collection::vec(any::<u8>(), 0..300)) {
        let start: &[u8] = [b"".as_slice(), b"GET ", b"GET / HTTP/1.1\r\n", b"HTTP/1.1 ", b"OPTIONS http://"][start];
        if let Some(Head::Request(request)) = read(&[start, &rest].concat()) {
            prop_assert!(!request.url.contains('?'), "{}", request.url);
        }
    }

    #[test]
    fn a_head_that_is_split_anywhere_has_no_row_or_a_right_one(at in 0..200_usize) {
        let whole = format!("GET /a?b HTTP/1.1\r\nHost: h.test\r\n{TRACEPARENT}X-More: what is not looked at\r\n\r\n");
        let expected = request(&whole).unwrap();
        let (first, second) = whole.split_at(at.min(whole.len()));
        if let Some(read) = request(first) {
            prop_assert_eq!(&read.method, &expected.method);
            prop_assert!(["/a", "http://h.test/a"].contains(&read.url.as_str()), "{}", read.url);
            prop_assert!(read.trace.is_none() || read.trace == expected.trace);
        }
        if at > 0 {
            prop_assert_eq!(request(second), None, "the rest of a head");
        }
    }
}
