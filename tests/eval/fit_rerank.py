#!/usr/bin/env python3
"""Fits how many hits the reader reads and what its judgement counts (search.rerank, search.rerank_weight): asks questions of
some sets once over HTTP with `explain`, and orders the hits anew for each point of a grid. Fitted on every other question,
told for the rest. Deterministic; plain Python.

Usage: fit_rerank.py FOOTNOTE SET... --data DIR [--reader MODEL] [--most N] [--only ARTICLE,ARTICLE] [--lists FILE]
       SET: a folder that `footnote eval` takes; --data: kept between runs; --reader: models.reader; --most: questions of a set,
       evenly over it; --only: of sets with articles, questions on these alone; --lists: asked once, read again later"""
import argparse, csv, json, math, os

import kit

p = argparse.ArgumentParser()
p.add_argument("footnote"), p.add_argument("sets", nargs="+"), p.add_argument("--data", required=True)
p.add_argument("--reader", default=""), p.add_argument("--most", type=int, default=200), p.add_argument("--lists")
p.add_argument("--only", default="")
DEPTH, COUNTS, WEIGHTS = 20, (0, 5, 8, 10, 15, 20), (0.1, 0.2, 0.3, 0.5, 0.7, 1, 1.5, 2, 3, 5)


def lines(path):
    return [json.loads(line) for line in open(path)]


def squeeze(text):
    at = [i for i, c in enumerate(text) if c not in " \n\t\r"]
    return "".join(text[i] for i in at), at


def questions_of(path, most, only):
    """(text, what tells a relevant hit) of questions that have one."""
    if os.path.exists(f"{path}/queries.jsonl"):
        gold = {}
        for q, d, score in list(csv.reader(open(f"{path}/qrels.tsv"), delimiter="\t"))[1:]:
            if int(score) > 0:
                gold.setdefault(q, set()).add(d)
        rows = [(q["text"], {"ids": sorted(gold[q["id"]])}) for q in lines(f"{path}/queries.jsonl") if q["id"] in gold]
    else:
        rows = [(q["question"], {"file": q["doc"], "paragraph": q["paragraph"]}) for q in lines(f"{path}/questions.jsonl")
                if q["answerable"] and (not only or q["doc"].removesuffix(".txt") in only)]
    step = max(1.0, len(rows) / most)
    return [rows[int(i * step)] for i in range(min(most, len(rows)))]


def relevant(service, hit, want, collection, texts):
    if "ids" in want:
        return hit["document_id"][len(collection) + 1:] in want["ids"]
    if os.path.basename(hit["source"]) != os.path.basename(want["file"]):
        return False
    if hit["document_id"] not in texts:
        texts[hit["document_id"]] = squeeze(service.ask("GET", f"/v1/documents/{hit['document_id']}/text").body.decode())
    flat, at = texts[hit["document_id"]]
    needle = squeeze(want["paragraph"])[0]
    start = flat.find(needle)
    return start >= 0 and hit["start"] < at[start + len(needle) - 1] + 1 and at[start] < hit["end"]


def ask_all(o):
    """By set, of each question its hits in their order: [relevant, document, score, the reader's logit]."""
    asked = {}
    service = kit.Program(o.footnote, data=o.data, conf={"models.reader": o.reader, "search.rerank": DEPTH, "search.rerank_weight": 0})
    try:
        for path in o.sets:
            name, texts = os.path.basename(path.rstrip("/")), {}
            service.run("-q", "eval", path, "--limit", "1", "--mode", "lexical")
            asked[name] = []
            for text, want in questions_of(path, o.most, set(o.only.split(",")) - {""}):
                body = {"query": text, "collection": f"eval-{name}", "k": DEPTH, "explain": True, "highlight": False}
                rows = []
                for h in service.call("/v1/search", body)["hits"]:
                    logit = [x["score"] for x in h["explain"]["parts"] if x["name"] == "reader"]
                    rows.append([int(relevant(service, h, want, f"eval-{name}", texts)), h["document_id"] if "ids" in want else h["chunk_id"],
                                 h["score"], logit[0] if logit else None])
                asked[name].append(rows)
    finally:
        service.close()
    return asked


def ndcg(questions, count, weight):
    """nDCG@10 where one passage is relevant, by the order of fuse_read."""
    total = 0
    for rows in questions:
        scored = [(-(s + (weight / (1 + math.exp(-x)) if i < count and x is not None else 0)), i) for i, (_, _, s, x) in enumerate(rows)]
        seen, place = set(), 0
        for _, i in sorted(scored):
            if rows[i][1] in seen:
                continue
            seen.add(rows[i][1])
            place += 1
            if rows[i][0]:
                total += 1 / math.log2(place + 1)
            if rows[i][0] or place == 10:
                break
    return total / len(questions)


def main():
    o = p.parse_args()
    if o.lists and os.path.exists(o.lists):
        lists = json.load(open(o.lists))
    else:
        lists = ask_all(o)
        if o.lists:
            json.dump(lists, open(o.lists, "w"))
    base = {half: {n: ndcg(rows[half::2], 0, 0) for n, rows in lists.items()} for half in (0, 1)}
    best = None
    for count in COUNTS[1:]:
        for weight in WEIGHTS:
            gains = {n: ndcg(rows[0::2], count, weight) - base[0][n] for n, rows in lists.items()}
            # the gain in all, and three times what any set loses beyond 0.003
            value = sum(gains.values()) - 3 * sum(max(0, -0.003 - g) for g in gains.values())
            print(f"{count:3} {weight:4} " + "  ".join(f"{n} {g:+.4f}" for n, g in gains.items()))
            if best is None or value > best[0]:
                best = (value, count, weight)
    print(f"search.rerank = {best[1]}, search.rerank_weight = {best[2]}; nDCG@10 of the other half, without and with:")
    for n, rows in lists.items():
        with_it = ndcg(rows[1::2], best[1], best[2])
        print(f"  {n:22} {base[1][n]:.4f} {with_it:.4f} {with_it - base[1][n]:+.4f}  of {len(rows[1::2])} questions")


if __name__ == "__main__":
    main()
