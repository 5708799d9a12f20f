"""Figures of a reader model on what prepare.py held out, and on people's marks.

Usage: PYTHONPATH=$(tools/pypi.sh tests/bench/torch.txt) evaluate.py --data DIR --eval DIR --model FOLDER
           [--engine build/tests/read_pairs [--kernel vnni]] [--embedder FOLDER] [--only span,rank,support,marks,rerank] [--part N]
  --model    what export.py wrote; read by PyTorch in fp32, or with --engine by the program itself (in int8)
  --embedder for rerank: the folder of all-MiniLM-L6-v2
  --part     take every N-th row of a set
Prints one JSON object.
  span     f1 and exact of the best span, and with the dial at its best "no answer" as SQuAD 2.0 counts; auc of telling
           answerable from "other" (another paragraph) and "trick" (written to mislead), and the share of each refused while
           10 and 15 % of the answerable are. squad2: the questions of articles held out that figures are reported on
  rank     MRR and nDCG@10 among each query's own candidates
  support  auc of supported against the rest
  marks    auc against people: begin_wow, fully attributable or not; support_mtrag, answers whose faithfulness is 3 or more
           in the mean or not, each sentence against its best gold passage, the answer by its weakest sentence and the mean
  rerank   techsupport_answers: nDCG@10 of BM25 joined with the embedder (reciprocal ranks), and with the first 30 ordered anew
"""
import argparse
import collections
import json
import math
import os
import re
import subprocess
import sys

from train import auc


class Engine:
    """The program's own reader, through tests/bench/read_pairs.c."""

    def __init__(self, binary, folder, kernel):
        self.command = [binary, folder, kernel]

    def _run(self, kind, pairs):
        said = subprocess.run(self.command + [kind], input="".join(json.dumps({"first": a, "title": t, "text": b}) + "\n" for a, t, b in pairs),
                              stdout=subprocess.PIPE, text=True, check=True).stdout
        return [json.loads(line) for line in said.splitlines()]

    def read(self, pairs):
        for (_, _, text), r in zip(pairs, out := self._run("read", pairs)):
            raw = text.encode()
            r["spans"] = [(v, raw[a:b].decode()) for a, b, v in r["spans"]]
        return out

    def support(self, pairs):
        return self._run("support", pairs)


class Torch:
    def __init__(self, folder, start):
        import torch
        from export import folder_read
        from model import tokenizer_open
        self.torch, self.model, self.tok = torch, folder_read(folder), tokenizer_open(start)

    def _windows(self, pairs, size=24):
        from model import collate, pair_windows
        windows = [(i, w) for i, (a, t, b) in enumerate(pairs) for w in pair_windows(self.tok, a, t, b)]
        windows.sort(key=lambda x: len(x[1].ids))
        for at in range(0, len(windows), size):
            some = windows[at:at + size]
            batch = collate([w for _, w in some])
            with self.torch.no_grad():
                x, cls = self.model(batch)
                yield some, self.model.spans(x, batch), cls

    def read(self, pairs):
        from model import best_spans
        out = [{"relevance": -1e9, "answerable": -1e9, "spans": []} for _ in pairs]
        for some, spans, cls in self._windows(pairs):
            heads = {h: getattr(self.model, h)(cls, self.model.drop)[:, 0].tolist() for h in ("relevance", "answerable")}
            for j, (i, w) in enumerate(some):
                for h, values in heads.items():
                    out[i][h] = max(out[i][h], values[j])
                out[i]["spans"] += [(v, pairs[i][2][a:b]) for v, a, b in best_spans(spans[j, :, 0], spans[j, :, 1], w)]
        for r in out:
            r["spans"].sort(key=lambda s: -s[0])
        return out

    def support(self, pairs):
        out = [[-1e9, 0, 0] for _ in pairs]
        for some, _, cls in self._windows(pairs):
            for j, logits in enumerate(self.model.support(cls, self.model.drop).tolist()):
                i = some[j][0]
                out[i] = max(out[i], logits, key=lambda x: x[0] - max(x[1:]))
        return out


def normal(text):
    """SQuAD's way: lower case, no punctuation, no articles."""
    text = re.sub(r"\b(a|an|the)\b", " ", "".join(c for c in text.lower() if c.isalnum() or c.isspace()))
    return text.split()


def f1(text, answers):
    best = 0.0
    for answer in answers:
        a, b = normal(text), normal(answer)
        same = sum((collections.Counter(a) & collections.Counter(b)).values())
        best = max(best, 2 * same / (len(a) + len(b)) if same else 0.0)
    return best


def rounded(x):
    return {k: rounded(v) for k, v in x.items()} if isinstance(x, dict) else round(x, 4) if isinstance(x, float) else x


def refused(yes, no, wrong):
    """The share of `no` under the value that `wrong` of `yes` are under."""
    at = sorted(yes)[int(wrong * len(yes))]
    return sum(x < at for x in no) / max(1, len(no))


def span_figures(m, rows):
    read = m.read([(r["question"], r["title"], r["text"]) for r in rows])
    best = [r["spans"][0] if r["spans"] else (-1e9, "") for r in read]
    asked = [i for i, r in enumerate(rows) if r["kind"] == "answer"]
    score = {i: f1(best[i][1], rows[i]["texts"]) for i in asked}
    out = {"answerable": len(asked), "f1": sum(score.values()) / max(1, len(asked)),
           "exact": sum(any(normal(best[i][1]) == normal(t) for t in rows[i]["texts"]) for i in asked) / max(1, len(asked))}
    for name, value in (("answerable head", lambda i: read[i]["answerable"]), ("span over none", lambda i: best[i][0]),
                        ("both", lambda i: read[i]["answerable"] + best[i][0] / 2)):
        values = {i: value(i) for i in range(len(rows))}
        yes = [values[i] for i in asked]
        for kind in ("other", "trick"):
            no = [values[i] for i, r in enumerate(rows) if r["kind"] == kind]
            if no:
                out[f"{kind}, {name}"] = {"n": len(no), "auc": auc(yes + no, [1] * len(yes) + [0] * len(no)),
                                          "refused at 10 %": refused(yes, no, 0.10), "refused at 15 %": refused(yes, no, 0.15)}
        order, right = sorted(values, key=lambda i: -values[i]), sum(r["kind"] == "trick" for r in rows)
        top = right
        for i in order:  # SQuAD 2.0's: answers above the dial, none below
            if rows[i]["kind"] != "other":
                right += score[i] if i in score else -1
                top = max(top, right)
        out[f"squad2 f1, {name}"] = top / max(1, sum(r["kind"] != "other" for r in rows))
    return out


def ndcg(ranked):
    """ranked: 1 for a right one, in order, one right in all."""
    return sum(y / math.log2(i + 2) for i, y in enumerate(ranked[:10]))


def rank_figures(m, rows):
    pairs, sizes = [], []
    for r in rows:
        texts = r["positives"][:1] + r["negatives"]
        pairs += [(r["query"], r["title"], t) for t in texts]
        sizes.append(len(texts))
    scores, at, out = [x["relevance"] for x in m.read(pairs)], 0, collections.defaultdict(list)
    for r, n in zip(rows, sizes):
        own = scores[at:at + n]
        at += n
        out[r["source"]].append(sorted(range(n), key=lambda i: (-own[i], -i)).index(0))
    every = {**out, "all": [p for ps in out.values() for p in ps]}
    return {s: {"n": len(p), "mrr": sum(1 / (1 + x) for x in p) / len(p), "ndcg": sum(ndcg([0] * x + [1]) for x in p) / len(p)}
            for s, p in every.items()}


def margin(logits):
    """Log-odds of supported."""
    top = max(logits[1:])
    return logits[0] - top - math.log(sum(math.exp(x - top) for x in logits[1:]))


def support_figures(m, rows):
    scores = [margin(x) for x in m.support([(r["claim"], "", r["evidence"]) for r in rows])]
    out = {}
    for source in sorted({r["source"] for r in rows}) + ["all"]:
        pick = [i for i, r in enumerate(rows) if source in (r["source"], "all")]
        labels = [int(rows[i]["label"] == 0) for i in pick]
        if 0 < sum(labels) < len(labels):
            out[source] = {"n": len(pick), "auc": auc([scores[i] for i in pick], labels)}
    return out


def lines(*path):
    with open(os.path.join(*path), encoding="utf-8") as f:
        return [json.loads(line) for line in f]


def marks_figures(m, where, part):
    rows = lines(where, "begin_wow", "attribution.jsonl")[::part]
    out, labels = {}, [int(r["label"] == "Fully attributable") for r in rows]
    out["begin_wow"] = {"n": len(rows), "auc": auc([margin(x) for x in m.support([(r["response"], "", r["evidence"]) for r in rows])], labels)}
    split = [[s for s in re.split(r"(?<=[.!?])\s+", r["response"]) if len(s) > 3] or [r["response"]] for r in rows]
    scores = iter([margin(x) for x in m.support([(s, "", r["evidence"]) for r, ss in zip(rows, split) for s in ss])])
    out["begin_wow, weakest sentence"] = {"auc": auc([min(next(scores) for _ in ss) for ss in split], labels)}
    texts = {r["id"]: r["text"] for r in lines(where, "support_mtrag", "corpus.jsonl")}
    gold = {t["id"]: [texts[p] for p in t["gold_passages"] if p in texts] for t in lines(where, "support_mtrag", "tasks.jsonl")}
    rows = [r for r in lines(where, "support_mtrag", "human_faithfulness.jsonl") if gold.get(r["task_id"])][::part]
    pairs, plan = [], []
    for r in rows:
        sentences = [s for s in re.split(r"(?<=[.!?:])\s+|\n+", r["response"]) if len(s) > 3] or [r["response"]]
        plan.append((len(sentences), len(gold[r["task_id"]])))
        pairs += [(s, "", p) for s in sentences for p in gold[r["task_id"]]]
    scores, least, mean = iter([margin(x) for x in m.support(pairs)]), [], []
    for sentences, passages in plan:
        best = [max(next(scores) for _ in range(passages)) for _ in range(sentences)]
        least.append(min(best))
        mean.append(sum(1 / (1 + math.exp(-x)) for x in best) / len(best))
    labels = [int(r["mean"] >= 3) for r in rows]
    out["support_mtrag"] = {"n": len(rows), "faithful": sum(labels), "auc, weakest": auc(least, labels), "auc, mean": auc(mean, labels)}
    return out


def words_of(text):
    return [w[:-1] if len(w) > 3 and w.endswith("s") else w for w in re.findall(r"\w+", text.lower())]


def bm25(texts, queries, top, k1=0.9, b=0.4):
    """The first `top` texts of each query."""
    postings, lengths = collections.defaultdict(dict), []
    for i, text in enumerate(texts):
        count = collections.Counter(words_of(text))
        lengths.append(sum(count.values()))
        for w, n in count.items():
            postings[w][i] = n
    mean = sum(lengths) / len(lengths)
    for q in queries:
        score = collections.defaultdict(float)
        for w in set(words_of(q)):
            p = postings.get(w, {})
            weight = math.log(1 + (len(texts) - len(p) + 0.5) / (len(p) + 0.5))
            for i, n in p.items():
                score[i] += weight * n * (k1 + 1) / (n + k1 * (1 - b + b * lengths[i] / mean))
        yield sorted(score, key=lambda i: -score[i])[:top]


def vectors(folder, texts):
    import torch
    from sentence_transformers import SentenceTransformer
    with torch.autocast("cpu", dtype=torch.bfloat16):
        return SentenceTransformer(folder, device="cpu").encode(texts, batch_size=32, convert_to_numpy=True, normalize_embeddings=True)


def rerank_figures(m, where, embedder, part, depth=30):
    corpus, queries = lines(where, "techsupport_answers", "corpus.jsonl"), lines(where, "techsupport_answers", "queries.jsonl")[::part]
    with open(os.path.join(where, "techsupport_answers", "qrels.tsv")) as f:
        right = {q: d for q, d, _ in (line.split("\t") for line in f.read().splitlines()[1:])}
    texts, ids = [c["text"] for c in corpus], [c["id"] for c in corpus]
    near = vectors(embedder, texts) @ vectors(embedder, [q["text"] for q in queries]).T
    by_words, firsts = bm25(texts, [q["text"] for q in queries], 100), []
    for n, found in enumerate(by_words):
        score = collections.defaultdict(float)
        for order in (found, near[:, n].argsort()[::-1][:100]):
            for place, i in enumerate(order):
                score[int(i)] += 1 / (60 + place)
        firsts.append(sorted(score.items(), key=lambda x: -x[1]))
    read = m.read([(q["text"], "", texts[i]) for q, f in zip(queries, firsts) for i, _ in f[:depth]])
    relevance, out, at = [r["relevance"] for r in read], {}, 0
    starts = [at := at + len(f[:depth]) for f in [[]] + firsts][:-1]

    def figure(order):
        return sum(ndcg([int(ids[i] == right[q["id"]]) for i in order(n)]) for n, q in enumerate(queries)) / len(queries)

    out["queries"], out["hybrid"] = len(queries), figure(lambda n: [i for i, _ in firsts[n][:10]])
    for weight in (0.0005, 0.001, 0.002, 0.004, 0.008, 1.0):
        def order(n):
            own = relevance[starts[n]:starts[n] + depth]
            return [i for _, i in sorted(((-s - weight * own[k], i) for k, (i, s) in enumerate(firsts[n][:depth])))]
        out[f"relevance x {weight}"] = figure(order)
    return out


def main():
    p = argparse.ArgumentParser()
    for name in ("data", "eval", "model"):
        p.add_argument("--" + name, required=True)
    p.add_argument("--engine")
    p.add_argument("--kernel", default="auto")
    p.add_argument("--embedder")
    p.add_argument("--only", default="span,rank,support,marks")
    p.add_argument("--part", type=int, default=1)
    a = p.parse_args()
    m = Engine(a.engine, a.model, a.kernel) if a.engine else Torch(a.model, a.embedder)
    out = {}
    for kind in a.only.split(","):
        if kind == "span":
            rows = lines(a.data, "span.held.jsonl")
            sets = {"squad2": [r for r in rows if r.get("split") == "report"], "squad2, choose": [r for r in rows if r.get("split") == "choose"]}
            for s in ("squadshifts_new_wiki", "squad1_train", "covidqa"):
                sets[s] = [r for r in rows if r["source"] == s]
            out[kind] = {s: span_figures(m, rows[::a.part]) for s, rows in sets.items()}
        if kind == "rank":
            out[kind] = rank_figures(m, lines(a.data, "rank.held.jsonl")[::a.part])
        if kind == "support":
            out[kind] = support_figures(m, lines(a.data, "support.held.jsonl")[::a.part])
        if kind == "marks":
            out[kind] = marks_figures(m, a.eval, a.part)
        if kind == "rerank":
            out[kind] = rerank_figures(m, a.eval, a.embedder, a.part)
        print(f"{kind} done", file=sys.stderr)
    print(json.dumps(rounded(out), indent=1))


if __name__ == "__main__":
    main()
