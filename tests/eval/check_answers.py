#!/usr/bin/env python3
"""Asks the questions of a set over HTTP and holds every answer against the contract, with nothing of Footnote's own code:
each quote equals the document's text at its offsets and is at most 400 code points, marks and citations match one to
one, sentence ranges and citations agree, `short` is an exact span. Also prints how many answers hold a gold text.

Usage: check_answers.py FOOTNOTE SET [N] [--style generate|extractive] [--data DIR] [-c CONF] [--dump FILE]
       (SET: a folder with articles/ and questions.jsonl; N: questions, spread evenly over the set, default 100)
Last line: N passed, N failed, N skipped."""
import argparse, collections, json, os, re, shutil, string, subprocess, sys, tempfile, time, urllib.error, urllib.request

p = argparse.ArgumentParser()
p.add_argument("footnote"), p.add_argument("set"), p.add_argument("n", nargs="?", type=int, default=100)
p.add_argument("--style", default="generate"), p.add_argument("--data"), p.add_argument("-c", dest="conf"), p.add_argument("--dump")
o = p.parse_args()
top = tempfile.mkdtemp(prefix="footnote-answers-")
data = o.data or f"{top}/data"
base = [os.path.abspath(o.footnote), "--data", data] + (["-c", o.conf] if o.conf else [])
url = None
texts = {}


def get(path):
    with urllib.request.urlopen(url + path, timeout=60) as r:
        return r.read().decode()


def post(path, body):
    q = urllib.request.Request(url + path, json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(q, timeout=600) as r:
        return json.load(r)


def wait_ready():
    for _ in range(600):
        try:
            return get("/readyz")
        except urllib.error.HTTPError as e:
            if e.code != 503:
                raise
        time.sleep(0.2)
    raise SystemExit("the service did not become ready")


def text_of(doc):
    if doc not in texts:
        texts[doc] = get(f"/v1/documents/{doc}/text")
    return texts[doc]


def wrong(a):
    """What the answer breaks; empty when it keeps every promise."""
    bad = []
    marks = [int(m) for m in re.findall(r"\[(\d+)\]", a["answer"])]
    numbers = [c["n"] for c in a["citations"]]
    if numbers != list(range(1, len(numbers) + 1)) or list(dict.fromkeys(marks)) != numbers:
        bad.append(f"marks {marks} against citations {numbers}")
    for c in a["citations"]:
        if text_of(c["document_id"])[c["start"]:c["end"]] != c["quote"]:
            bad.append(f"quote [{c['n']}] is not the text at its offsets")
        if not 0 < len(c["quote"]) <= 400:
            bad.append(f"quote [{c['n']}] has {len(c['quote'])} characters")
    ranges = {(c["document_id"], c["start"], c["end"]) for c in a["citations"]}
    if len(ranges) != len(numbers):
        bad.append("one range has two numbers")
    for s in a["sentences"]:
        inside = [int(m) for m in re.findall(r"\[(\d+)\]", a["answer"][s["start"]:s["end"]])]
        if inside != s["citations"] or len(inside) > 2:
            bad.append(f"sentence {s} holds marks {inside}")
        if a["status"] == "answered" and s["support"] == "verified" and not inside:
            bad.append("a verified sentence without a mark")
    if a["short"] and text_of(a["short"]["document_id"])[a["short"]["start"]:a["short"]["end"]] != a["short"]["text"]:
        bad.append("short is not the text at its offsets")
    if a["status"] == "abstained" and (a["citations"] or marks):
        bad.append("an abstention with citations")
    if a["status"] == "answered" and not a["citations"]:
        bad.append("an answer without citations")
    return bad


def normal(s):
    s = "".join(c for c in s.lower() if c not in string.punctuation)
    return " ".join(w for w in s.split() if w not in ("a", "an", "the"))


rows = [json.loads(line) for line in open(f"{o.set}/questions.jsonl")]
rows = [rows[i * len(rows) // o.n] for i in range(min(o.n, len(rows)))]
subprocess.run(base + ["-q", "ingest", f"{o.set}/articles"], check=True, stdout=subprocess.DEVNULL)
server = subprocess.Popen(base + ["serve", "--listen", "127.0.0.1:0"], stdout=subprocess.PIPE, text=True)
passed = failed = 0
count = collections.Counter()
dump = open(o.dump, "w") if o.dump else None
times = []
try:
    url = re.search(r"http://\S+", server.stdout.readline()).group(0).rstrip("/")
    wait_ready()
    for q in rows:
        t = time.time()
        a = post("/v1/answers", {"question": q["question"], "style": o.style})
        times.append(time.time() - t)
        bad = wrong(a)
        passed, failed = passed + (not bad), failed + bool(bad)
        for b in bad:
            print(f"FAIL {q['id']}: {b}")
        kind = "answerable" if q["answerable"] else "unanswerable"
        unmarked = re.sub(r'\[\d+\]', '', a['answer'])
        plain = f" {normal(unmarked)} "
        right = any(normal(g) and f" {normal(g)} " in plain for g in q["answers"])
        count[kind, a["status"]] += 1
        count["right"] += right and a["status"] == "answered"
        if dump:
            dump.write(json.dumps({"question": q, "answer": a}) + "\n")
finally:
    server.terminate()
    server.wait(timeout=60)
    shutil.rmtree(top, ignore_errors=True)
for k in sorted(count, key=str):
    print(f"{' '.join(k) if isinstance(k, tuple) else k}: {count[k]}")
times.sort()
print(f"seconds a question: median {times[len(times) // 2]:.2f}, p95 {times[int(len(times) * .95)]:.2f}")
print(f"{passed} passed, {failed} failed, 0 skipped")
sys.exit(failed > 0)
