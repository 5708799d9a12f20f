#!/usr/bin/env python3
"""Fits the weights of confidence() in api/answer.c: a logistic regression of "the answer holds a gold text" on the
evidence an answer carries. Usage: fit_confidence.py DUMP.jsonl... (check_answers.py --dump), plain Python.
Prints weights per style, and for bins of the fitted confidence how often the answer was right."""
import json, math, re, string, sys


def normal(s):
    s = "".join(c for c in s.lower() if c not in string.punctuation)
    return " ".join(w for w in s.split() if w not in ("a", "an", "the"))


def right(row):
    plain = f" {normal(re.sub(chr(92) + '[' + chr(92) + 'd+' + chr(92) + ']', '', row['answer']['answer']))} "
    return any(normal(g) and f" {normal(g)} " in plain for g in row["question"]["answers"])


def sigmoid(x):
    return 1 / (1 + math.exp(-max(-30, min(30, x))))


def fit(xs, ys, steps=20000, rate=0.2, decay=1e-3):
    w = [0.0] * len(xs[0])
    for _ in range(steps):
        g = [0.0] * len(w)
        for x, y in zip(xs, ys):
            d = sigmoid(sum(a * b for a, b in zip(w, x))) - y
            for i, v in enumerate(x):
                g[i] += d * v
        w = [a - rate * (b / len(xs) + decay * a) for a, b in zip(w, g)]
    return w


rows = [json.loads(line) for path in sys.argv[1:] for line in open(path)]
for style, keys in (("generate", ("relevance", "support", "refusal")), ("extractive", ("relevance",))):
    use = [r for r in rows if r["answer"]["status"] != "abstained" and r["answer"]["style"] == style]
    if len(use) < 20:
        continue
    xs = [[1.0] + [r["answer"]["evidence"][k] for k in keys] for r in use]
    ys = [float(right(r)) for r in use]
    w = fit(xs, ys)
    print(style, len(use), "answers,", sum(ys), "right:", " ".join(f"{n} {v:.3f}" for n, v in zip(("bias",) + keys, w)))
    fitted = sorted((sigmoid(sum(a * b for a, b in zip(w, x))), y) for x, y in zip(xs, ys))
    for b in range(5):
        part = fitted[b * len(fitted) // 5:(b + 1) * len(fitted) // 5]
        print(f"  confidence {part[0][0]:.2f} to {part[-1][0]:.2f}: right {sum(y for _, y in part) / len(part):.2f}")
