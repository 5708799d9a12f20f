"""Clients that are many, slow, rude or gone."""
import select, threading, time
from harness import *
from test_answers import fill

RUNNING = 'footnote_jobs_running{pool="%s"}'
LONG = {"question": "How many days of paid leave do employees receive, and how are they carried over?", "collection": "answers", "stream": True, "max_tokens": 160}


@test(serve__answer_threads=1, serve__answer_queue=1, generate__model="small", answers__cache_bytes=0)
def a_full_queue_says_so(s):
    fill(s)
    conns = [s.connect() for _ in range(12)]
    for c in conns:
        c.request("POST", "/v1/answers", json.dumps({**LONG, "stream": False}), {"Content-Type": "application/json"})
    replies = [Reply(r.status, r.headers, r.read()) for r in (c.getresponse() for c in conns)]
    got = [r.status for r in replies]
    assert set(got) == {200, 429} and 1 <= got.count(200) <= 6, got
    for r in replies:
        if r.status == 429:
            assert int(r.headers["Retry-After"]) > 0 and "queue" in r.error["message"]
    assert s.get("/readyz").status == 200
    s.settle(RUNNING % "answer", 0)


@test(generate__model="small", answers__cache_bytes=0)
def clients_that_leave(s):
    fill(s)
    for i in range(12):
        c = s.socket()
        c.sendall(raw("POST", "/v1/answers", json.dumps({**LONG, "stream": i % 2 == 0}).encode()))
        if i % 3 == 0:
            c.recv(100)
        c.close()
    s.settle(RUNNING % "answer", 0, 30)
    s.settle('footnote_jobs_waiting{pool="answer"}', 0)
    s.settle("footnote_http_requests_open", 1)
    r = s.post("/v1/answers", {**LONG, "stream": False})
    assert r.status == 200, r.body


@test(serve__idle_timeout_s=3)
def clients_that_leave_in_mid_body(s):
    # one whose end arrives together with its last bytes is only noticed at the idle timeout
    for cut in (0, 10, 200):
        for _ in range(10):
            c = s.socket()
            c.sendall(raw("POST", "/v1/documents", b'{"text":"' + b"x" * 5000 + b'"}')[:100 + cut])
            c.close()
    s.settle("footnote_http_requests_open", 1)
    s.settle("footnote_http_body_bytes", 0)


@test
def a_slow_reader_gets_everything(s):
    text = " ".join(f"word{i}" for i in range(3000))
    id, times = s.push(text, collection="slow"), 400
    with s.socket() as c:
        c.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        sender = threading.Thread(target=c.sendall, args=(raw("GET", f"/v1/documents/{id}/text") * times,))
        sender.start()
        time.sleep(1)
        assert s.get("/healthz").status == 200
        f = c.makefile("rb", buffering=2048)
        for _ in range(times):
            assert read_reply(f)[2].decode().strip() == text
        sender.join()


@test
def pipelined_requests_are_answered_in_order(s):
    fill(s)
    with s.socket() as c:
        q = json.dumps({"query": "hotel", "collection": "answers", "k": 1}).encode()
        a = json.dumps({"question": "What is the limit for a hotel night?", "collection": "answers", "stream": True}).encode()
        c.sendall(raw("GET", "/healthz", headers="X-Request-Id: r1\r\n") + raw("POST", "/v1/search", q, "X-Request-Id: r2\r\n") +
                  raw("POST", "/v1/answers", a, "X-Request-Id: r3\r\n") + raw("GET", "/nope", headers="X-Request-Id: r4\r\n") + raw("GET", "/readyz", headers="X-Request-Id: r5\r\n"))
        f = c.makefile("rb")
        got = [read_reply(f) for _ in range(5)]
    assert [(g[0], g[1]["x-request-id"]) for g in got] == [(200, "r1"), (200, "r2"), (200, "r3"), (404, "r4"), (200, "r5")], got
    assert b"event: done" in got[2][2]


@test
def a_connection_is_kept(s):
    c = s.connect()
    for i in range(50):
        assert s.get("/healthz", conn=c).status == 200
        assert s.post("/v1/search", {"query": f"number {i}"}, conn=c).status == 200
        assert s.post("/v1/search", {"query": 1}, conn=c).status == 400
    c.close()


@test
def many_at_once(s):
    fill(s)
    bad = []

    def one(i):
        try:
            c = s.connect()
            for j in range(10):
                if (i + j) % 3 == 0:
                    r = s.post("/v1/answers", {"question": "What is the limit for a hotel night?", "collection": "answers", "stream": (i + j) % 2 == 0}, conn=c)
                elif (i + j) % 3 == 1:
                    r = s.post("/v1/search", {"query": "leave", "collection": "answers"}, conn=c)
                else:
                    r = s.post("/v1/documents", {"text": f"Writer {i} was here, {j} times.", "source": f"w{i}", "collection": "writers"}, conn=c)
                assert r.status in (200, 201), r.body
        except Exception as e:
            bad.append(repr(e))

    threads = [threading.Thread(target=one, args=(i,)) for i in range(12)]
    [t.start() for t in threads]
    [t.join() for t in threads]
    assert not bad, bad
    assert len(s.get("/v1/documents?collection=writers").json["documents"]) == 12


@test(generate__model="small", answers__cache_bytes=0)
def answers_together_are_answers_alone(s):
    fill(s)
    asked = [{"question": q, "collection": "answers"} for q in (
        "What is the limit for a hotel night?", "How many days of paid leave do employees receive?",
        "How are leave days carried over?", "What is the limit for a hotel night abroad?")]
    chats = [{"model": need_generator(), "messages": [{"role": "user", "content": c["question"]}], "temperature": t, "seed": 5, "max_tokens": 40}
             for c in asked[:2] for t in (0, 1)]
    work = [("/v1/answers", a) for a in asked] + [("/v1/chat/completions", c) for c in chats]

    def said(path, body):
        r = s.post(path, body, conn=s.connect())
        assert r.status == 200, r.body
        return r.json["answer"] if "answer" in r.json else r.json["choices"][0]["message"]["content"]

    alone, together = [said(*w) for w in work], [None] * len(work)

    def one(i):
        together[i] = said(*work[i])

    threads = [threading.Thread(target=one, args=(i,)) for i in range(len(work))]
    [t.start() for t in threads]
    [t.join() for t in threads]
    assert together == alone, (together, alone)
    metrics = s.get("/metrics").body.decode()
    assert 'footnote_engine_tokens_total{kind="reused"}' in metrics and 'footnote_engine_kv_pages{state="all"}' in metrics


@test(serve__idle_timeout_s=2)
def idle_connections_are_closed(s):
    with s.socket(10) as c:
        c.sendall(b"GET /healthz HTTP/1.1\r\nHost: loc")
        while c.recv(1000):      # what libmicrohttpd may say before it closes
            pass


@test(serve__connections_max=8, serve__threads=2)
def connections_are_limited(s):
    held = [s.socket(5) for _ in range(30)]
    for c in held:
        c.sendall(raw("GET", "/healthz"))
    time.sleep(1)
    served = len(select.select(held, [], [], 0)[0])
    assert 1 <= served <= 8, served
    for c in held:
        c.close()
    end = time.time() + 20
    while True:
        try:
            assert s.get("/healthz").status == 200
            break
        except (ConnectionError, http.client.HTTPException):
            assert time.time() < end
            time.sleep(0.1)


@test(answer__deadline_s=1, serve__answer_threads=1, generate__model="small", answers__cache_bytes=0)
def deadlines_end_answers(s):
    fill(s)
    conns = [s.connect() for _ in range(4)]
    for c in conns:
        c.request("POST", "/v1/answers", json.dumps({**LONG, "stream": False, "max_tokens": 400}), {"Content-Type": "application/json"})
    for c in conns:
        r = c.getresponse()
        body = r.read()
        assert r.status in (200, 503), body
        if r.status == 503:
            assert "deadline" in json.loads(body)["error"]["message"], body
    s.settle(RUNNING % "answer", 0)
