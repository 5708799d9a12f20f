#!/usr/bin/env python3
"""Search by words beside bm25s, in one core: how good the answers are, and how many a second.
Usage: peer_words.py FOOTNOTE SET... [--together] [--copies N]

SET: folders with corpus.jsonl, queries.jsonl and qrels.tsv. --together: also all of them as one; --copies N: in it every document N times,
its copies with their words in another order and every third word of another document's (they are no answer to anything), so that the
corpus grows while its words keep their frequencies. Both programs search the same words: those that `footnote bench words --tokens` writes.
bm25s has them as numbers already, footnote makes them of each question's text in its time. bm25s runs with numba (lucene's formula, k1 1.2,
b 0.75), one question a call (of each some hundred) and all in one call; the better of the two is compared. Seconds are of the processor, one thread's. Needs the packages of words.txt (tools/pypi.sh) in
PYTHONPATH. A JSON line a set."""
import argparse, json, math, os, random, statistics, subprocess, sys, tempfile, time

for name in ("NUMBA_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[name] = "1"
if hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
import bm25s
import numpy as np

K, RUNS, FEW, LIMIT_S = 10, 5, 300, 900


def footnote(program, folder, tokens):
    out = subprocess.run([program, "--json", "bench", "words", folder, "-k", str(K), "--repeat", str(RUNS), "--tokens", tokens],
                         stdout=subprocess.PIPE, timeout=LIMIT_S, check=True, text=True)
    return json.loads(out.stdout)


def tokens_read(path):
    docs, queries = {}, {}
    with open(path) as f:
        for head in f:
            kind, name = head.rstrip("\n").split(" ", 1)
            (docs if kind == "d" else queries)[name] = next(f).split()
    return docs, queries


def qrels_read(folder):
    gold = {}
    with open(f"{folder}/qrels.tsv") as f:
        next(f)
        for line in f:
            q, d, g = line.rstrip("\n").split("\t")[:3]
            gold.setdefault(q, {})[d] = float(g)
    return gold


def ndcg(found, gold):
    got = sum(gold.get(d, 0) / math.log2(i + 2) for i, d in enumerate(found))
    best = sum(g / math.log2(i + 2) for i, g in enumerate(sorted(gold.values(), reverse=True)[:K]))
    return got / best if best else 0


def peer(docs, queries, gold):
    names, words = list(docs), {}
    rows = [[words.setdefault(w, len(words)) for w in docs[n]] for n in names]
    asked = [[words[w] for w in queries[q] if w in words] for q in queries]
    model = bm25s.BM25(method="lucene", k1=1.2, b=0.75, backend="numba")
    model.index(bm25s.tokenization.Tokenized(ids=rows, vocab=words), show_progress=False)
    model.activate_numba_scorer()
    k = min(K, len(names))

    def batch(some):
        return model.retrieve(some, k=k, show_progress=False, n_threads=1, backend_selection="numba")

    def rate(run):
        run()
        took = []
        for _ in range(RUNS):
            began = time.process_time()
            run()
            took.append(time.process_time() - began)
        return len(asked) / statistics.median(took)

    ranked, scores = batch(asked)
    found = {q: [names[i] for i, s in zip(row, score) if s > 0] for q, row, score in zip(queries, ranked, scores)}
    relevant = [q for q in queries if gold.get(q)]
    few = asked[::max(1, len(asked) // FEW)]
    one = rate(lambda: [batch([q]) for q in few]) * len(few) / len(asked)
    return {"batch": rate(lambda: batch(asked)), "one": one, "ndcg@10": sum(ndcg(found[q], gold[q]) for q in relevant) / len(relevant)}


def merge(folders, copies, out):
    """All sets as one, with filler that keeps the words' frequencies."""
    rng = random.Random(6)
    docs, queries, qrels = [], [], ["query-id\tcorpus-id\tscore\n"]
    for f in folders:
        mark = os.path.basename(os.path.normpath(f)) + ":"
        docs += [dict(d, id=mark + d["id"]) for d in map(json.loads, open(f"{f}/corpus.jsonl"))]
        queries += [dict(q, id=mark + q["id"]) for q in map(json.loads, open(f"{f}/queries.jsonl"))]
        qrels += [f"{mark}{q}\t{mark}{d}\t{g}\n" for q, rel in qrels_read(f).items() for d, g in rel.items()]
    texts = [d["text"].split() for d in docs]
    with open(f"{out}/corpus.jsonl", "w") as f:
        for d in docs:
            f.write(json.dumps(d) + "\n")
        for c in range(1, copies):
            for i, words in enumerate(texts):
                other = texts[rng.randrange(len(texts))]
                mixed = [rng.choice(other) if other and rng.random() < 1 / 3 else w for w in words]
                rng.shuffle(mixed)
                f.write(json.dumps({"id": f"filler-{c}-{i}", "title": "", "text": " ".join(mixed)}) + "\n")
    with open(f"{out}/queries.jsonl", "w") as f:
        f.writelines(json.dumps(q) + "\n" for q in queries)
    with open(f"{out}/qrels.tsv", "w") as f:
        f.writelines(qrels)


def compare(program, name, folder, scratch):
    ours = footnote(program, folder, f"{scratch}/tokens")
    docs, queries = tokens_read(f"{scratch}/tokens")
    theirs = peer(docs, queries, qrels_read(folder))
    best = max(theirs["batch"], theirs["one"])
    print(json.dumps({"set": name, "documents": len(docs), "questions": len(queries), "footnote_qps": round(ours["queries_per_s"]),
                      "bm25s_qps": round(theirs["one"]), "bm25s_batch_qps": round(theirs["batch"]), "ratio": round(ours["queries_per_s"] / best, 2),
                      "footnote_ndcg@10": round(ours["ndcg@10"], 4), "bm25s_ndcg@10": round(theirs["ndcg@10"], 4),
                      "difference": round(ours["ndcg@10"] - theirs["ndcg@10"], 4)}), flush=True)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("footnote")
    p.add_argument("sets", nargs="+")
    p.add_argument("--together", action="store_true")
    p.add_argument("--copies", type=int, default=1)
    o = p.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        for s in o.sets:
            compare(o.footnote, os.path.basename(os.path.normpath(s)), s, scratch)
        if o.together or o.copies > 1:
            merge(o.sets, o.copies, scratch)
            compare(o.footnote, "together", scratch, scratch)


main()
