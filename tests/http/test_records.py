"""What can be asked of answers afterwards: their records, asking again, ratings, sums, and answers given again."""
from harness import *
from test_answers import fill, stream, check_stream
from test_access import bearer, key_of

QUESTION = "How many days of paid leave do employees receive?"
ASK = {"question": QUESTION, "collection": "answers", "style": "extractive"}


@test(own=True)
def records(s):
    fill(s)
    a = s.post("/v1/answers", ASK).json
    assert a["status"] == "answered" and a["cached"] is False and a["usage"]["cost"] == 0, a
    r = s.get(f"/v1/answers/{a['id']}")
    assert r.status == 200, r.body
    x = r.json
    assert x["id"] == a["id"] and x["by"] is None and "question" not in x and QUESTION not in r.text and len(x["question_hash"]) == 64
    assert x["stale"] is False and x["stale_citations"] == [] and x["request"]["style"] == "extractive"
    for key in ("answer", "citations", "sentences", "short", "status", "confidence", "snapshot"):
        assert x["answer"][key] == a[key], key
    assert [p["chunk_id"] for p in x["answer"]["passages"]] == [p["chunk_id"] for p in a["passages"]]
    assert [p["text"] for p in x["answer"]["passages"]] == [p["text"] for p in a["passages"]]
    for bad in ("ans_" + "0" * 32, "nope", "ans_%2e"):
        assert s.get("/v1/answers/" + bad).status == 404
    # asked again
    url = f"/v1/answers/{a['id']}/replay"
    assert s.post(url, {}).status == 422
    assert s.post(url, {"question": "Who?"}).status == 409
    assert s.post(url, {"question": 7}).status == 400
    assert s.post(url, {"question": QUESTION, "history": [{"role": "user", "content": "x"}]}).status == 409
    again = s.post(url, {"question": QUESTION}).json
    assert again["same"] is True and again["differs"] == [] and again["answer"]["answer"] == a["answer"], again
    assert again["answer"]["cached"] is False and again["answer"]["id"] != a["id"]
    # the document changes, then goes
    s.push("Employees of Alder receive 31 days of paid leave a year.\n", source="leave.txt", title="leave", collection="answers")
    x = s.get(f"/v1/answers/{a['id']}").json
    assert x["stale"] is True and x["stale_citations"] == [1] and any(p.get("gone") for p in x["answer"]["passages"])
    again = s.post(url, {"question": QUESTION}).json
    assert again["same"] is False and {"answer", "citations", "passages"} <= {d["field"] for d in again["differs"]}, again
    doc = a["citations"][0]["document_id"]
    assert s.ask("DELETE", f"/v1/documents/{doc}").status in (200, 204)
    assert s.get(f"/v1/answers/{a['id']}").status == 404


@test(own=True)
def an_erasure_takes_records_along(s):
    fill(s)
    a = s.post("/v1/answers", ASK).json
    assert s.get(f"/v1/answers/{a['id']}").status == 200
    doc, quote = a["citations"][0]["document_id"], a["citations"][0]["quote"].encode()
    raw = lambda: open(s.data + "/data.mdb", "rb").read()
    assert quote in raw()
    r = s.ask("DELETE", f"/v1/documents/{doc}?erase=true")
    assert r.status == 200, r.body
    assert quote not in raw()
    assert s.get(f"/v1/answers/{a['id']}").status == 404


@test(own=True)
def records_outlive_the_service(s):
    fill(s)
    ids = [s.post("/v1/answers", {**ASK, "seed": i}).json["id"] for i in range(5)]
    s.proc.terminate()
    assert s.proc.wait(30) == 0
    with Service(data=s.data) as again:
        for i in ids:
            assert again.get(f"/v1/answers/{i}").status == 200
        assert again.get("/v1/usage").json["total"]["answers"] == 5


@test(audit__questions="keep")
def kept_questions(s):
    fill(s)
    a = s.post("/v1/answers", ASK).json
    assert s.get(f"/v1/answers/{a['id']}").json["question"] == QUESTION
    assert s.post(f"/v1/answers/{a['id']}/replay", {}).json["same"] is True
    assert s.post("/v1/feedback", {"answer_id": a["id"], "rating": -1}).status == 201
    rows = [json.loads(x) for x in s.get("/v1/feedback?export=questions").text.splitlines()]
    assert [(x["id"], x["question"], x["needs_answer"]) for x in rows] == [(a["id"], QUESTION, True)], rows


@test(own=True)
def ratings(s):
    fill(s)
    a = s.post("/v1/answers", ASK).json
    good = {"answer_id": a["id"], "rating": -1, "comment": "no", "citation": 1, "question": QUESTION, "expected": "27 days"}
    for change, param, status in (({"rating": 0}, "rating", 400), ({"rating": 2}, "rating", 400), ({"rating": "x"}, "rating", 400),
                                  ({"rating": 0.5}, "rating", 400), ({"answer_id": None}, "answer_id", 400), ({"citation": 99}, "citation", 400),
                                  ({"citation": 0}, "citation", 400), ({"comment": 5}, "comment", 400), ({"comment": "x" * 20000}, "comment", 400),
                                  ({"answer_id": "ans_nope"}, "answer_id", 404), ({"answerable": "no"}, "answerable", 400)):
        r = s.post("/v1/feedback", {**good, **change})
        assert r.status == status and r.error["param"] == param, (change, r.status, r.body)
    assert s.post("/v1/feedback", good).status == 201
    rows = [json.loads(x) for x in s.get("/v1/feedback?export=questions").text.splitlines()]
    assert len(rows) == 1 and rows[0]["answers"] == ["27 days"] and rows[0]["question"] == QUESTION and rows[0]["answerable"] is True
    listed = s.get("/v1/feedback?limit=1").json
    assert listed["feedback"][0]["answer_id"] == a["id"] and listed["feedback"][0]["rating"] == -1 and listed["next_cursor"]
    assert s.get("/v1/feedback?limit=1&cursor=" + listed["next_cursor"].replace(" ", "%20")).json["feedback"] == []
    assert s.get("/v1/feedback?export=x").status == 400 and s.get("/v1/feedback?limit=0").status == 400
    assert s.post("/v1/feedback", {**good, "rating": 1}).status == 201
    assert s.get("/v1/feedback?export=questions").text == ""


@test(price__hour=3600)
def sums_by_day(s):
    fill(s)
    a = s.post("/v1/answers", ASK).json
    assert a["usage"]["cost"] > 0, a["usage"]
    again = s.post("/v1/answers", ASK).json
    assert again["cached"] == "exact" and again["answer"] == a["answer"] and again["id"] != a["id"]
    got = check_stream(s, stream(s, ASK))
    assert got["cached"] == "exact" and got["citations"] == a["citations"]
    u = s.get("/v1/usage").json
    assert len(u["usage"]) == 1 and u["usage"][0]["key"] is None and u["total"]["answers"] == 3 and u["total"]["cached"] == 2
    assert abs(u["total"]["cost"] - a["usage"]["cost"] - again["usage"]["cost"] - got["usage"]["cost"]) < 1e-6
    day = u["usage"][0]["day"]
    assert s.get(f"/v1/usage?from={day}&to={day}").json["total"]["answers"] == 3
    assert s.get("/v1/usage?to=2001-01-01").json["usage"] == []
    assert s.get("/v1/usage?from=monday").status == 400
    assert s.metric('footnote_answer_cache_total{result="exact"}') == 2


@test(own=True)
def records_are_for_their_keys(s):
    keys = {n: key_of(s, n, *args) for n, args in {"root": ("--role", "admin", "--groups", "*"), "ann": ("--groups", "staff"), "ben": ("--groups", "staff"),
                                                    "out": (), "half": ("--role", "admin")}.items()}
    s.post("/v1/documents", {"text": "Employees of Alder receive 27 days of paid leave a year.\n", "source": "leave.txt", "acl": ["staff"]}, **bearer(keys["root"]))
    ask = {"question": QUESTION, "style": "extractive"}
    a = s.post("/v1/answers", ask, **bearer(keys["ann"])).json
    assert a["citations"], a
    sees = {n: s.get(f"/v1/answers/{a['id']}", **bearer(k)).status for n, k in keys.items()}
    assert sees == {"root": 200, "ann": 200, "ben": 404, "out": 404, "half": 404}, sees
    assert s.get(f"/v1/answers/{a['id']}?as=other", **bearer(keys["ann"])).status == 404
    for n in ("ben", "out"):
        assert s.post(f"/v1/answers/{a['id']}/replay", {"question": QUESTION}, **bearer(keys[n])).status == 404
        assert s.post("/v1/feedback", {"answer_id": a["id"], "rating": 1}, **bearer(keys[n])).status == 404
    assert s.post(f"/v1/answers/{a['id']}/replay", {"question": QUESTION}, **bearer(keys["ann"])).json["same"] is True
    # one who may see the same passages is given the same answer, one who may not is not
    assert s.post("/v1/answers", ask, **bearer(keys["ben"])).json["cached"] == "exact"
    none = s.post("/v1/answers", ask, **bearer(keys["out"])).json
    assert none["cached"] is False and none["status"] == "abstained" and "27" not in none["answer"]
    used = s.get("/v1/usage", **bearer(keys["root"])).json["usage"]
    assert sorted(u["answers"] for u in used) == [1, 1, 2], used
    assert s.get("/v1/feedback", **bearer(keys["half"])).status == 403 and s.get("/v1/feedback", **bearer(keys["root"])).status == 200
    for n in ("ann", "out"):
        assert s.get("/v1/usage", **bearer(keys[n])).status == 403 and s.get("/v1/feedback", **bearer(keys[n])).status == 403
