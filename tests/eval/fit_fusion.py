#!/usr/bin/env python3
"""Fits how the ranking by meaning and the ranking by words are joined (search.fusion and its weights): asks every question
of some sets once over HTTP with `explain`, and joins the two lists anew for each point of a grid. Fitted on every other
question, told for the rest. Deterministic; plain Python.

Usage: fit_fusion.py FOOTNOTE SET... [--data DIR] [-c CONF] [--lists FILE]
       (SET: a folder that `footnote eval` takes; --data: kept between runs; --lists: asked once, read again later)"""
import argparse, csv, json, math, os, re, shutil, subprocess, tempfile, time, urllib.error, urllib.request

p = argparse.ArgumentParser()
p.add_argument("footnote"), p.add_argument("sets", nargs="+")
p.add_argument("--data"), p.add_argument("-c", dest="conf"), p.add_argument("--lists")
o = p.parse_args()
DEPTH = 200  # of the joined list: twice search.fuse_depth
url = None


def get(path):
    with urllib.request.urlopen(url + path, timeout=60) as r:
        return r.read().decode()


def post(path, body):
    q = urllib.request.Request(url + path, json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(q, timeout=600) as r:
        return json.load(r)


def lines(path):
    return [json.loads(line) for line in open(path)]


def squeeze(text):
    """The text without white space, and where each of its characters stood."""
    at = [i for i, c in enumerate(text) if c not in " \n\t\r"]
    return "".join(text[i] for i in at), at


def questions_of(path):
    """(text, what tells a relevant hit) for each question that has one."""
    if os.path.exists(f"{path}/queries.jsonl"):
        gold = {}
        for q, d, score in list(csv.reader(open(f"{path}/qrels.tsv"), delimiter="\t"))[1:]:
            if int(score) > 0:
                gold.setdefault(q, set()).add(d)
        return [(q["text"], {"ids": gold[q["id"]]}) for q in lines(f"{path}/queries.jsonl") if q["id"] in gold]
    return [(q["question"], {"file": q["doc"], "paragraph": q["paragraph"]}) for q in lines(f"{path}/questions.jsonl") if q["answerable"]]


def mark(hits, want, collection, texts):
    """Each hit as [relevant, document, cosine, place by meaning, BM25, place by words]."""
    span = None
    out = []
    for h in hits:
        if "ids" in want:
            yes = h["document_id"][len(collection) + 1:] in want["ids"]
        else:
            yes = os.path.basename(h["source"]) == os.path.basename(want["file"])
            if yes:
                if h["document_id"] not in texts:
                    texts[h["document_id"]] = squeeze(get(f"/v1/documents/{h['document_id']}/text"))
                flat, at = texts[h["document_id"]]
                needle = squeeze(want["paragraph"])[0]
                from_ = flat.find(needle)
                span = (at[from_], at[from_ + len(needle) - 1] + 1) if from_ >= 0 else (0, 0)
                yes = h["start"] < span[1] and span[0] < h["end"]
        parts = {x["name"]: x for x in h["explain"]["parts"]}
        d, w = parts.get("dense", {}), parts.get("lexical", {})
        out.append([int(yes), h["document_id"] if "ids" in want else h["chunk_id"], d.get("score", 0), d.get("rank") or 0, w.get("score", 0), w.get("rank") or 0])
    return out


def ask_all():
    global url
    top = tempfile.mkdtemp(prefix="footnote-fusion-")
    base = [os.path.abspath(o.footnote), "--data", o.data or f"{top}/data"] + (["-c", o.conf] if o.conf else [])
    asked = {}
    for path in o.sets:
        subprocess.run(base + ["-q", "eval", path, "--limit", "1"], check=True, stdout=subprocess.DEVNULL)
    server = subprocess.Popen(base + ["serve", "--listen", "127.0.0.1:0"], stdout=subprocess.PIPE, text=True)
    try:
        url = re.search(r"http://\S+", server.stdout.readline()).group(0).rstrip("/")
        while True:
            try:
                get("/readyz")
                break
            except urllib.error.HTTPError as e:
                if e.code != 503:
                    raise
            time.sleep(0.2)
        for path in o.sets:
            name = os.path.basename(path.rstrip("/"))
            rows, texts = [], {}
            for text, want in questions_of(path):
                r = post("/v1/search", {"query": text, "collection": f"eval-{name}", "k": DEPTH, "explain": True, "highlight": False})
                rows.append(mark(r["hits"], want, f"eval-{name}", texts))
            asked[name] = rows
    finally:
        server.terminate()
        server.wait(timeout=60)
        shutil.rmtree(top, ignore_errors=True)
    return asked


def joined(rows, method, k, w):
    """fuse.c once more, so that a grid costs one search a question."""
    vec, word = [r[2] for r in rows if r[3]], [r[4] for r in rows if r[5]]
    low, high, top = min(vec, default=0), max(vec, default=0), max(word, default=0)
    def score(r):
        if method == "rrf":
            return (1 / (k + r[3]) if r[3] else 0) + (w / (k + r[5]) if r[5] else 0)
        v = 0 if not r[3] else (r[2] - low) / (high - low) if high > low else 1
        return v + (w * (r[4] / top if top > 0 else 1) if r[5] else 0)
    place = {"dense": lambda r: r[3] or 1e9, "lexical": lambda r: r[5] or 1e9}.get(method)
    return sorted(rows, key=place or (lambda r: (-score(r), r[3] or 1e9)))


def figures(questions, *how):
    """nDCG@10 with one relevant passage or more, and recall at 5 and 10 of the first."""
    ndcg = at5 = at10 = 0
    for rows in questions:
        seen, place = set(), 0
        for r in joined(rows, *how):
            if r[1] in seen:
                continue
            seen.add(r[1])
            place += 1
            if r[0]:
                ndcg, at5, at10 = ndcg + 1 / math.log2(place + 1), at5 + (place <= 5), at10 + 1
            if r[0] or place == 10:
                break
    n = len(questions)
    return ndcg / n, at5 / n, at10 / n


def table(asked, half, how):
    for name, rows in asked.items():
        print(f"  {name:22}" + "".join(f"  {m[0]:8} %.4f %.4f %.4f" % figures(rows[half::2], *m) for m in (("dense", 0, 0), ("lexical", 0, 0), how)))


if o.lists and os.path.exists(o.lists):
    lists = json.load(open(o.lists))
else:
    lists = ask_all()
    if o.lists:
        json.dump(lists, open(o.lists, "w"))
for method, ks in (("rrf", (10, 60)), ("weighted", (0,))):
    points = [(method, k, w) for k in ks for w in (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 1.0, 1.5)]
    fit = [(sum(figures(rows[0::2], *how)[0] for rows in lists.values()) / len(lists), how) for how in points]
    for mean, how in fit:
        print(f"{how[0]} k {how[1]} word_weight {how[2]}: mean nDCG@10 {mean:.4f} of the first half")
    best = max(fit)[1]
    print(f"{best}, nDCG@10, recall@5 and recall@10 of the other half:")
    table(lists, 1, best)
