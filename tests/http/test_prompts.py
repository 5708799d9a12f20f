"""Prompt templates added and chosen while the service runs: over HTTP, from the command line beside it, over a restart."""
import harness
from harness import *

GOOD = "[user]\n{{passages}}\n\n{{question}} Or write: {{refusal}}\n"


def in_use(s, task="answer"):
    return [f"{p['name']}@{p['version']}" for p in s.get("/v1/prompts").json["prompts"] if p["task"] == task and p["in_use"]]


@test(own=True)
def prompts_over_http(s):
    listed = s.get("/v1/prompts").json["prompts"]
    assert all(set(p) == {"name", "version", "task", "in_use", "origin", "bytes"} for p in listed), listed
    assert in_use(s) == ["answer@1"] and {p["origin"] for p in listed} == {"built-in"}
    shown = s.get("/v1/prompts/answer@1").json
    assert "{{passages}}" in shown["text"] and shown["bytes"] == len(shown["text"].encode())
    made = s.post("/v1/prompts", {"name": "answer", "text": GOOD})
    assert made.status == 201 and (made.json["version"], made.json["origin"], made.json["in_use"]) == (2, "store", False), made.json
    assert s.post("/v1/prompts", {"name": "answer", "version": 2, "text": GOOD}).status == 201, "the same again changes nothing"
    assert s.post("/v1/prompts", {"name": "answer", "version": 2, "text": GOOD + "x"}).status == 409
    assert s.post("/v1/prompts", {"name": "answer-formal", "version": 7, "text": GOOD}).status == 201
    assert in_use(s) == ["answer@1"]
    assert s.post("/v1/prompts/answer@2/use", {}).json["in_use"] is True and in_use(s) == ["answer@2"]
    assert s.get("/v1/prompts/answer").json["version"] == 2
    assert s.post("/v1/prompts/answer-formal@7/use", {}).status == 200 and in_use(s) == ["answer-formal@7"]
    d = s.get("/v1/prompts/answer@1/diff?with=answer@2").json
    assert (d["a"], d["b"]) == ("answer@1", "answer@2") and {x["op"] for x in d["lines"]} == {" ", "-", "+"}, d
    assert "\n".join(x["text"] for x in d["lines"] if x["op"] != "-") + "\n" == GOOD
    same = s.get("/v1/prompts/answer@2/diff?with=answer-formal@7").json["lines"]
    assert {x["op"] for x in same} == {" "}


@test(own=True)
def prompts_are_checked(s):
    for body, word in (({"text": GOOD}, "name"), ({"name": "answer"}, "text"), ({"name": "nix", "text": GOOD}, "no task nix"),
                       ({"name": "Answer", "text": GOOD}, ""), ({"name": "a/b", "text": GOOD}, ""), ({"name": "answer.v3", "text": GOOD}, ""),
                       ({"name": "answer", "text": GOOD + "{{secret}}"}, "{{secret}}"), ({"name": "answer", "text": "[user]\n{{question}} {{refusal}}"}, "{{passages}}"),
                       ({"name": "answer", "text": "no section"}, "section"), ({"name": "answer", "text": "[user]\n{{passages"}, "}}"),
                       ({"name": "answer", "text": "[user]\n" + "x" * 70000}, "65536"), ({"name": "answer", "version": 0, "text": GOOD}, "version"),
                       ({"name": "answer", "text": 5}, "text"), ({"name": "x" * 100, "text": GOOD}, "")):
        r = s.post("/v1/prompts", body)
        assert r.status == 400 and word in r.error["message"], (body["name"] if "name" in body else body, r.status, r.body)
    assert s.post("/v1/prompts/answer/use", {}).status == 400
    assert s.post("/v1/prompts/answer@9/use", {}).status == 404 and s.post("/v1/prompts/answer@x/use", {}).status == 400
    assert s.get("/v1/prompts/nothing").status == 404 and s.get("/v1/prompts/answer@1/diff").status == 400
    assert s.get("/v1/prompts/answer@1/diff?with=nothing").status == 404
    r = s.post("/v1/answers", {"question": "How many?", "prompt": "nothing@3"})
    assert r.status == 400 and r.error["param"] == "prompt" and "answer@1" in r.error["message"], r.body
    r = s.post("/v1/answers", {"question": "How many?", "prompt": "summary"})
    assert r.status == 400 and "answer@1" in r.error["message"] and "summary@1" not in r.error["message"], r.body
    assert len(s.get("/v1/prompts").json["prompts"]) == len([p for p in s.get("/v1/prompts").json["prompts"] if p["origin"] == "built-in"])


@test(own=True)
def prompts_stay_over_a_restart_and_in_a_backup(s):
    path = s.top + "/answer.txt"
    with open(path, "w") as f:
        f.write(GOOD)
    assert "answer@2" in s.cli("prompts", "add", path).stdout
    assert "in use" in s.cli("prompts", "use", "answer@2").stdout and in_use(s) == ["answer@2"]
    assert s.cli("prompts", "show", "answer@2").stdout == GOOD
    assert s.cli("prompts", "add", s.top + "/service.conf", ok=(1, 2)).returncode == 2
    assert s.cli("prompts", "use", "answer@5", ok=(3,)).stderr and s.cli("prompts", "walk", ok=(2,)).stderr
    assert "\n+{{passages}}" not in s.cli("prompts", "diff", "answer@1", "answer@2").stdout
    assert s.cli("backup", s.top + "/copy").returncode == 0
    again = s.top + "/again"
    subprocess.run([harness.FOOTNOTE, "--data", again, "restore", s.top + "/copy"], check=True, capture_output=True, timeout=120)
    with Service(data=again) as t:
        assert in_use(t) == ["answer@2"] and t.get("/v1/prompts/answer@2").json["text"] == GOOD
    assert s.stop() == 0
    rows = [json.loads(x) for x in s.cli("--json", "prompts", "list").stdout.splitlines()]
    assert [r["version"] for r in rows if r["task"] == "answer" and r["in_use"]] == [2], rows


@test(own=True)
def prompts_gate_refuses_what_lowers_a_floor(s):
    folder = s.top + "/set"
    os.makedirs(folder + "/articles")
    with open(folder + "/articles/leave.txt", "w") as f:
        f.write("Employees of Alder receive 27 days of paid leave a year.\n")
    with open(folder + "/questions.jsonl", "w") as f:
        f.write(json.dumps({"id": "1", "question": "How many days of paid leave do employees of Alder receive?", "answerable": True, "answers": ["27 days"],
                            "doc": "leave.txt", "paragraph": "Employees of Alder receive 27 days of paid leave a year."}) + "\n")
    for name, floors in (("low", {"recall@10": 0.5, "contains": 0.5}), ("high", {"recall@10": 1.5})):
        with open(f"{s.top}/{name}.json", "w") as f:
            json.dump(floors, f)
    with open(s.top + "/answer.txt", "w") as f:
        f.write(GOOD)
    s.cli("prompts", "add", s.top + "/answer.txt")
    r = s.cli("prompts", "use", "answer@2", "--gate", s.top + "/high.json", "--eval", folder, ok=(1,))
    assert "recall@10" in r.stderr and "answer@2 is not taken into use" in r.stderr and in_use(s) == ["answer@1"], r.stderr
    s.cli("prompts", "use", "answer@2", "--gate", s.top + "/low.json", ok=(2,))
    s.cli("prompts", "use", "answer@9", "--gate", s.top + "/low.json", "--eval", folder, ok=(3,))
    s.cli("prompts", "use", "answer@2", "--gate", s.top + "/nosuch.json", "--eval", folder, ok=(3,))
    assert in_use(s) == ["answer@1"]
    s.cli("prompts", "use", "answer@2", "--gate", s.top + "/low.json", "--eval", folder)
    assert in_use(s) == ["answer@2"]


@test(own=True, generate__model="small")
def prompts_change_what_writes(s):
    s.push("Employees of Alder receive 27 days of paid leave a year.", source="leave.txt")
    ask = {"question": "How many days of paid leave do employees of Alder receive?"}
    s.post("/v1/prompts", {"name": "answer", "text": GOOD})
    first = s.post("/v1/answers", ask).json
    s.post("/v1/prompts/answer@2/use", {})
    second, third = s.post("/v1/answers", ask).json, s.post("/v1/answers", {**ask, "prompt": "answer@1"}).json
    told = [x["prompt"] and x["prompt"]["version"] for x in (first, second, third)]
    assert told == [1, 2, 1], told


@test(own=True)
def stats_tell_of_store_queues_models_and_answers(s):
    for i in range(3):
        s.push(f"Employees of Alder receive 27 days of paid leave a year, {i}.", source=f"leave{i}.txt")
    s.post("/v1/answers", {"question": "How many days of paid leave do employees of Alder receive?"})
    s.post("/v1/answers", {"question": "Which colour has the harbour of Valparaiso at noon?"})
    t = s.get("/v1/stats").json
    assert t["documents"] == 3 and t["by_collection"][0]["documents"] == 3 and t["models"]["embedder"] and t["models"]["generator"] is None, t
    assert t["prompts"]["answer"] == "answer@1" and set(t["queues"]) == {"admin", "search", "answer", "write", "engine"}, t
    a = t["answers"]
    assert a["answered"] + a["abstained"] + a["partial"] == 2 and a["latency_ms"]["p95"] >= a["latency_ms"]["p50"] > 0, a
    assert set(t["today"]) >= {"answers", "cost"} and set(t["feedback"]) == {"up", "down", "citations_up", "citations_down"}, t
    assert t["models"]["reader"] == "built-in reader", t["models"]
    on, metrics = t["models"]["devices"], s.get("/metrics").body.decode()
    assert on["search"] is None, on
    for what in ("embedder", "reader", "search"):
        assert (f"footnote_{what}_device_bytes 0\n" in metrics) == (on[what] in ("cpu", None)), (what, on)
    assert on["embedder"] and on["reader"] and on["generator"] is None and on["small"] is None, on
    c = t["answer_cache"]
    assert (c["exact"], c["semantic"], c["missed"], c["hit_rate"]) == (0, 0, 2, 0) and 0 < c["bytes"] <= c["max_bytes"], c
    s.post("/v1/answers", {"question": "Which colour has the harbour of Valparaiso at noon?"})
    c = s.get("/v1/stats").json["answer_cache"]
    assert (c["exact"], c["missed"]) == (1, 2) and abs(c["hit_rate"] - 1 / 3) < 0.001, c
    row = json.loads(s.cli("--json", "stats").stdout)
    assert row["documents"] == 3 and row["answers"]["answered"] == a["answered"], row
    said = s.cli("stats").stdout
    assert "3 since the start" in said and "given again  1 of 3 answers (33 %)" in said, said
    text = s.get("/metrics").text
    assert 'footnote_answer_confidence_bucket{le="0.1"}' in text and "footnote_answer_confidence_count 3" in text
    assert 'footnote_answers_by_prompt_total{prompt="none",status=' in text
