#!/usr/bin/env python3
"""Fits the weights of the confidence (api/decide.c): a logistic regression of "the answer holds what was asked" on the
evidence that an answer carries. Features are the numbers of the answer's `evidence`; true and false split the answers into
states of knowledge, each with weights of its own, as does whether something was written.

Usage: fit_confidence.py DUMP.jsonl... [--folds 5] [--decay 0.01] [--use NAME,NAME] [--all]
       (dumps as dial.py takes them, asked with answer.confidence = 0; --use: of the features only these; --all: articles that the
       reader model was trained on too: its figures on them are better than they are elsewhere, so they are left out)
Prints for each state how well the weights hold on articles that were not fitted (AUC, calibration error, log loss; the articles
take turns), then the weights as C, fitted on all. Plain Python, the same every time."""
import argparse, collections, math
import kit


def solve(a, b):
    """The solution of a x = b, by elimination with pivots."""
    n = len(b)
    m = [row[:] + [v] for row, v in zip(a, b)]
    for i in range(n):
        k = max(range(i, n), key=lambda r: abs(m[r][i]))
        m[i], m[k] = m[k], m[i]
        for r in range(n):
            if r != i and m[i][i]:
                f = m[r][i] / m[i][i]
                m[r] = [x - f * y for x, y in zip(m[r], m[i])]
    return [m[i][n] / m[i][i] if m[i][i] else 0.0 for i in range(n)]


def sigmoid(x):
    return 1 / (1 + math.exp(-max(-30, min(30, x))))


def fit(xs, ys, decay):
    """Weights, the bias first, by Newton's method; features are scaled for the penalty and scaled back."""
    n = len(xs[0])
    mean = [sum(x[i] for x in xs) / len(xs) for i in range(n)]
    dev = [math.sqrt(sum((x[i] - mean[i]) ** 2 for x in xs) / len(xs)) or 1 for i in range(n)]
    zs = [[1.0] + [(x[i] - mean[i]) / dev[i] for i in range(n)] for x in xs]
    w = [0.0] * (n + 1)
    for _ in range(30):
        ps = [sigmoid(sum(a * b for a, b in zip(w, z))) for z in zs]
        g = [sum((p - y) * z[i] for p, y, z in zip(ps, ys, zs)) + (decay * len(xs) * w[i] if i else 0) for i in range(n + 1)]
        h = [[sum(p * (1 - p) * z[i] * z[j] for p, z in zip(ps, zs)) + (decay * len(xs) if i == j and i else 1e-6 if i == j else 0) for j in range(n + 1)] for i in range(n + 1)]
        step = solve(h, g)
        w = [a - b for a, b in zip(w, step)]
        if max(map(abs, step)) < 1e-7:
            break
    scaled = [w[i + 1] / dev[i] for i in range(n)]
    return [w[0] - sum(s * m for s, m in zip(scaled, mean))] + scaled


def predict(w, x):
    return sigmoid(w[0] + sum(a * b for a, b in zip(w[1:], x)))


def judged(ps, ys):
    bins = sorted(zip(ps, ys))
    ece = 0.0
    for b in range(10):
        part = bins[b * len(bins) // 10:(b + 1) * len(bins) // 10]
        ece += abs(sum(p for p, _ in part) - sum(y for _, y in part))
    return {"auc": kit.auc([p for p, y in zip(ps, ys) if y], [p for p, y in zip(ps, ys) if not y]), "ece": ece / len(bins),
            "log_loss": -sum(math.log(max(1e-9, p if y else 1 - p)) for p, y in zip(ps, ys)) / len(ps)}


def state(row):
    e = row["answer"]["evidence"]
    return tuple(sorted(k for k, v in e.items() if v is True)) + (("written",) if row["answer"]["style"] == "generate" else ())


def crossed(rows, names, decay, folds):
    """Predictions for each row by weights that its article had no part in."""
    articles = sorted({r["question"]["doc"] for r in rows})
    fold = {a: i % folds for i, a in enumerate(articles)}
    out = [0.0] * len(rows)
    for f in range(folds):
        train = [r for r in rows if fold[r["question"]["doc"]] != f]
        if not train:
            continue
        w = fit([features(r, names) for r in train], [right(r) for r in train], decay)
        for i, r in enumerate(rows):
            if fold[r["question"]["doc"]] == f:
                out[i] = predict(w, features(r, names))
    return out


def features(row, names):
    return [float(row["answer"]["evidence"].get(k) or 0) for k in names]


def right(row):
    return float(kit.is_right(row["question"], row["answer"]))


def main():
    p = argparse.ArgumentParser()
    p.add_argument("dumps", nargs="+"), p.add_argument("--folds", type=int, default=5), p.add_argument("--decay", type=float, default=0.01)
    p.add_argument("--use"), p.add_argument("--all", action="store_true")
    o = p.parse_args()
    held = kit.held_out()
    rows = [r for path in o.dumps for r in kit.lines(path) if "answer" in r and r["answer"]["status"] != "abstained"]
    rows = [r for r in rows if o.all or kit.is_held_out(r["question"], held)]
    by = collections.defaultdict(list)
    for r in rows:
        by[state(r)].append(r)
    for s, part in sorted(by.items()):
        numbers = [k for k, v in part[0]["answer"]["evidence"].items() if isinstance(v, (int, float)) and not isinstance(v, bool)]
        names = [k for k in numbers if (not o.use or k in o.use.split(",")) and len({r["answer"]["evidence"].get(k) for r in part}) > 1]
        ys = [right(r) for r in part]
        title = " and ".join(s) or "nothing written or read"
        if len(part) < 40 or not 0 < sum(ys) < len(ys) or not names:
            print(f"{title}: {len(part)} answers, {sum(ys):.0f} right: too few to fit")
            continue
        f = judged(crossed(part, names, o.decay, o.folds), ys)
        now = judged([min(max(r["answer"]["confidence"], 1e-6), 1 - 1e-6) for r in part], ys)
        print(f"{title}: {len(part)} answers, {sum(ys):.0f} right; on articles not fitted: AUC {f['auc']:.3f}, calibration error {f['ece']:.3f}, log loss {f['log_loss']:.3f}"
              f" (as they came: {now['auc']:.3f}, {now['ece']:.3f}, {now['log_loss']:.3f})")
        for k in names:
            alone = kit.auc([features(r, [k])[0] for r, y in zip(part, ys) if y], [features(r, [k])[0] for r, y in zip(part, ys) if not y])
            print(f"  {k} alone: AUC {max(alone, 1 - alone):.3f}")
        w = fit([features(r, names) for r in part], ys, o.decay)
        print("  { .bias = " + f"{w[0]:.3f}, " + ", ".join(f".{k} = {v:.3f}" for k, v in zip(names, w[1:])) + " },")


if __name__ == "__main__":
    main()
