#!/usr/bin/env python3
"""The threshold of answers (answer.confidence) as a dial: what each position answers and how often it errs, and how well the
confidence keeps its word. Usage: dial.py DUMP.jsonl...; a line each: {"question", "answer"} (check_answers.py --dump, or
BUILD/eval/VARIANT/*.jsonl), asked with answer.confidence = 0, so that also what a threshold refuses was answered.

An answer is right when it holds a gold text; one to a question without an answer is wrong. An abstention counts as
refused at every position."""
import json, sys
import kit

POSITIONS = [i / 20 for i in range(20)]


def points(rows):
    """(confidence, right, answerable) of what was answered, and how many were refused whatever the position."""
    given = [(r["answer"]["confidence"], kit.is_right(r["question"], r["answer"]), r["question"]["answerable"]) for r in rows if r["answer"]["status"] != "abstained"]
    return given, len(rows) - len(given)


def positions(rows, at=POSITIONS):
    """What each position gives: {"threshold", "answered": share of all, "error": wrong of the answered, "correct": right of those
    with an answer, "refused": of those with one, "held": refused of those without}."""
    given, _ = points(rows)
    with_one = sum(r["question"]["answerable"] for r in rows)
    without = len(rows) - with_one
    out = []
    for t in at:
        kept = [g for g in given if g[0] >= t]
        right, mine = sum(g[1] for g in kept), sum(g[2] for g in kept)
        out.append({"threshold": t, "answered": kit.share(len(kept), len(rows)), "error": kit.share(len(kept) - right, len(kept)),
                    "correct": kit.share(right, with_one), "refused": kit.share(with_one - mine, with_one), "held": kit.share(without - (len(kept) - mine), without)})
    return out


def calibration(rows, bins=10):
    """Bins of equal size: (mean confidence, share right, n), and the expected calibration error: their distance on average."""
    given = sorted(points(rows)[0])
    out = []
    for b in range(bins):
        part = given[b * len(given) // bins:(b + 1) * len(given) // bins]
        if part:
            out.append((sum(g[0] for g in part) / len(part), sum(g[1] for g in part) / len(part), len(part)))
    return out, kit.share(sum(abs(c - r) * n for c, r, n in out), len(given))


def told(v):
    return "    -" if v is None else f"{v:5.2f}"


if __name__ == "__main__":
    rows = [r for path in sys.argv[1:] for r in kit.lines(path) if "answer" in r]
    print("threshold  answered  wrong of these  right of all with an answer  refused: with an answer, without")
    for p in positions(rows):
        print(f"{p['threshold']:9.2f}  {told(p['answered']):>8}  {told(p['error']):>14}  {told(p['correct']):>27}  {told(p['refused']):>23}, {told(p['held'])}")
    bins, ece = calibration(rows)
    print(f"calibration error {told(ece)}: " + ", ".join(f"{c:.2f} told, {r:.2f} right" for c, r, _ in bins))
