#!/usr/bin/env python3
"""Multi-turn questions (support_mtrag): is a passage that people chose as evidence among the first five that an answer looks
at? Ingests the set's documents, asks every task over HTTP with its history, and compares texts: a passage is right when at
least half of its runs of five words stand in one of the task's gold passages.

Usage: mtrag.py FOOTNOTE SET [--style extractive|generate] [--set KEY=VALUE]… [--with PATH]… [-c CONF] [--data DIR] [--show] [--floor F]
       (SET: a folder with docs/, corpus.jsonl and tasks.jsonl; --set: settings of service.conf; --with: further documents in
       the same collection, so that more can be mistaken; --data: a folder that is kept; --floor: exit 1 below it)
Prints a JSON object: tasks with a gold passage, those of several turns, how many were rewritten, right_at_5 and right_at_1 of
all, of several turns and of those rewritten, and what understanding and searching took."""
import argparse, json, os, re, shutil, statistics, subprocess, sys, tempfile, time, urllib.error, urllib.request

p = argparse.ArgumentParser()
p.add_argument("footnote"), p.add_argument("set"), p.add_argument("--style", default="extractive"), p.add_argument("--set", dest="conf", action="append", default=[])
p.add_argument("--with", dest="more", action="append", default=[]), p.add_argument("-c", dest="file"), p.add_argument("--data")
p.add_argument("--show", action="store_true"), p.add_argument("--floor", type=float)
o = p.parse_args()
top = tempfile.mkdtemp(prefix="footnote-mtrag-")


def settings():
    given = open(o.file).read() if o.file else ""
    if o.style == "extractive":
        given += "generate.model = none\n"
    with open(f"{top}/service.conf", "w") as f:
        f.write(given + "".join(s.replace("=", " = ", 1) + "\n" for s in o.conf))
    return f"{top}/service.conf"


base = [os.path.abspath(o.footnote), "-c", settings(), "--data", o.data or f"{top}/data"]


def grams(text):
    w = re.findall(r"\w+", text.lower())
    return {tuple(w[i:i + 5]) for i in range(max(1, len(w) - 4))}


def right(hit, gold):
    g = grams(hit["text"])
    return any(2 * len(g & x) >= len(g) for x in gold)


def post(url, body):
    q = urllib.request.Request(url + "/v1/answers", json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(q, timeout=600) as r:
        return json.load(r)


def wait_ready(url):
    for _ in range(600):
        try:
            return urllib.request.urlopen(url + "/readyz", timeout=60).read()
        except urllib.error.HTTPError as e:
            if e.code != 503:
                raise
        time.sleep(0.2)
    raise SystemExit("the service did not become ready")


def ask(url, task):
    history = [{"role": "user" if t["speaker"] == "user" else "assistant", "content": t["text"]} for t in task["conversation"][:-1]]
    return post(url, {"question": task["question"], "history": history, "style": o.style})


def place(answer, gold):
    return next((i + 1 for i, h in enumerate(answer["passages"]) if right(h, gold)), 0)


def share(rows, k):
    return round(sum(0 < r["place"] <= k for r in rows) / len(rows), 4) if rows else None


def figures(rows):
    several = [r for r in rows if r["turns"] > 1]
    rewritten = [r for r in several if r["by"] != "none"]
    return {"tasks": len(rows), "several_turns": len(several), "rewritten": len(rewritten), "by_model": sum(r["by"] == "model" for r in rows),
            "right_at_5": share(several, 5), "right_at_1": share(several, 1), "right_at_5_all": share(rows, 5), "right_at_5_rewritten": share(rewritten, 5),
            "answered": sum(r["status"] != "abstained" for r in rows), "understand_ms": round(statistics.median(r["understand"] for r in rows), 2),
            "search_ms": round(statistics.median(r["search"] for r in rows), 2)}


def run(url):
    corpus = {d["id"]: grams(d["text"]) for d in map(json.loads, open(f"{o.set}/corpus.jsonl"))}
    rows = []
    for task in map(json.loads, open(f"{o.set}/tasks.jsonl")):
        if not task["gold_passages"]:
            continue
        a = ask(url, task)
        t = a["timings_ms"]
        rows.append({"place": place(a, [corpus[g] for g in task["gold_passages"]]), "turns": len(task["conversation"]), "by": a["plan"]["rewritten"],
                     "status": a["status"], "understand": t["understand"], "search": t["embed"] + t["search"]})
        if o.show:
            print(json.dumps({"id": task["id"], **rows[-1], "question": task["question"], "plan": a["plan"], "answer": a["answer"]}, ensure_ascii=False), flush=True)
    return figures(rows)


try:
    subprocess.run(base + ["ingest", "-q", f"{o.set}/docs", *o.more], check=True, stdout=subprocess.DEVNULL)
    service = subprocess.Popen(base + ["serve", "--listen", "127.0.0.1:0"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        url = re.search(r"http://[\d.:]+", service.stdout.readline()).group(0)
        wait_ready(url)
        out = run(url)
    finally:
        service.terminate()
        service.wait()
    print(json.dumps(out))
finally:
    shutil.rmtree(top, ignore_errors=True)
sys.exit(o.floor is not None and out["right_at_5"] < o.floor)
