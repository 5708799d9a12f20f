"""Experiments over HTTP and from the command line: arms named in answers, stickiness, figures, what stays outside."""
import csv, io
from harness import *

SPLIT = {"name": "styles", "arms": [{"name": "plain", "share": 50}, {"name": "few", "share": 50, "style": "extractive", "settings": {"answer.passages": 1}}]}
QUESTION = "How many days of paid leave do employees of Alder receive?"


def ask(s, **more):
    r = s.post("/v1/answers", {"question": QUESTION, **more})
    assert r.status == 200, r.body
    return r.json


@test(own=True)
def experiments_over_http(s):
    for i in range(4):
        s.push(f"Employees of Alder receive 27 days of paid leave a year, says page {i}.", source=f"leave{i}.txt")
    assert s.get("/v1/experiments").json == {"experiments": []} and "experiment" not in ask(s)
    made = s.post("/v1/experiments", SPLIT)
    assert made.status == 201 and made.json["status"] == "running" and [a["requests"] for a in made.json["arms"]] == [0, 0], made.body
    assert s.post("/v1/experiments", SPLIT).status == 409 and s.post("/v1/experiments", {**SPLIT, "name": "other"}).status == 409
    arms = {}
    for i in range(24):
        a = ask(s, user=f"user {i}")
        assert a["experiment"]["name"] == "styles"
        arms[i] = a["experiment"]["arm"]
        assert len(a["passages"]) == (1 if arms[i] == "few" else 4), (arms[i], len(a["passages"]))
    assert set(arms.values()) == {"plain", "few"}, arms
    for i in range(4):
        assert ask(s, user=f"user {i}")["experiment"]["arm"] == arms[i]
    for more in ({"style": "extractive"}, {"prompt": "answer@1"}, {"k": 2}, {"max_tokens": 20}):
        assert "experiment" not in ask(s, user="user 1", **more), more
    chat = s.post("/v1/chat/completions", {"model": "footnote", "user": "user 1", "messages": [{"role": "user", "content": QUESTION}]})
    assert chat.status == 200
    rated = ask(s, user="user 0", seed=1)
    for rating in (1, -1):
        assert s.post("/v1/feedback", {"answer_id": rated["id"], "rating": rating}).status == 201
    shown = s.get("/v1/experiments/styles").json
    assert [(a["feedback"]["up"], a["feedback"]["down"]) for a in shown["arms"] if a["name"] == rated["experiment"]["arm"]] == [(0, 1)], shown
    assert sum(a["requests"] for a in shown["arms"]) == 30, shown
    for a in shown["arms"]:
        assert a["requests"] == a["answered"] + a["abstained"] + a["partial"] + a["failed"], a
        assert a["answered_rate"]["low"] <= a["answered_rate"]["rate"] <= a["answered_rate"]["high"] and a["latency_ms"]["p50"] > 0, a
    rows = list(csv.DictReader(io.StringIO(s.get("/v1/experiments/styles/export?format=csv").text)))
    assert [r["arm"] for r in rows] == ["plain", "few"] and sum(int(r["requests"]) for r in rows) == 30, rows
    assert s.get("/v1/experiments/styles/export").json == shown and s.get("/v1/experiments/styles/export?format=xml").status == 400
    assert s.ask("DELETE", "/v1/experiments/styles").status == 409
    assert s.post("/v1/experiments/styles/stop", {}).json["status"] == "stopped"
    assert "experiment" not in ask(s, user="user 1") and s.post("/v1/experiments/styles/stop", {}).status == 409
    assert s.ask("DELETE", "/v1/experiments/styles").status == 200 and s.get("/v1/experiments/styles").status == 404


@test(own=True)
def experiments_are_checked(s):
    bad = (({}, "name"), ({"name": "x"}, "arms"), ({**SPLIT, "arms": []}, "arms"), ({**SPLIT, "arms": SPLIT["arms"][:1]}, "50"),
           ({**SPLIT, "arms": [{"name": "a", "share": 100, "prompt": "answer@7"}]}, "answer@1"),
           ({**SPLIT, "arms": [{"name": "a", "share": 100, "settings": {"serve.listen": "x"}}]}, "serve.listen"))
    for body, word in bad:
        r = s.post("/v1/experiments", body)
        assert r.status == 400 and word in r.error["message"] and r.error["param"] in ("name", "arms"), r.body
    assert s.get("/v1/experiments/nothing").status == 404 and s.get("/v1/experiments/nothing/export?format=csv").status == 404
    r = s.post("/v1/answers", {"question": QUESTION, "user": "x" * 300})
    assert r.status == 400 and r.error["param"] == "user", r.body


@test(own=True)
def experiments_from_the_command_line(s):
    with open(s.top + "/split.json", "w") as f:
        json.dump(SPLIT, f)
    assert "no experiments" in s.cli("experiments", "list").stdout
    assert "styles  running" in s.cli("experiments", "start", s.top + "/split.json").stdout
    s.push("Employees of Alder receive 27 days of paid leave a year.", source="leave.txt")
    for i in range(6):
        ask(s, user=str(i))
    assert s.cli("experiments", "export", "styles").stdout.count("\n") == 3
    assert json.loads(s.cli("--json", "experiments", "stop", "styles").stdout)["status"] == "stopped"
    s.cli("experiments", "walk", ok=(2,)), s.cli("experiments", "show", "nothing", ok=(3,)), s.cli("experiments", "stop", "styles", ok=(5,))
    with open(s.top + "/split.json", "w") as f:
        f.write("{not json")
    s.cli("experiments", "start", s.top + "/split.json", ok=(2,))
    assert s.stop() == 0
    rows = [json.loads(x) for x in s.cli("--json", "experiments", "list").stdout.splitlines()]
    assert len(rows) == 1 and sum(a["requests"] for a in rows[0]["arms"]) == 6, rows
    s.cli("experiments", "remove", "styles")
    assert s.cli("--json", "experiments", "list").stdout == ""


@test(own=True, generate__model="small", generate__small=need_generator() if model(SMALL) else "none", answer__route_small=0.01)
def short_questions_of_fact_go_to_the_small_model(s):
    s.push("Employees of Alder receive 27 days of paid leave a year.", source="leave.txt")
    tiers = lambda: [s.metric(f'footnote_answer_tiers_total{{tier="{t}"}}') for t in ("extractive", "small", "large")]
    assert ask(s)["status"] in ("answered", "abstained") and tiers() == [0, 1, 0], tiers()
    s.post("/v1/answers", {"question": QUESTION, "style": "generate", "seed": 2})
    assert tiers() == [0, 1, 1], tiers()


@test(own=True, generate__model="small", answer__route_extractive=0.01)
def short_questions_of_fact_are_quoted(s):
    s.push("Employees of Alder receive 27 days of paid leave a year.", source="leave.txt")
    a = ask(s)
    assert a["style"] == "extractive" and "without the language model" in a["reason"] and a["model"] is None, a
