#!/usr/bin/env python3
"""Fits the weights by which answers are chosen and doubted, from answers to questions whose right ones are known, asked with
answer.confidence = 0, answer.refusal = 100 and explain (dumps as dial.py takes them; kit.ask makes them):

  api/decide.c  the confidence: a logistic regression of "the best unit holds the answer" (before something is written) or
                "what was written holds it" on the evidence, a row for each state of knowledge (reader model or not, judged
                by the generator or not) and stage (before, begun, written)
  api/select.c  with --units: the score of a sentence: a conditional logit, of a question's units, which holds the answer?
  answer.judge_scale, answer.judge_shift, with --judge: how another generator's judgement is taken, so that it fits the
                weights of a dump of the generator that they were made with; its own dump asked with answer.judge = own

Usage: fit_confidence.py DUMP.jsonl... [--folds 5] [--decay 0.01] [--units] [--judge DUMP.jsonl] [--all]
       [--judge-weight 1]  the judge counts that many times what it is fitted with: questions made to mislead are what the other
                           figures tell least of, and the likelihood does not know that they matter more than near misses
       (--all: articles that the reader model was trained on too: its figures on them are better than they are elsewhere, so
       they are left out)
Prints how well the weights hold on articles that were not fitted (AUC, calibration error, log loss; the articles take turns),
then the weights as C, fitted on all. Plain Python, the same every time."""
import argparse, math
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


def leaning(w, names, xs, ys, weight):
    """w with the judge's weight taken `weight` times, and all scaled so that the probabilities are right again (Platt)."""
    if weight == 1 or "judge" not in names:
        return w
    w = [x * weight if i and names[i - 1] == "judge" else x for i, x in enumerate(w)]
    shift, scale = fit([[sum(a * b for a, b in zip(w[1:], x))] for x in xs], ys, 0)
    return [shift] + [scale * x for x in w[1:]]


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


# What may count at a stage, as the JSON calls it and as decide.c does; without the reader model only the first two and what
# the generator says.
NAMES = [("cosine", "cosine"), ("coverage", "coverage"), ("margin", "margin"), ("span", "span"), ("reader_answerable", "answerable"),
         ("judge", "judge"), ("refusal", "refusal"), ("support", "support")]
IN_C = dict(NAMES)
STAGES = {"BEFORE": (), "BEGUN": ("refusal",), "WRITTEN": ("refusal", "support")}


def rows_of_table(rows):
    """(row of the table, answers that tell of it, names of its features)."""
    written = [r for r in rows if r["answer"]["style"] == "generate"]
    begun = [r for r in rows if r["answer"]["evidence"]["refusal"]]
    for stage, more in STAGES.items():
        for read in (True, False):
            for judged_too in (True, False):
                part = {"BEFORE": rows, "BEGUN": begun, "WRITTEN": written}[stage]
                part = [r for r in part if (not read or r["answer"]["evidence"]["read"]) and (not judged_too or r["answer"]["evidence"]["judged"])]
                names = ["cosine", "coverage"] + (["margin", "span", "reader_answerable"] if read else []) + (["judge"] if judged_too else []) + list(more)
                yield " | ".join([stage] + ["READ"] * read + ["JUDGED"] * judged_too), part, names


def crossed(rows, names, label, decay, folds, weight=1):
    """Predictions for each row by weights that its article had no part in."""
    articles = sorted({r["question"]["doc"] for r in rows})
    fold = {a: i % folds for i, a in enumerate(articles)}
    out = [0.0] * len(rows)
    for f in range(folds):
        train = [r for r in rows if fold[r["question"]["doc"]] != f]
        if not train:
            continue
        xs, ys = [features(r, names) for r in train], [label(r) for r in train]
        w = leaning(fit(xs, ys, decay), names, xs, ys, weight)
        for i, r in enumerate(rows):
            if fold[r["question"]["doc"]] == f:
                out[i] = predict(w, features(r, names))
    return out


def features(row, names):
    return [float(row["answer"]["evidence"].get(k) or 0) for k in names]


def right(row):
    return float(kit.is_right(row["question"], row["answer"]))


def there(row):
    units = row["answer"]["evidence"]["units"]
    return float(bool(row["question"]["answerable"] and units and kit.holds(units[0]["text"], row["question"]["answers"])))


UNIT = [("cosine", "cosine"), ("coverage", "coverage"), ("passage_cosine", "passage"), ("has", "has"), ("span", "span"),
        ("answerable", "answerable"), ("relevance", "relevance")]
LOGIT_MAX = 8


def unit_features(u):
    clamp = lambda x: max(-LOGIT_MAX, min(LOGIT_MAX, x))
    return [u["cosine"], u["coverage"], u["passage_cosine"], float("span" in u), clamp(u.get("span", 0)), clamp(u.get("answerable", -LOGIT_MAX)), clamp(u.get("relevance", -LOGIT_MAX))]


def choices(rows):
    """Of each answerable question its units that ask nothing: (features, which of them hold the answer, article)."""
    out = []
    for r in rows:
        units = [u for u in r["answer"]["evidence"]["units"] if not u["text"].endswith("?")]
        holds = [kit.holds(u["text"], r["question"]["answers"]) for u in units] if r["question"]["answerable"] else []
        if any(holds):
            out.append(([unit_features(u) for u in units], holds, r["question"]["doc"]))
    return out


def fit_choice(data, use, decay, steps=60):
    """Weights of a conditional logit by Newton's method on the expected Hessian."""
    n = len(use)
    w = [0.0] * n
    for _ in range(steps):
        g, h = [-decay * len(data) * x for x in w], [[decay * len(data) * (i == j) for j in range(n)] for i in range(n)]
        for xs, holds, _ in data:
            xs = [[x[i] for i in use] for x in xs]
            z = [sum(a * b for a, b in zip(w, x)) for x in xs]
            top = max(z)
            p = [math.exp(v - top) for v in z]
            p = [v / sum(p) for v in p]
            right_mass = sum(v for v, y in zip(p, holds) if y)
            mean = [sum(v * x[i] for v, x in zip(p, xs)) for i in range(n)]
            for v, x, y in zip(p, xs, holds):
                t = v / right_mass if y else 0.0
                for i in range(n):
                    g[i] += (t - v) * x[i]
                    for j in range(n):
                        h[i][j] += v * (x[i] - mean[i]) * (x[j] - mean[j])
        w = [a + 0.7 * b for a, b in zip(w, solve(h, g))]
    return w


def fit_units(rows, folds, decay):
    data = choices(rows)
    articles = sorted({d for _, _, d in data})
    for title, use in (("plain_weights", range(3)), ("read_weights", range(len(UNIT)))):
        hit = 0
        for f in range(folds):
            w = fit_choice([d for d in data if articles.index(d[2]) % folds != f], use, decay)
            for xs, holds, doc in data:
                if articles.index(doc) % folds == f:
                    z = [sum(a * x[i] for a, i in zip(w, use)) for x in xs]
                    hit += holds[z.index(max(z))]
        w = fit_choice(data, use, decay)
        print(f"{title}: the best unit holds the answer of {hit / len(data):.3f} of {len(data)} questions, on articles not fitted")
        print("  { " + ", ".join(f".{UNIT[i][1]} = {v:.2f}" for i, v in zip(use, w)) + " }")


def fit_judge(rows, other, decay, weight):
    """The other generator's log-odds take the place of those in the row [BEFORE | READ | JUDGED], all other weights as they are."""
    names = ["cosine", "coverage", "margin", "span", "reader_answerable", "judge"]
    xs, ys = [features(r, names) for r in rows], [there(r) for r in rows]
    w = leaning(fit(xs, ys, decay), names, xs, ys, weight)
    rest = lambda r: w[0] + sum(a * x for a, x in zip(w[1:-1], features(r, names)))
    part = [r for r in other if r["answer"]["evidence"]["read"] and r["answer"]["evidence"]["judged"]]
    a, b = 0.0, 0.0  # what is added to the rest: w's judge * (scale * x + shift) = a * x + b
    for _ in range(50):
        g, h = [decay * len(part) * a, 0.0], [[decay * len(part), 0.0], [0.0, 1e-6]]
        for r in part:
            x = float(r["answer"]["evidence"]["judge"])
            p = sigmoid(rest(r) + a * x + b)
            for i, u in enumerate((x, 1.0)):
                g[i] += (p - there(r)) * u
                for j, v in enumerate((x, 1.0)):
                    h[i][j] += p * (1 - p) * u * v
        step = solve(h, g)
        a, b = a - step[0], b - step[1]
    ys = [there(r) for r in part]
    f = judged([sigmoid(rest(r) + a * float(r["answer"]["evidence"]["judge"]) + b) for r in part], ys)
    print(f"{len(part)} answers, {sum(ys):.0f} right: AUC {f['auc']:.3f}, calibration error {f['ece']:.3f} (of the answers fitted)")
    print(f"answer.judge = own\nanswer.judge_scale = {max(0, a / w[-1]):.3f}\nanswer.judge_shift = {b / w[-1]:.3f}")


def main():
    p = argparse.ArgumentParser()
    p.add_argument("dumps", nargs="+"), p.add_argument("--folds", type=int, default=5), p.add_argument("--decay", type=float, default=0.01)
    p.add_argument("--units", action="store_true"), p.add_argument("--judge"), p.add_argument("--judge-weight", type=float, default=1), p.add_argument("--all", action="store_true")
    o = p.parse_args()
    held = kit.held_out()
    rows = [r for path in o.dumps for r in kit.lines(path) if "answer" in r and r["answer"]["passages"]]
    rows = [r for r in rows if o.all or kit.is_held_out(r["question"], held)]
    if o.units:
        fit_units(rows, o.folds, o.decay)
        return
    if o.judge:
        other = [r for r in kit.lines(o.judge) if "answer" in r and r["answer"]["passages"]]
        fit_judge([r for r in rows if r["answer"]["evidence"]["read"] and r["answer"]["evidence"]["judged"]],
                  [r for r in other if o.all or kit.is_held_out(r["question"], held)], o.decay, o.judge_weight)
        return
    for title, part, names in rows_of_table(rows):
        label = right if title.startswith("WRITTEN") else there
        ys = [label(r) for r in part]
        if len(part) < 40 or not 0 < sum(ys) < len(ys):
            print(f"[{title}]: {len(part)} answers, {sum(ys):.0f} right: too few to fit")
            continue
        f = judged(crossed(part, names, label, o.decay, o.folds, o.judge_weight), ys)
        print(f"[{title}]: {len(part)} answers, {sum(ys):.0f} right; on articles not fitted: AUC {f['auc']:.3f}, calibration error {f['ece']:.3f}, log loss {f['log_loss']:.3f}")
        xs = [features(r, names) for r in part]
        w = leaning(fit(xs, ys, o.decay), names, xs, ys, o.judge_weight)
        print(f"\t[{title}] = {{ .bias = {w[0]:.2f}, " + ", ".join(f".{IN_C[k]} = {v:.2f}" for k, v in zip(names, w[1:])) + " },")


if __name__ == "__main__":
    main()
