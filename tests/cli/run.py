#!/usr/bin/env python3
"""The command line as a user and a script see it: verdicts, exit codes, JSON lines, one owner. Usage: run.py FOOTNOTE.
Needs the embedder; the generator tests use smollm2 when it is there. Last line: N passed, N failed, N skipped."""
import json, math, os, shutil, signal, struct, subprocess, sys, time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
import frame
from frame import FOOTNOTE, Skip, test


def small_model():
    """The path of the generator that tests use."""
    path = os.path.join(os.environ.get("FOOTNOTE_MODELS") or os.path.expanduser("~/.cache/footnote/models"), "smollm2-135m-instruct-q4_1.gguf")
    if not os.path.exists(path):
        raise Skip("needs smollm2")
    return path


class Box(frame.Box):
    def ingest(self, *args, ok=(0,)):
        rows = self.json("ingest", *(args or (self.docs,)), ok=ok)
        assert "summary" in rows[-1], rows
        return {os.path.basename(r["source"]): r for r in rows[:-1]}, rows[-1]["summary"]


LEAVE = "Leave\n\nEmployees of Alder receive 27 days of paid leave a year. Up to five unused days may be carried over until 31 March.\n"
TRAVEL = "# Travel\n\n## Trains\n\nTrain tickets are booked in second class. The limit for a hotel night is 140 euros.\n"


@test
def empty_store_is_no_error(b):
    for args in (("check",), ("stats",), ("docs", "list"), ("search", "anything")):
        b.run(*args)
    assert b.json("docs", "list") == []
    # A mistyped folder or collection looks the same as an empty one: what is said names it.
    assert "no documents in collection nosuch" in b.run("--collection", "nosuch", "search", "anything").stdout
    assert "ingest" in b.run("docs", "list").stdout and b.run("-q", "docs", "list").stdout == ""


@test
def doctor_names_the_kernels(b):
    conf = b.write("../service.conf", "generate.kernel = avx2\n")
    assert 'kernels "avx2"' in b.run("-c", conf, "doctor", ok=(0, 1)).stdout
    assert 'kernels "' in b.run("doctor", ok=(0, 1)).stdout


@test
def the_reader_is_told_of(b):
    inside = b.run("doctor", ok=(0, 1)).stdout
    assert "built-in reader, " in inside and "inside the program" in inside, inside
    row = [x for x in b.run("models", "list").stdout.splitlines() if " reader " in x]
    assert len(row) == 1 and "built-in reader" in row[0] and "built in" in row[0] and " MB" in row[0], row
    conf = b.write("../none.conf", "models.reader = none\n")
    assert "models.reader is none" in b.run("-c", conf, "doctor", ok=(0, 1)).stdout
    assert "built-in reader" not in b.run("-c", conf, "models", "list").stdout


@test
def cpu_without_avx2(b):
    """One line, whatever is asked: not a signal out of a library."""
    if not shutil.which("qemu-x86_64"):
        raise Skip("needs qemu-x86_64 (package qemu-user)")
    for args in (("-h",), ("doctor",), ("search", "anything"), ("serve",)):
        r = subprocess.run(["qemu-x86_64", "-cpu", "Westmere", FOOTNOTE, "--data", b.data, *args], capture_output=True, text=True, timeout=300)
        told = [line for line in r.stderr.splitlines() if not line.startswith("qemu")]
        assert r.returncode == 1 and len(told) == 1 and "AVX2" in told[0], r
    r = subprocess.run(["qemu-x86_64", "-cpu", "Haswell", FOOTNOTE, "-h"], capture_output=True, text=True, timeout=300)
    assert r.returncode == 0 and "ingest" in r.stdout, r


@test
def little_memory_for_keys(b):
    """A cache that holds less than a context is told where it is set, when the model opens; what fits is answered."""
    small = small_model()
    b.write("travel.md", TRAVEL)
    b.ingest()
    for size, told in (("6m", True), ("128m", False)):
        conf = b.write("../service.conf", f"generate.model = {small}\ngenerate.context = 1024\ngenerate.kv_bytes = {size}\nanswer.max_tokens = 16\n")
        r = b.run("-c", conf, "--json", "ask", "What is the limit for a hotel night?")
        assert ("generate.kv_bytes" in r.stderr and "1024" in r.stderr) == told, r.stderr
        assert json.loads(r.stdout)["usage"]["completion_tokens"] > 0, r.stdout


@test
def batch_in_order(b):
    """A line an answer, in order; mistakes are lines of their own; what is there is never overwritten."""
    b.write("leave.txt", LEAVE)
    b.write("travel.md", TRAVEL)
    b.ingest()
    rows = [{"id": "a", "question": "How many days of paid leave do employees receive?", "style": "extractive"}, {"id": 2, "question": " "},
            {"question": "Which class are train tickets booked in?"}, {"id": "c", "question": "What is the limit for a hotel night?", "style": "extractive"},
            {"id": "d", "question": "Who?", "prompt": "nosuch"}, {"id": "e", "question": "What is the limit for a hotel night?", "style": "extractive", "collection": "other"}]
    lines = [json.dumps(r) for r in rows]
    lines.insert(2, "{broken")
    path = b.write("in.jsonl", "\n".join(lines[:3]) + "\n\n  \n" + "\r\n".join(lines[3:]))
    out = b.top + "/out.jsonl"
    summary = b.json("batch", path, "-o", "out.jsonl", ok=(1,))[-1]["summary"]
    assert summary == {"questions": 7, "answered": 2, "abstained": 1, "failed": 4, "resumed": 0, "resumed_failed": 0}, summary
    got = [json.loads(x) for x in open(out)]
    assert [g["id"] for g in got] == ["a", 2, None, None, "c", "d", "e"]
    assert all((g["answer"] is None) == (g["error"] is not None) and set(g) == {"id", "answer", "error"} for g in got)
    assert "27" in got[0]["answer"]["answer"] and got[0]["answer"]["citations"] and "140" in got[4]["answer"]["answer"]
    assert [g["error"]["param"] for g in got if g["error"]] == ["question", None, "id", "prompt"]
    assert got[6]["answer"]["status"] == "abstained"
    before = open(out, "rb").read()
    for args, code in (((path, "-o", out), 5), ((path, "-o", path), 2), (("nosuch.jsonl", "-o", "x"), 3), ((path,), 2), ((path, "-o", b.top + "/no/folder/x"), 3)):
        b.run("batch", *args, ok=(code,))
    assert open(out, "rb").read() == before and not os.path.exists(b.top + "/x")
    # Cut short in mid-line, as a kill leaves it: goes on there and gives the same lines.
    with open(out, "wb") as f:
        f.write(b"".join(before.splitlines(True)[:3]) + before.splitlines(True)[3][:25])
    assert b.json("batch", path, "-o", out, "--resume", ok=(1,))[-1]["summary"] == {"questions": 7, "answered": 1, "abstained": 1, "failed": 2, "resumed": 3, "resumed_failed": 2}
    again = [json.loads(x) for x in open(out)]
    assert [(g["id"], g["answer"] and g["answer"]["answer"]) for g in again] == [(g["id"], g["answer"] and g["answer"]["answer"]) for g in got]
    summary = b.json("batch", path, "-o", out, "--resume", ok=(1,))[-1]["summary"]
    assert summary["resumed"] == 7 and summary["failed"] == 0 and summary["resumed_failed"] == 4, summary
    assert "some of them failed" in b.run("batch", path, "-o", out, "--resume", ok=(1,)).stdout
    other = b.write("other.jsonl", json.dumps({"id": "z", "question": "Who?"}) + "\n")
    assert "line 1" in b.run("batch", other, "-o", out, "--resume", ok=(5,)).stderr


@test
def batch_writes_answers_together(b):
    """As many as the language model takes, and each as if it were alone; in order though some take longer."""
    small = small_model()
    b.write("leave.txt", LEAVE)
    b.write("travel.md", TRAVEL)
    b.ingest()
    ask = ["How many days of paid leave do employees receive?", "What is the limit for a hotel night?", "Which class are train tickets booked in?"]
    path = b.write("../in.jsonl", "".join(json.dumps({"id": i, "question": ask[i % 3], "style": "extractive" if i % 4 == 3 else "generate"}) + "\n" for i in range(14)))
    answers = []
    for n in (1, 3):
        conf = b.write("../service.conf", f"generate.model = {small}\ngenerate.sequences = {n}\nanswer.max_tokens = 32\n")
        b.run("-c", conf, "batch", path, "-o", f"{b.top}/out{n}")
        got = [json.loads(x) for x in open(f"{b.top}/out{n}")]
        assert [g["id"] for g in got] == list(range(14)) and not any(g["error"] for g in got), got
        answers.append([(g["answer"]["status"], g["answer"]["answer"], g["answer"]["usage"]["completion_tokens"]) for g in got])
    assert answers[0] == answers[1], answers
    assert sum(n > 0 for _, _, n in answers[0]) > 3, answers[0]


@test
def batch_ids_and_lines_that_cannot_be_taken(b):
    """What an id cannot carry is told and resumable; a mistake in a line is the client's, whatever limit it broke."""
    ask = "Who?"
    ids = [[1], True, None, {"a": 1}, 1234567890123456789, -9007199254740993, 9007199254740991, 0, 1.5, "x"]
    rows = [{"meta": {"id": 3}, "id": i, "question": ask, "style": "extractive"} for i in ids]
    lines = [json.dumps(r) for r in rows] + ["[" * 100, '{"id":"long","question":"' + "x" * (1 << 20) + '"}', '{"id":"c","question":"Who?","collection":"../x"}', '["id"]']
    path, out = b.write("in.jsonl", "\n".join(lines) + "\n"), b.top + "/out.jsonl"
    b.run("batch", path, "-o", out, ok=(1,))
    text = open(out).read()
    got = [json.loads(x) for x in text.splitlines()]
    assert [g["id"] for g in got] == [None] * 4 + ids[4:] + [ None, None, "c", None], got
    assert all(g["error"]["param"] == "id" for g in got[:4]), got
    assert all(g["error"]["type"] == "invalid_request_error" for g in got if g["error"]), got
    assert got[10]["error"]["code"] == got[11]["error"]["code"] == "limit" and got[12]["error"]["param"] == "collection", got[10:]
    b.run("batch", path, "-o", out, "--resume", ok=(1,))
    assert open(out).read() == text


@test
def batch_lines_narrow_what_is_seen(b):
    b.write("leave.txt", LEAVE)
    b.ingest("--acl", "hr", b.docs)
    q = {"question": "How many days of paid leave do employees receive?", "style": "extractive"}
    rows = [q, {**q, "as": ["public"]}, {**q, "as": "hr, public"}, {**q, "as": []}, {**q, "as": ["hr"]}, {**q, "as": 5}, {**q, "as": ["hr", 5]}, {**q, "as": "a,,b"}, {**q, "as": None}]
    path, out = b.write("../in.jsonl", "".join(json.dumps({"id": i, **r}) + "\n" for i, r in enumerate(rows))), b.top + "/out.jsonl"
    b.run("batch", path, "-o", out, ok=(1,))
    got = [json.loads(x) for x in open(out)]
    assert [g["answer"] and g["answer"]["status"] for g in got] == ["answered", "abstained", "answered", "abstained", "answered", None, None, None, "answered"], got
    assert all(not g["answer"]["passages"] for g in (got[1], got[3])) and all(g["error"]["param"] == "as" for g in got[5:8]), got


@test
def batch_as_a_reader(b):
    """--as holds for every line, and a line's own `as` only narrows it."""
    b.write("leave.txt", LEAVE)
    b.ingest(b.docs, "--acl", "hr")
    ask = {"question": "How many days of paid leave do employees receive?", "style": "extractive"}
    path = b.write("in.jsonl", "".join(json.dumps({"id": i, **ask, **more}) + "\n" for i, more in enumerate(({}, {"as": "staff"}, {"as": ["hr"]}, {"as": []}, {"as": 7}))))
    for n, (args, seen) in enumerate((((), [0, 2]), (("--as", "hr,staff"), [0, 2]), (("--as", "staff"), []), (("--as", ""), []))):
        b.run("batch", path, "-o", f"{b.top}/out{n}", *args, ok=(1,))
        got = [json.loads(x) for x in open(f"{b.top}/out{n}")]
        assert [g["id"] for g in got if g["answer"] and g["answer"]["passages"]] == seen, (args, got)
        assert [g["id"] for g in got if g["error"]] == [4] and got[4]["error"]["param"] == "as", got
    b.run("batch", path, "-o", b.top + "/none", "--as", "a,,b", ok=(2,))
    assert not os.path.exists(b.top + "/none")


@test
def batch_survives_a_kill(b):
    b.write("leave.txt", LEAVE)
    b.ingest()
    path = b.write("in.jsonl", "".join(json.dumps({"id": i, "question": f"How many days of leave, and of what, number {i}?", "style": "extractive"}) + "\n" for i in range(400)))
    out = b.top + "/out.jsonl"
    p = subprocess.Popen([FOOTNOTE, "--data", b.data, "-q", "batch", path, "-o", out], cwd=b.top)
    end = time.time() + 120
    while time.time() < end and (not os.path.exists(out) or open(out, "rb").read().count(b"\n") < 20):
        time.sleep(0.01)
    p.kill()
    p.wait()
    whole = open(out, "rb").read()
    kept = whole[:whole.rfind(b"\n") + 1]
    assert 20 <= kept.count(b"\n") < 400
    assert b.json("batch", path, "-o", out, "--resume")[-1]["summary"]["resumed"] == kept.count(b"\n")
    now = open(out, "rb").read()
    assert now.startswith(kept) and [json.loads(x)["id"] for x in now.splitlines()] == list(range(400))


@test
def verdicts(b):
    b.write("leave.txt", LEAVE)
    b.write("sub/travel.md", TRAVEL)
    b.write("page.html", "<html><head><title>On call</title></head><body><h1>On call</h1><p>The on-call phone is passed on every Monday at nine.</p></body></html>")
    b.write("empty.txt", "")
    b.write("blob.bin", bytes(range(256)) * 20)
    b.write("lying.txt", b"\x7fELF" + bytes(3000))
    rows, s = b.ingest()
    got = {k: v["verdict"] for k, v in rows.items()}
    assert got == {"leave.txt": "added", "travel.md": "added", "page.html": "added", "empty.txt": "skipped", "blob.bin": "skipped", "lying.txt": "skipped"}, got
    for r in rows.values():
        assert set(r) >= {"source", "verdict", "document_id", "chars", "chunks", "reason"}, r
        assert os.path.isabs(r["source"])
        assert (r["verdict"] == "added") == (r["chunks"] > 0) and (r["reason"] != "") == (r["verdict"] != "added"), r
    rows, _ = b.ingest()
    assert {v["verdict"] for k, v in rows.items() if k in ("leave.txt", "travel.md", "page.html")} == {"unchanged"}, rows
    first = {d["source"]: d for d in b.json("docs", "list")}
    b.write("leave.txt", LEAVE.replace("27", "28"))
    b.write("copy.txt", TRAVEL)
    rows, _ = b.ingest()
    assert rows["leave.txt"]["verdict"] == "updated" and rows["copy.txt"]["verdict"] == "duplicate", rows
    second = {d["source"]: d for d in b.json("docs", "list")}
    leave = f"{b.docs}/leave.txt"
    assert second[leave]["id"] == first[leave]["id"] and second[leave]["revision"] == first[leave]["revision"] + 1
    os.unlink(leave)
    rows, _ = b.ingest("--prune", b.docs)
    assert rows["leave.txt"]["verdict"] == "removed"
    assert leave not in {d["source"] for d in b.json("docs", "list")}
    b.run("check")


@test
def missing_and_unreadable_files_fail_alone(b):
    b.write("leave.txt", LEAVE)
    rows, s = b.ingest(f"{b.top}/nothing", b.docs, ok=(1,))
    assert rows["nothing"]["verdict"] == "failed" and rows["nothing"]["reason"], rows
    assert rows["leave.txt"]["verdict"] == "added"


@test
def dry_run_stores_nothing(b):
    b.write("leave.txt", LEAVE)
    rows, _ = b.ingest("--dry-run", b.docs)
    assert rows["leave.txt"]["verdict"] == "added"
    assert b.json("docs", "list") == []


@test
def search_hits_are_ranges_of_text(b):
    b.write("leave.txt", "Größe 👍\n\n" + LEAVE)
    b.write("travel.md", TRAVEL)
    b.ingest()
    hits = b.json("search", "how much may a hotel cost", "-k", "2")
    assert hits[0]["source"].endswith("travel.md") and "Trains" in hits[0]["heading"], hits
    for h in hits:
        text = b.run("docs", "text", h["document_id"]).stdout
        assert h["text"] == text[h["start"]:h["end"]], h
        assert all(h["start"] <= s < e <= h["end"] for s, e in h["highlights"]), h
        assert set(h) >= {"document_id", "revision", "chunk_id", "title", "source", "page", "heading", "start", "end", "text", "score", "highlights", "meta"}


def check_answer(b, a):
    """The promises of the contract that any answer keeps."""
    assert set(a) >= {"id", "question", "answer", "status", "style", "short", "sentences", "citations", "confidence", "passages", "prompt", "model",
                      "snapshot", "cached", "usage", "timings_ms"}, a
    import re
    marks = [int(n) for n in re.findall(r"\[(\d+)\]", a["answer"])]
    assert sorted(set(marks)) == [c["n"] for c in a["citations"]] == list(range(1, len(a["citations"]) + 1)), a
    assert [m for i, m in enumerate(marks) if m not in marks[:i]] == sorted(set(marks)), "marks are numbered by first use"
    for c in a["citations"]:
        text = b.run("docs", "text", c["document_id"]).stdout
        assert c["quote"] == text[c["start"]:c["end"]] and 0 < len(c["quote"]) <= 400, c
    for s in a["sentences"]:
        part = a["answer"][s["start"]:s["end"]]
        assert [int(n) for n in re.findall(r"\[(\d+)\]", part)] == s["citations"] and len(s["citations"]) <= 2, (part, s)
    if a["short"]:
        text = b.run("docs", "text", a["short"]["document_id"]).stdout
        assert a["short"]["text"] == text[a["short"]["start"]:a["short"]["end"]]
    assert 0 <= a["confidence"] <= 1
    if a["status"] == "abstained":
        assert not a["citations"] and not marks and a["reason"], a


@test
def ask_extractive(b):
    b.write("leave.txt", LEAVE)
    b.write("travel.md", TRAVEL)
    b.ingest()
    a = b.json("ask", "--extractive", "How many days of paid leave do employees receive?")[0]
    check_answer(b, a)
    assert a["status"] == "answered" and a["style"] == "extractive" and "27 days" in a["answer"] and a["model"] is None, a
    people = b.run("ask", "--extractive", "How many days of paid leave do employees receive?").stdout
    assert "no prompt nosuch" in b.run("ask", "--extractive", "--prompt", "nosuch", "How many days?", ok=(3,)).stderr
    assert "[1]" in people and "leave.txt" in people, people


@test
def chat_remembers(b):
    b.write("leave.txt", LEAVE)
    b.write("travel.md", TRAVEL)
    b.ingest()
    talk = "How many days of paid leave do employees receive?\n\n  And in winter?  \n/new\nAnd in winter?\n/quit\nnever read\n"

    def chat(*args, said=talk, ok=0):
        r = subprocess.run([FOOTNOTE, "--data", b.data, *args], input=said, capture_output=True, text=True, timeout=120)
        assert r.returncode == ok, (r.returncode, r.stdout, r.stderr)
        return r

    def check():
        a = [json.loads(line) for line in chat("--json", "chat", "--extractive").stdout.splitlines()]
        assert [x["question"] for x in a] == ["How many days of paid leave do employees receive?", "And in winter?", "And in winter?"], a
        assert [x["plan"]["rewritten"] for x in a] == ["none", "rules", "none"] and "paid leave" in a[1]["plan"]["question"], a[1]["plan"]
        people = chat("chat", "--extractive")
        assert "27 days" in people.stdout and "leave.txt" in people.stdout and "never" not in people.stdout, people.stdout

    check()
    p = subprocess.Popen([FOOTNOTE, "--data", b.data, "serve", "--listen", "127.0.0.1:0"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        p.stdout.readline()
        check()          # a service owns the folder: each turn is sent to it
    finally:
        p.terminate()
        p.communicate()
    assert chat("chat", said="").stdout == ""
    assert "/new" in chat("chat", said="/what\n").stderr
    r = chat("--json", "chat", "--extractive", said="x" * 100000 + "\nHow many days of paid leave do employees receive?", ok=1)
    assert "question_chars_max" in r.stderr and json.loads(r.stdout)["status"] == "answered", r
    assert "standard input" in chat("chat", "a question", ok=2).stderr
    history = json.dumps([{"role": "user", "content": "How many days of paid leave do employees receive?"}])
    assert b.json("ask", "--extractive", "And in winter?", "--history", history)[0]["plan"]["rewritten"] == "rules"
    for bad in ("[", "7", '[{"role":"other","content":"x"}]'):
        assert "history" in b.run("ask", "x", "--history", bad, ok=(2,)).stderr


@test
def summarize(b):
    path = b.write("leave.txt", LEAVE)
    b.write("travel.md", TRAVEL)
    b.ingest()
    one, = b.json("summarize", path, "--extractive")
    assert one["status"] == "answered" and one["citations"] and {c["source"] for c in one["citations"]} == {path}
    assert all(LEAVE[c["start"]:c["end"]] == c["quote"] for c in one["citations"])
    by_id, = b.json("summarize", one["citations"][0]["document_id"], "--sentences", "1", "--extractive")
    assert len(by_id["sentences"]) == 1
    both, = b.json("summarize", "--filter", 'type in ("txt", "md")', "--extractive")
    assert len({c["source"] for c in both["citations"]}) == 2
    text = b.run("summarize", path, "--extractive").stdout
    assert one["answer"] in text and "(chars " in text
    assert "leave.txt" not in b.run("summarize", "nosuch.txt", ok=(3,)).stdout
    for args in ((), (path, "--filter", "exists(source)"), (path, "--sentences", "0"), ("--filter", "type =")):
        b.run("summarize", *args, ok=(2,))
    b.run("summarize", "--filter", 'type = "pdf"', "--extractive", ok=(3,))
    for name in ("nosuch", "answer"):
        assert f"no prompt {name}" in b.run("summarize", path, "--extractive", "--prompt", name, ok=(3,)).stderr
    b.run("summarize", path, "--extractive", "--prompt", "summary@1")


@test
def assist(b):
    b.write("leave.txt", LEAVE)
    b.ingest()
    thread = {"messages": [{"role": "customer", "text": "Hi! How many days of paid leave do employees receive?"}]}
    path = b.write("thread.json", json.dumps(thread))
    one, = b.json("assist", path, "--extractive", "--tone", "brisk")
    assert "27 days" in one["reply"]["answer"] and one["tone"] == "brisk" and one["similar"] == [], one
    assert one["reply"]["answer"] in b.run("assist", path, "--extractive").stdout
    assert b.json("assist", path, "--extractive", "--filter", 'source = "nosuch"')[0]["reply"]["status"] == "abstained"
    b.run("assist", ok=(2,))
    b.run("assist", f"{b.docs}/none.json", ok=(3,))
    for bad in ("{", "[]", "{}", '{"messages":[{"role":"agent","text":"x"}]}'):
        assert b.run("assist", b.write("bad.json", bad), ok=(1, 2)).stderr


@test
def ask_nothing_relevant_abstains(b):
    b.write("leave.txt", LEAVE)
    b.ingest()
    a = b.json("ask", "--extractive", "Which enzyme splits lactose in yeast cells?")[0]
    check_answer(b, a)
    assert a["status"] == "abstained", a
    a = b.json("--collection", "other", "ask", "--extractive", "Welche Regeln gelten für die Reise und was ist mit dem Hotel?")[0]
    assert a["status"] == "abstained" and "Dokumente" in a["answer"], a


@test
def ask_generated(b):
    if not os.path.exists(os.path.expanduser("~/.cache/footnote/models/smollm2-135m-instruct-q4_1.gguf")) and not os.environ.get("FOOTNOTE_MODELS"):
        raise Skip("smollm2 was not fetched")
    b.write("leave.txt", LEAVE)
    b.write("travel.md", TRAVEL)
    conf = b.write("../service.conf", "generate.model = smollm2-135m-instruct-q4_1\n")
    b.ingest()
    for q in ("How many days of paid leave do employees receive?", "What is the limit for a hotel night?"):
        a = b.json("-c", conf, "ask", q)[0]
        check_answer(b, a)
        assert a["model"] == "smollm2-135m-instruct-q4_1" and a["usage"]["prompt_tokens"] > 50, a


@test
def search_modes(b):
    b.write("leave.txt", LEAVE)
    b.write("travel.md", TRAVEL)
    b.ingest()
    both, words = b.json("search", "hotel night limit", "--explain"), b.json("search", "--mode", "lexical", "hotel night limit", "--explain")
    assert both[0]["source"].endswith("travel.md") and words[0]["source"].endswith("travel.md"), (both, words)
    assert [p["name"] for p in both[0]["explain"]["parts"]] == ["dense", "lexical", "reader"] and [p["name"] for p in words[0]["explain"]["parts"]] == ["lexical"]
    assert abs(sum(p["part"] for p in both[0]["explain"]["parts"]) - both[0]["score"]) < 1e-9
    assert b.json("search", "--mode", "lexical", "unheardof") == [] and b.json("search", "--mode", "dense", "unheardof")
    assert "by words" in b.run("search", "hotel night limit", "--explain").stdout
    assert b.json("search", '"hotel night limit"') == [] and '"night limit hotel" as it is quoted' in b.run("search", "«night limit hotel»").stdout
    assert "no passage" in b.run("search", "--mode", "lexical", "unheardof").stdout
    # without an embedder words are still found, and the rest says what it lacks
    def bare(mode, ok):
        return b.run("--models", b.top + "/none", "--json", "search", "--mode", mode, "hotel night limit", ok=(ok,), env={"XDG_CACHE_HOME": b.top + "/none"})
    assert json.loads(bare("lexical", 0).stdout.splitlines()[0])["source"] == words[0]["source"]
    for mode in ("hybrid", "dense"):
        assert "footnote models fetch" in bare(mode, 3).stderr


@test
def search_within_a_filter(b):
    for name, text, year in (("leave.txt", LEAVE, "2025"), ("travel.md", TRAVEL, "2024")):
        b.write(name, text)
        b.ingest("--meta", "year=" + year, f"{b.docs}/{name}")
    seen = lambda *a: {os.path.basename(h["source"]) for h in b.json("search", "days of leave and hotels", *a)}
    for expr, want in (('type = "md"', {"travel.md"}), ('meta.year >= "2025"', {"leave.txt"}), ('not type = "md" or meta.year = "2024"', {"leave.txt", "travel.md"}),
                       ('type = "md" and type = "txt"', set()), (f'source = "{b.docs}/leave.txt"', {"leave.txt"}), (f'source >= "{b.docs}/" and source < "{b.docs}0"', {"leave.txt", "travel.md"}), ('added < "2001-01-01"', set())):
        for mode in ("hybrid", "dense", "lexical"):
            assert seen("--filter", expr, "--mode", mode) == want, (expr, mode)
    assert "fits the filter" in b.run("search", "leave", "--filter", "meta.year = 5").stdout
    assert "within the filter" in b.run("search", "--mode", "lexical", "hotel", "--filter", 'type = "txt"').stdout
    assert b.json("search", "leave", "--filter", "meta.year = 5") == []
    a = b.json("ask", "--extractive", "How many days of leave do employees receive?", "--filter", 'type = "md"')[0]
    assert {os.path.basename(p["source"]) for p in a["passages"]} == {"travel.md"} and "27" not in a["answer"], a
    assert b.json("ask", "--extractive", "How many days of leave do employees receive?", "--filter", 'type = "pdf"')[0]["status"] == "abstained"
    for cmd in ("search", "ask"):
        r = b.run(cmd, "leave", "--filter", 'type = md', ok=(2,))
        assert "filter: character 8: md where a value" in r.stderr, r.stderr
        assert "8192" in b.run(cmd, "leave", "--filter", "(" * 10000, ok=(2,)).stderr
    b.run("search", "leave", "--group", "folder", ok=(2,))
    lines = b.write("../q.jsonl", '{"id":1,"question":"How many days of leave?","style":"extractive","filter":"type = \\"md\\""}\n{"id":2,"question":"x","filter":"type"}\n')
    b.run("batch", lines, "-o", b.top + "/a.jsonl", ok=(1,))
    one, two = (json.loads(x) for x in open(b.top + "/a.jsonl"))
    assert {os.path.basename(p["source"]) for p in one["answer"]["passages"]} == {"travel.md"} and two["error"]["param"] == "filter", (one, two)


@test
def search_shows_where_the_words_stand(b):
    b.write("long.txt", "The pool opens at six and towels are rented for two euros. " * 9 + "Zebras graze on the plain at dusk. " + "Children swim for free. " * 3)
    b.ingest()
    shown = b.run("search", "grazing zebras").stdout
    assert "… " in shown and "Zebras graze on the plain" in shown, shown
    assert "\n   The pool opens at six" in b.run("search", "nothing of it").stdout


@test
def search_grouped_by_document(b):
    b.write("long.txt", "\n\n".join(f"Part {i}. " + "Employees of Alder receive 27 days of paid leave a year, says the handbook. " * 12 for i in range(8)))
    b.write("travel.md", TRAVEL)
    b.ingest()
    names = lambda *a: [os.path.basename(h["source"]) for h in b.json("search", "days of paid leave", *a)]
    assert names("-k", "3") == ["long.txt"] * 3 and names("-k", "3", "--group", "document") == ["long.txt", "travel.md"]
    assert names("-k", "1", "--group", "document") == ["long.txt"]


@test
def why_not_names_the_step(b):
    for i in range(1, 16):
        b.write(f"n{i}.txt", f"Note {i} is about the harvest of apples and pears, which was good in year {i}.")
    b.write("travel.txt", TRAVEL)
    b.write("copy.txt", TRAVEL)
    b.write("empty.txt", "")
    b.write("long.txt", "\n\n".join(f"Part {i}. " + "The harvest of plums was good, says the book of the harvest. " * 12 for i in range(8)))
    b.write("zebra.txt", "Zebras graze on the plain at dusk.")
    b.ingest(*(f"{b.docs}/{n}" for n in sorted(os.listdir(b.docs)) if n != "zebra.txt"))
    b.ingest("--acl", "zoo", f"{b.docs}/zebra.txt")
    b.ingest("--collection", "other", f"{b.docs}/n1.txt")
    conf = b.write("../why.conf", "search.fuse_depth = 5\n")
    def why(query, name, *args, step):
        w = b.json("-c", conf, "why-not", query, f"{b.docs}/{name}" if "." in name else name, *args)[0]
        assert w["step"] == step and w["reason"] and "(null)" not in w["reason"], w
        shown = b.run("-c", conf, "why-not", query, w["document_id"], *args).stdout
        assert f"{step}: {w['reason']}" in shown, (shown, w)
        return w
    w = why("harvest of pears in year 7", "n7.txt", step="found")
    hits = b.json("-c", conf, "search", "harvest of pears in year 7")
    assert hits[w["place"] - 1]["document_id"] == w["document_id"] and hits[w["place"] - 1]["score"] == w["score"] and w["words"]["lacking"] == [], w
    assert "holds a word" in why("hotel", "n7.txt", "--mode", "lexical", step="candidates")["reason"]
    w = why("hotel zebra", "n7.txt", "-k", "3", step="candidates")
    assert w["words"] == {"held": [], "lacking": ["hotel", "zebra"]} and w["place"] is None, w
    dense, lexical = w["rankings"]
    assert dense["name"] == "dense" and dense["place"] > 5 and dense["score"] < dense["score_needed"] and lexical["place"] is None, w
    whole = b.json("search", "hotel zebra", "--mode", "dense", "-k", "100")
    assert [h["document_id"] for h in whole].index(w["document_id"]) + 1 == dense["place"] and w["passage"]["end"] > 0, (w, dense)
    # whatever it says fits what a search gives
    for mode in ("hybrid", "dense", "lexical"):
        for group in ((), ("--group", "document")):
            whole = [(h["document_id"], h["score"]) for h in b.json("-c", conf, "search", "good plums in year 12", "--mode", mode, "-k", "100", *group)]
            for name, k in (("n12.txt", 3), ("long.txt", 1), ("n3.txt", 4)):
                w = b.json("-c", conf, "why-not", "good plums in year 12", f"{b.docs}/{name}", "--mode", mode, "-k", str(k), *group)[0]
                first = next((i for i, (id, _) in enumerate(whole) if id == w["document_id"]), None)
                assert (w["step"] == "found") == (first is not None and first < k), (mode, group, name, w, whole)
                assert w["place"] in (None, first + 1) and (w["place"] is None) == (w["step"] == "candidates"), (mode, group, name, w)
                assert w["place"] is None or abs(w["score"] - whole[first][1]) < 1e-9, (mode, group, name, w)
                assert w["place"] is None or (w["score"] >= w["score_needed"] if w["place"] <= k else w["score"] <= w["score_needed"]), (mode, group, name, w)
    w = why("harvest of plums", "long.txt", "-k", "3", "--group", "document", step="found")
    assert w["held_back"] > 0 and w["place"] == 1, w
    assert why("harvest", "travel.txt", "--filter", 'type = "md"', step="filter")["rankings"] == []
    assert "skipped: empty" in why("harvest", "empty.txt", step="no_text")["reason"]
    both = {why("hotel", n, step=s)["reason"] for n, s in (("travel.txt", "no_text"), ("copy.txt", "found"))}
    assert any("which is found in its place" in r for r in both), both
    why("zebra", "zebra.txt", step="found")
    why("zebra", "zebra.txt", "--as", "zoo", step="found")
    assert why('"graze on the plain"', "zebra.txt", step="found")["place"] == 1
    for mode in ("hybrid", "dense", "lexical"):
        assert "quotes" in why('"graze on a plain"', "zebra.txt", "--mode", mode, step="phrase")["reason"]
    assert "groups" in why("zebra", "zebra.txt", "--as", "sales", step="access")["reason"]
    assert "collection default" in why("zebra", "zebra.txt", "--collection", "other", step="collection")["reason"]
    assert "not in the store" in b.run("why-not", "harvest", "nope.txt", ok=(3,)).stderr
    for args in ((), ("x",), ("x", "y", "--mode", "psychic"), ("x", "y", "--filter", "z")):
        b.run("why-not", *args, ok=(2,))


@test
def answers_without_generator_are_extractive_and_say_so(b):
    b.write("leave.txt", LEAVE)
    conf = b.write("../service.conf", "generate.model = no-such-model\n")
    b.ingest()
    a = b.json("-c", conf, "ask", "How many days of paid leave do employees receive?")[0]
    check_answer(b, a)
    assert a["style"] == "extractive" and "no-such-model" in a["reason"], a


@test
def models_that_cannot_run_are_not_taken_in(b):
    small = small_model()
    with open(small, "rb") as f:
        head = f.read(2 << 20)
    home = b.top + "/models"
    for name, data, size in (("cut", head, len(head)), ("shorter", head[:5000], 5000), ("other", head.replace(b"llama", b"bloom", 1), os.path.getsize(small)),
                             ("counts", head[:8] + b"\xff" * 16 + head[24:], os.path.getsize(small))):
        path = b.write(name + ".gguf", data)
        os.truncate(path, size)
        said = b.run("--models", home, "models", "add", path, ok=(1, 2)).stderr
        assert name + ".gguf" in said, said
        said = b.run("-c", b.write("../c.conf", f"generate.model = {path}\n"), "ask", "anything at all?", ok=(0, 1, 2))
        assert said.returncode == 0 or name + ".gguf" in said.stderr, said
    assert not os.path.exists(home) or not [f for f in os.listdir(home) if not f.startswith(".")], os.listdir(home)
    b.run("--models", home, "models", "add", small)
    assert os.listdir(home)


@test
def an_embedder_of_ones_own(b):
    golden = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "golden", "embedders", "tiny-e5")
    conf, own = f"{b.top}/service.conf", {"XDG_CACHE_HOME": f"{b.top}/cache"}

    def run(*args, ok=(0,)):
        return b.run("-c", conf, "--models", f"{b.top}/models", *args, ok=ok, env=own)
    open(conf, "w").close()
    added = run("models", "add", golden).stdout
    assert "tiny-e5: added" in added and '"query: "' in added and '"passage: "' in added and "licence" in added, added
    kept = {os.path.relpath(os.path.join(d, f), f"{b.top}/models/tiny-e5") for d, _, fs in os.walk(f"{b.top}/models/tiny-e5") for f in fs}
    assert {"config.json", "tokenizer.json", "model.safetensors", "modules.json", "1_Pooling/config.json"} <= kept, kept
    assert "tiny-e5" in run("models", "list").stdout
    run("models", "verify", "tiny-e5")
    run("models", "use", "tiny-e5")
    b.write("leave.txt", LEAVE)
    run("ingest", b.docs)
    assert "leave.txt" in run("search", "days of leave").stdout
    # What questions begin with is free; what passages began with is in the vectors.
    with open(conf, "a") as f:
        f.write('embed.query_prefix = ""\n')
    run("search", "days of leave")
    with open(conf, "a") as f:
        f.write('embed.passage_prefix = ""\n')
    refused = run("search", "days of leave", ok=(5,)).stderr
    assert "embed.passage_prefix" in refused and "footnote reembed" in refused, refused
    run("docs", "list")
    # What cannot be read is refused with what to do.
    broken = f"{b.top}/broken"
    shutil.copytree(golden, broken)
    os.rename(f"{broken}/model.safetensors", f"{broken}/pytorch_model.bin")
    refused = run("models", "add", broken, ok=None)
    assert refused.returncode and "save_pretrained" in refused.stderr, refused
    assert "broken" not in run("models", "list").stdout


@test
def delete_hides_at_once(b):
    path = b.write("leave.txt", LEAVE)
    rows, _ = b.ingest()
    b.run("delete", rows["leave.txt"]["document_id"])
    assert b.json("docs", "list") == [] and b.json("search", "leave") == []
    b.run("delete", rows["leave.txt"]["document_id"], ok=(3,))
    b.ingest()
    b.run("delete", "--source", path)
    b.run("delete", "--source", path, ok=(3,))
    b.run("check")


@test
def bad_usage_exits_2(b):
    for args in (("frobnicate",), ("search",), ("search", "x", "-k", "0"), ("search", "x", "-k", "ten"), ("search", "x", "--mode", "psychic"),
                 ("ingest",), ("ask",), ("docs", "paint"), ("--nonsense", "stats"), ("search", "x", "--filter", "a = b"), ("eval",)):
        r = b.run(*args, ok=(2,))
        assert r.stderr.strip() and "\n\n\n" not in r.stderr, (args, r.stderr)
    conf = b.write("../bad.conf", "serve.listen = 127.0.0.1:80\nno.such.key = 1\n")
    r = b.run("-c", conf, "stats", ok=(2,))
    assert "bad.conf:2" in r.stderr and "no.such.key" in r.stderr, r.stderr
    b.run("docs", "show", "nothing-here", ok=(3,))
    b.run("eval", b.docs, ok=(3,))


@test
def missing_embedder_exits_3(b):
    b.write("leave.txt", LEAVE)
    r = b.run("ingest", b.docs, ok=(3,), env={"XDG_CACHE_HOME": f"{b.top}/nowhere"})
    assert "footnote models fetch" in r.stderr, r.stderr
    for args in (("check",), ("stats",), ("docs", "list")):
        b.run(*args, env={"XDG_CACHE_HOME": f"{b.top}/nowhere"})


@test
def acl_narrows(b):
    b.write("leave.txt", LEAVE)
    b.ingest("--acl", "hr", b.docs)
    b.write("travel.md", TRAVEL)
    b.ingest(f"{b.docs}/travel.md")
    seen = lambda *a: {os.path.basename(h["source"]) for h in b.json("search", "days of leave and hotels", *a)}
    assert seen() == {"leave.txt", "travel.md"}
    assert seen("--as", "hr") == {"leave.txt", "travel.md"}
    assert seen("--as", "sales") == {"travel.md"}


@test
def one_owner(b):
    b.write("leave.txt", LEAVE)
    p = subprocess.Popen([FOOTNOTE, "--data", b.data, "serve", "--listen", "127.0.0.1:0"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        line = p.stdout.readline()
        assert "http://127.0.0.1:" in line, line
        rows, _ = b.ingest()
        assert rows["leave.txt"]["verdict"] == "added"
        assert len(b.json("search", "leave")) == 1
        r = b.run("serve", "--listen", "127.0.0.1:0", ok=(5,))
        assert r.stderr.strip()
        r = b.run("ingest", "docs", cwd=b.top)  # relative to who asks, not to the owner
        b.run("frobnicate", ok=(2,))
        b.run("docs", "show", "nothing-here", ok=(3,))
        b.run("check")
    finally:
        p.send_signal(signal.SIGTERM)
        assert p.wait(timeout=60) == 0, p.stderr.read()
    assert len(b.json("search", "leave")) == 1


@test
def commands_beside_a_long_ingest(b):
    for i in range(300):
        b.write(f"doc{i}.txt", f"Number {i}\n\n" + f"The item {i} lies in aisle {i % 17}. " * 30)
    p = subprocess.Popen([FOOTNOTE, "--data", b.data, "--json", "ingest", b.docs], stdout=subprocess.PIPE, text=True)
    beside = 0
    while p.poll() is None and beside < 5:
        b.run("stats")
        beside += 1
    out, _ = p.communicate(timeout=300)
    rows = [json.loads(line) for line in out.splitlines()]
    assert p.returncode == 0 and rows[-1]["summary"] and len(rows) == 301
    assert len(b.json("docs", "list")) == 300
    b.run("check")


@test
def long_data_path(b):
    b.data = f"{b.top}/" + "/".join(["a-rather-long-folder-name"] * 8)
    b.write("leave.txt", LEAVE)
    b.ingest()
    p = subprocess.Popen([FOOTNOTE, "--data", b.data, "serve", "--listen", "127.0.0.1:0"], stdout=subprocess.PIPE, text=True)
    try:
        p.stdout.readline()
        assert len(b.json("search", "leave")) == 1
    finally:
        p.terminate()
        p.wait(timeout=60)


@test
def eval_prints_figures(b):
    root = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "corpora", "squad_mini")
    f = b.json("eval", root, "--answers", "--extractive")[0]
    for key in ("ndcg@10", "recall@10", "recall@100", "mrr@10", "contains", "answered_correct", "citation_precision", "citation_recall", "quote_exact"):
        assert 0 <= f[key] <= 1, (key, f)
    assert f["recall@10"] >= 0.9 and f["quote_exact"] == 1, f
    assert f["collection"] == "eval-squad_mini" and b.json("docs", "list") == []
    gate = b.write("gate.json", '{"recall@10": 0.5}')
    b.run("eval", root, "--gate", gate)
    gate = b.write("gate.json", '{"recall@10": 1.01}')
    r = b.run("eval", root, "--gate", gate, ok=(1,))
    assert "recall@10" in r.stderr


@test
def a_name_that_is_not_utf8_is_named(b):
    b.write("leave.txt", LEAVE)
    name = b.docs.encode() + b"/w\xffrong.txt"
    with open(name, "w") as f:
        f.write(TRAVEL)
    r = subprocess.run([FOOTNOTE, "--data", b.data, "ingest", name], capture_output=True)
    assert r.returncode == 2 and "w\ufffdrong.txt" in r.stderr.decode(), r
    rows, _ = b.ingest()
    assert rows["w%FFrong.txt"]["verdict"] == "added" and rows["leave.txt"]["verdict"] == "added", rows


@test
def eval_measures_the_set_alone(b):
    """A set with the same name elsewhere, or an earlier state of the same one, leaves nothing in the collection."""
    text = "The red lamp hangs in the hall.\n\nThe blue door leads to the yard.\n"
    q = {"id": "1", "question": "Where is the red lamp?", "answerable": True, "answers": ["hall"], "doc": "a.txt", "paragraph": text.split("\n")[0]}
    for place in ("x", "y"):
        b.write(f"{place}/set/articles/a.txt", text)
        b.write(f"{place}/set/questions.jsonl", json.dumps(q) + "\n")
        assert b.json("eval", f"{b.docs}/{place}/set")[0]["recall@10"] == 1
        listed = b.json("--collection", "eval-set", "docs", "list")
        assert [d["source"] for d in listed] == [f"{b.docs}/{place}/set/articles/a.txt"], listed
    b.write("c/queries.jsonl", '{"id":"q","text":"where is the lamp"}\n')
    b.write("c/qrels.tsv", "query\tdocument\tscore\nq\t1\t1\n")
    for ids in ("12", "1"):
        b.write("c/corpus.jsonl", "".join(json.dumps({"id": i, "title": "t", "text": f"The lamp {i} is red."}) + "\n" for i in ids))
        b.json("eval", f"{b.docs}/c")
        assert [d["id"] for d in b.json("--collection", "eval-c", "docs", "list")] == [f"eval-c/{i}" for i in ids]


@test
def bench_tells_figures(b):
    """The figures are there and fit each other; how large they are is not for a test to say."""
    texts = b.write("texts.jsonl", "".join(json.dumps({"title": "Leave", "text": LEAVE * n}) + "\n" for n in (1, 3)) + "\n")
    f, = b.json("bench", "embed", "--texts", texts, "--threads", "1", "--repeat", "1")
    assert f["texts"] == 2 and f["threads"] == 1 and f["tokens"] > 60 and f["query_p95_ms"] >= f["query_ms"] > 0, f
    assert abs(f["tokens_per_s"] / f["texts_per_s"] - f["tokens"] / 2) < 0.05 * f["tokens"], f
    assert b.json("bench", "embed", "--texts", texts, "--limit=1", "--repeat", "1")[0]["texts"] == 1
    f, = b.json("bench", "store", "--texts", texts)
    assert f["chunks"] == f["documents"] == f["commits"] == 1 and f["chunks_per_s"] > 0 < f["chunks_per_cpu_s"], f
    b.run("bench", "store", ok=(2,))
    assert "texts.jsonl:2" in b.run("bench", "embed", "--texts", b.write("texts.jsonl", '{"text":"a"}\n{"title":"b"}\n'), ok=(1,)).stderr
    for args, code in (((), 2), (("coffee",), 2), (("embed",), 2), (("embed", "--texts", "nosuch"), 3), (("generate", "--model", "nosuch"), 3),
                       (("generate", "-p", "0"), 2), (("generate", "there"), 2)):
        b.run("bench", *args, ok=(code,))
    rows = [[math.sin(i * 7.7 + j * j) for j in range(9)] for i in range(700)]
    fvecs = lambda name, some: b.write(name, b"".join(struct.pack("<i9f", 9, *r) for r in some))
    folder = f"{b.top}/bench"
    index = ("bench", "index", "--texts", fvecs("base.fvecs", rows), "--queries", fvecs("ask.fvecs", rows[:20]))
    f, = b.json(*index, "--folder", folder)
    assert (f["vectors"], f["dim"], f["queries"], f["exact_recall"]) == (700, 9, 20, 1), f
    assert f["ef400_recall"] > 0.99 and f["default_tenth_recall"] > 0.99 and f["exact_per_s"] > 0 and f["bytes_per_vector"] > 9, f
    assert len(open(os.path.join(folder, "base.fvecs"), "rb").read()) == 700 * 40
    assert "new folder" in b.run(*index, "--folder", folder, ok=(1, 3, 4, 5)).stderr
    b.run("bench", "index", "--texts", b.write("bad.fvecs", b"abc"), "--queries", "ask.fvecs", "--folder", folder + "2", ok=(1,))
    assert not os.path.exists(b.data)
    small_model()
    run = ("bench", "generate", "--model", "smollm2-135m", "--repeat", "1")
    f, = b.json(*run, "-p", "40", "-n", "6")
    assert (f["prompt_tokens"], f["written_tokens"], f["parallel"]) == (40, 6, 1) and f["prefill_tps"] > 0 and f["first_token_ms"] > 0, f
    assert abs(f["bytes_per_s"] / f["decode_tps"] - f["token_bytes"]) < 0.01 * f["token_bytes"], f
    f, = b.json(*run, "-p", "16", "-n", "12", "--parallel", "3")
    assert f["parallel"] == 3 and abs(f["bytes_per_s"] / f["decode_tps"] * 3 - f["token_bytes"]) < 0.01 * f["token_bytes"], f
    assert "decode_tps" not in b.json(*run, "-p", "16", "-n", "1")[0]
    question = b.write("question.txt", LEAVE + "Repeat this text.")
    answers = [b.json(*run, "--prompt", question, "-n", "30", "--draft", d)[0] for d in ("0", "6")]
    assert answers[0]["answer"] == answers[1]["answer"] != "" and answers[0]["written_tokens"] > 3 and answers[1]["draft"] == 6, answers


frame.main(Box)
