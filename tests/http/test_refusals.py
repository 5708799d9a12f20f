"""What the service refuses, and how it says so."""
import json
from harness import *


def refused(r, status, param=None, word=None):
    assert r.status == status, (r.status, r.body)
    assert r.error["param"] == param, r.error
    if word:
        assert word in r.error["message"], r.error
    return r


@test
def unknown_paths(s):
    for path in ("/nope", "/v1", "/v1/", "/v1/search/", "/v1/documents/a/b", "/www/", "/www/nope.js", "/a/b/c/d/e/f/g/h/i/j"):
        refused(s.get(path), 404)
    refused(s.post("/v1/answers/a/replay", {}), 404)


@test
def wrong_methods(s):
    for method, path, allow in (("PUT", "/v1/documents", "GET, POST"), ("GET", "/v1/search", "POST"), ("DELETE", "/", "GET"), ("POST", "/healthz", "GET"),
                                ("OPTIONS", "/v1/answers", "POST"), ("PATCH", "/v1/documents/x", "GET, DELETE")):
        assert refused(s.ask(method, path), 405).headers["Allow"] == allow


@test
def head_is_get_without_body(s):
    r = s.ask("HEAD", "/healthz")
    assert (r.status, r.body) == (200, b"") and int(r.headers["Content-Length"]) > 0


@test
def bodies_that_are_no_json(s):
    for path in ("/v1/search", "/v1/answers", "/v1/documents"):
        for body in (b"", b"{", b"[1]", b'"x"', b"null", b"{} trailing", b'{"query":"\xff"}', b"[" * 5000, b'{"a":1e999}', b'{"query":"a\\u0000b"}'):
            refused(s.ask("POST", path, body), 400)


@test
def wrong_types_name_the_field(s):
    for path, field, values in (
            ("/v1/search", "query", (1, [], {}, True)), ("/v1/search", "k", ("5", 0, -1, 1.5, 1e9, True)), ("/v1/search", "mode", ("quick", 3)),
            ("/v1/search", "highlight", ("yes", 1)), ("/v1/search", "cursor", ("x", "-1", "99999", 5)), ("/v1/search", "collection", ("", "a b", "x" * 65, 7)),
            ("/v1/answers", "question", (1, None, [])), ("/v1/answers", "stream", ("true", 1)), ("/v1/answers", "k", (0, 101, "3")),
            ("/v1/answers", "style", ("poetry", 1)), ("/v1/answers", "max_tokens", (0, 1.5, "9")), ("/v1/answers", "temperature", (-0.1, 2.1, "hot")),
            ("/v1/answers", "seed", (-1, 0.5, "1")), ("/v1/answers", "prompt", ("no-such-template", 1)),
            ("/v1/answers", "history", ({}, [1], [{"role": "system", "content": "x"}], [{"role": "user"}], "x")),
            ("/v1/documents", "text", (None, "", 1)), ("/v1/documents", "acl", ("g", [1], [""])), ("/v1/documents", "meta", ([], "x")), ("/v1/documents", "title", (3,))):
        for v in values:
            good = {"query": "x", "question": "x", "text": "x"}
            refused(s.post(path, {**good, field: v}), 400, field)
    refused(s.post("/v1/search", {}), 400, "query")
    refused(s.post("/v1/search", {"query": " \n "}), 400, "query")
    refused(s.post("/v1/answers", {"question": ""}), 400, "question")
    refused(s.post("/v1/answers", {"question": "x" * 2001}), 400, "question")


@test
def fields_that_ask_for_nothing(s):
    refused(s.ask("DELETE", "/v1/documents/x?erase=maybe"), 400, "erase")
    # the same fields asking for nothing, and fields that nobody knows
    assert s.post("/v1/search", {"query": "x", "filter": "", "facets": [], "group": None, "explain": False, "unknown": 1}).status == 200


@test
def parameters(s):
    for q, param in (("limit=0", "limit"), ("limit=1001", "limit"), ("limit=x", "limit"), ("limit=-1", "limit"), ("limit=+5", "limit"), ("limit=5%20", "limit"),
                     ("limit=99999999999999999999", "limit"), ("cursor=x", "cursor"), ("verdict=great", "verdict"), ("collection=a/b", "collection"), ("limit=1&limit=2", "limit")):
        refused(s.get("/v1/documents?" + q), 400, param)
    for path in ("/v1/documents/%zz", "/v1/documents/%", "/v1/documents/%00", "/v1/documents/%ff", "/v1/documents?x=%c3", "/v1/documents?" + "&".join(f"p{i}=1" for i in range(40))):
        refused(s.get(path), 400)
    refused(s.get("/v1/documents/x/text?start=5&end=4"), 400, "end")
    refused(s.get("/v1/documents/x/text?start=-1"), 400, "start")
    refused(s.get("/v1/documents/no-such-document"), 404)
    refused(s.get("/v1/documents/no-such-document/text"), 404)
    refused(s.ask("DELETE", "/v1/documents/no-such-document"), 404)


@test(serve__body_bytes_max="64k")
def bodies_over_the_limit(s):
    big = b'{"text":"' + b"x" * 80000 + b'"}'
    refused(s.ask("POST", "/v1/documents", big), 413)
    with s.socket() as c:        # without a length told beforehand
        c.sendall(b"POST /v1/documents HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _ in range(10):
            c.sendall(b"4000\r\n" + b"x" * 0x4000 + b"\r\n")
        c.sendall(b"0\r\n\r\n")
        assert read_reply(c.makefile("rb"))[0] == 413
    with s.socket() as c:        # a client that waits for leave is not invited to send it
        c.sendall(b"POST /v1/documents HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: 900000\r\n\r\n")
        assert read_reply(c.makefile("rb"))[0] == 413
    with s.socket() as c:
        c.sendall(b"POST /v1/documents HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999999999999999999\r\n\r\n")
        assert read_reply(c.makefile("rb"))[0] in (400, 413)
    s.settle("footnote_http_body_bytes", 0)
    assert s.get("/healthz").status == 200


@test
def questions_over_their_limit(s):
    refused(s.ask("POST", "/v1/search", b'{"query":"' + b"x" * (1 << 20) + b'"}'), 413)
    r = refused(s.ask("POST", "/v1/search", b'{"query":' + b"[" * 100), 400)
    assert r.error["type"] == "invalid_request_error" and r.error["code"] == "limit", r.error     # waiting does not help


@test
def strangers(s):
    for host in ("evil.example", "evil.example:80", "127.0.0.1.evil.example", "10.0.0.1", "[::2]", "localhost:x", "", "127.0.0.1:99999", "a@127.0.0.1"):
        refused(s.get("/readyz", headers={"Host": host}), 403)
    for host in ("localhost", "LOCALHOST:1", "127.0.0.1", "127.9.9.9:5", "[::1]:8080"):
        assert s.get("/readyz", headers={"Host": host}).status == 200, host
    for origin in ("http://evil.example", "null", "https://127.0.0.1:%d" % s.port, "http://127.0.0.1:1"):
        refused(s.post("/v1/search", {"query": "x"}, headers={"Origin": origin}), 403)
        refused(s.ask("DELETE", "/v1/documents/x", headers={"Origin": origin}), 403)
    refused(s.post("/v1/search", {"query": "x"}, headers={"Sec-Fetch-Site": "cross-site"}), 403)
    own = "http://127.0.0.1:%d" % s.port
    r = s.post("/v1/search", {"query": "x"}, headers={"Origin": own, "Sec-Fetch-Site": "same-origin"})
    assert r.status == 200 and not any(h.lower().startswith("access-control") for h in r.headers)
    with s.socket() as c:
        c.sendall(b"GET /readyz HTTP/1.1\r\n\r\n")
        assert read_reply(c.makefile("rb"))[0] == 400


@test
def request_ids(s):
    assert s.get("/healthz", headers={"X-Request-Id": "abc-1.2_3"}).headers["X-Request-Id"] == "abc-1.2_3"
    for bad in ("a b", "x" * 65, "ü", '"', "a/b"):
        got = s.get("/healthz", headers={"X-Request-Id": bad.encode("latin-1")}).headers["X-Request-Id"]
        assert got != bad and len(got) == 32, got
    assert s.get("/healthz").headers["X-Request-Id"] != s.get("/healthz").headers["X-Request-Id"]


@test(serve__idle_timeout_s=3)
def broken_http(s):
    for junk in (b"\x00\x01\x02\r\n\r\n", b"GET\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"GET /" + b"a" * 100000 + b" HTTP/1.1\r\n\r\n",
                 b"GET / HTTP/1.1\r\nHost: localhost\r\n" + b"X-A: " + b"b" * 100000 + b"\r\n\r\n", b"POST /v1/search HTTP/1.1\r\nHost: localhost\r\nContent-Length: x\r\n\r\n",
                 b"POST /v1/search HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"):
        with s.socket() as c:
            try:
                c.sendall(junk)
                c.shutdown(1)
                while c.recv(65536):
                    pass
            except OSError:      # it may be thrown out in mid-sentence
                pass
    assert s.get("/healthz").status == 200


@test
def page(s):
    r = s.get("/")
    assert r.status == 200 and r.headers["Content-Type"].startswith("text/html")
    assert "default-src 'self'" in r.headers["Content-Security-Policy"] and r.headers["X-Content-Type-Options"] == "nosniff"
    assert "<script>" not in r.text and "style=" not in r.text and " onclick" not in r.text
    for path in re.findall(r'(?:src|href)="(/[^"]+)"', r.text):
        f = s.get(path)
        assert f.status == 200 and f.body, path
    assert "http://" not in s.get("/www/footnote.js").text.replace("http://www.w3.org", "")
