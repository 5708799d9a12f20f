#!/usr/bin/env python3
"""Asks the questions of a set over HTTP and holds every answer against the contract (kit.broken). Also prints how many
answers hold a gold text.

Usage: check_answers.py FOOTNOTE SET [N] [--style generate|extractive] [--data DIR] [--set KEY=VALUE]... [--dump FILE] [--explain]
       (SET: a folder with articles/ and questions.jsonl; N: questions, spread evenly over the set, default 100; --dump: question
       and answer, a line each, for fit_confidence.py and dial.py; --explain: with every sentence that was weighed)
Last line: N passed, N failed, N skipped."""
import argparse, collections, json, sys, time
import kit

p = argparse.ArgumentParser()
p.add_argument("footnote"), p.add_argument("folder", metavar="SET"), p.add_argument("n", nargs="?", type=int, default=100)
p.add_argument("--style", default="generate"), p.add_argument("--data"), p.add_argument("--set", action="append", default=[]), p.add_argument("--dump"), p.add_argument("--explain", action="store_true")
o = p.parse_args()

rows = kit.lines(f"{o.folder}/questions.jsonl")
rows = [rows[i * len(rows) // o.n] for i in range(min(o.n, len(rows)))]
count, times, failed = collections.Counter(), [], 0
dump = open(o.dump, "w") if o.dump else None
with kit.Program(o.footnote, o.data, "large" if o.style == "generate" else "extractive", dict(s.split("=", 1) for s in o.set)) as s:
    s.ingest(f"{o.folder}/articles", "check")
    for q in rows:
        began = time.monotonic()
        a = s.answer(q["question"], "check", **({"explain": True} if o.explain else {}))
        times.append(time.monotonic() - began)
        bad = kit.broken(a, s.text_of)
        failed += bool(bad)
        for b in bad:
            print(f"FAIL {q['id']}: {b}")
        count["answerable" if q["answerable"] else "unanswerable", a["status"]] += 1
        count["right"] += kit.is_right(q, a)
        if dump:
            dump.write(json.dumps({"question": q, "answer": a}) + "\n")
for k in sorted(count, key=str):
    print(f"{' '.join(k) if isinstance(k, tuple) else k}: {count[k]}")
print(f"seconds a question: median {kit.quantile(times, .5):.2f}, p95 {kit.quantile(times, .95):.2f}")
print(f"{len(rows) - failed} passed, {failed} failed, 0 skipped")
sys.exit(failed > 0)
