"""Batches over HTTP: in order, resumed after a restart, for their maker alone, gone with the documents they show."""
from harness import *
from test_answers import DOCS, check_answer, fill

ASKED = ["How many days of paid leave do employees receive?", "What is the limit for a hotel night?", "Within how many minutes must an alarm be answered?"]


def lines(n, **more):
    return "".join(json.dumps({"id": i, "question": ASKED[i % 3], **more}) + "\n" for i in range(n))


def posted(s, text, query="", status=201, **kw):
    r = s.ask("POST", "/v1/batches" + query, text.encode() if isinstance(text, str) else text, **kw)
    assert r.status == status, r.body
    return r.json if status == 201 else r.error


def until(s, b, done=lambda x: x["finished"], seconds=120, **kw):
    end = time.time() + seconds
    while not done(x := s.get("/v1/batches/" + b["id"], **kw).json):
        assert time.time() < end, x
        time.sleep(0.05)
    return x


def output(s, b, query="", **kw):
    r = s.get(f"/v1/batches/{b['id']}/output{query}", **kw)
    assert r.status == 200 and r.headers["Content-Type"].startswith("application/x-ndjson"), r.body
    return [json.loads(x) for x in r.text.splitlines()]


@test(own=True)
def batch_over_http(s):
    fill(s, "answers")
    text = lines(7, collection="answers") + "\n" + '{"id":"x"}\n[1]\n{"id":12345678901234567890,"question":"Which planet is farthest?","collection":"answers"}\n'
    b = posted(s, text)
    assert set(b) == {"id", "state", "collection", "lines", "done", "answered", "abstained", "failed", "error", "created", "started", "finished"}, b
    assert b["lines"] == 10 and b["state"] == "queued"
    x = until(s, b)
    assert (x["state"], x["done"], x["answered"], x["abstained"], x["failed"], x["error"]) == ("done", 10, 7, 1, 2, None), x
    got = output(s, b)
    assert [r["id"] for r in got] == [0, 1, 2, 3, 4, 5, 6, "x", None, 12345678901234567890]
    for i, r in enumerate(got[:7]):
        check_answer(s, r["answer"])
        assert r["error"] is None and r["answer"]["question"] == ASKED[i % 3] and "total" in r["answer"]["timings_ms"] and "cost" in r["answer"]["usage"]
    assert got[7]["error"]["param"] == "question" and got[8]["answer"] is None and "line 9" in got[8]["error"]["message"]
    assert [r["id"] for r in output(s, b, "?start=2&limit=3")] == [2, 3, 4] and output(s, b, "?start=10") == []
    gone = next(h["document_id"] for h in got[0]["answer"]["passages"])
    assert s.ask("DELETE", "/v1/documents/" + gone).status in (200, 204)
    after = output(s, b)
    assert [r["id"] for r in after] == [r["id"] for r in got]
    for was, now in zip(got, after):
        shown = was["answer"] and any(h["document_id"] == gone for h in was["answer"]["passages"])
        assert now == was or (shown and now["answer"] is None and now["error"]["code"] == "not_found"), now
    assert s.get("/v1/batches").json["batches"] == [x]
    assert s.ask("DELETE", "/v1/batches/" + b["id"]).status == 200
    assert s.get("/v1/batches/" + b["id"]).status == 404 and s.get("/v1/batches").json["batches"] == []
    for bad in ("", "\n\n", b'{"id":1,"question":"\xff"}', b'{"id":1}\x00'):
        posted(s, bad, status=400)
    for path in ("/v1/batches/nosuch", "/v1/batches/b0123456789abcdef/output"):
        assert s.get(path).status == 404


@test
def batch_survives_a_restart(s):
    with Service() as first:
        fill(first, "default")
        b = posted(first, lines(60))
        until(first, b, lambda x: x["done"] > 3)
        first.proc.kill()
        first.proc.wait()
        with Service(data=first.data) as second:
            x = until(second, b)
            got = output(second, b)
            assert x["state"] == "done" and x["done"] == 60 and [r["id"] for r in got] == list(range(60)), x
            assert all(r["answer"]["status"] == "answered" for r in got)
        first.proc.returncode = 0


@test(own=True, batches__lines_max=5, batches__bytes_max=2000, batches__queue=1)
def batch_limits(s):
    assert "batches.lines_max (5)" in posted(s, lines(6), status=400)["message"]
    assert "batches.bytes_max" in posted(s, lines(1) + " " * 2000, status=413)["message"]
    assert until(s, posted(s, lines(2)))["done"] == 2


@test(own=True)
def batch_is_its_makers(s):
    fill(s, "default")
    s.push("The secret boiler of Alder stands in house nine.", source="boiler.txt", title="boiler", collection="default", acl=["house"])
    h = lambda k: {"headers": {"Authorization": "Bearer " + k["key"]}}
    chief = s.post("/v1/keys", {"name": "chief", "role": "admin", "groups": "*"}).json
    one, two = (s.post("/v1/keys", {"name": n, "role": "read", "groups": g}, **h(chief)).json for n, g in (("one", ["house"]), ("two", [])))
    ask = json.dumps({"id": 1, "question": "Where does the secret boiler of Alder stand?"}) + "\n"
    b = posted(s, ask, **h(one))
    until(s, b, **h(one))
    assert "house nine" in output(s, b, **h(one))[0]["answer"]["answer"] and output(s, b, **h(chief))[0]["answer"]
    assert s.get("/v1/batches/" + b["id"], **h(two)).status == 404 and s.get("/v1/batches", **h(two)).json["batches"] == []
    assert s.ask("DELETE", "/v1/batches/" + b["id"], **h(two)).status == 404 and s.ask("POST", "/v1/batches", b"x").status == 401
    for k, query in ((two, ""), (one, "?as=nobody")):
        mine = posted(s, ask, query, **h(k))
        until(s, mine, **h(k))
        assert "house nine" not in json.dumps(output(s, mine, **h(k)))
    slow = posted(s, lines(400), **h(two))
    assert s.ask("DELETE", "/v1/keys/two", **h(chief)).status == 200
    x = until(s, slow, **h(chief))
    assert x["state"] == "failed" and x["error"]["code"] == "denied" and x["done"] < 400, x
    stop = posted(s, lines(400), **h(one))
    assert s.ask("DELETE", "/v1/batches/" + stop["id"], **h(one)).json["state"] == "cancelled"
    end = time.time() + 60
    while s.get("/v1/batches/" + stop["id"], **h(one)).status != 404:
        assert time.time() < end
        time.sleep(0.05)
