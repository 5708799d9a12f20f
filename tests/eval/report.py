#!/usr/bin/env python3
"""Puts the figures into EVALUATION.md: the tables between its marks, and the plot, from the results that run_eval.py wrote.
Usage: report.py [RESULTS.json...] ; the results named are kept under tests/eval/results first (results-VARIANT.json each).
Plain Python: the plot is SVG written by hand."""
import json, os, re, sys
import kit, run_eval

KEPT = os.path.join(kit.HERE, "results")
PAGE = os.path.join(kit.ROOT, "EVALUATION.md")
COLOURS = {"large": "#1f5fa8", "small": "#c2571a", "extractive": "#3a7d44"}


def load():
    out = {}
    for v in kit.VARIANTS:
        path = os.path.join(KEPT, f"results-{v}.json")
        if os.path.exists(path):
            with open(path, encoding="utf-8") as f:
                out[v] = json.load(f)
    return out


def figures_of(results):
    return {(r["row"], f["what"]): f for r in results["rows"] for f in r.get("figures", [])}


def cell(f):
    if f is None or f["value"] is None:
        return "–"
    text = run_eval.shown(f["value"], f["unit"])
    return (f"**{text}**" if f["met"] is False else text) + (f", {f['note']}" if f.get("note") else "") + f" ({f['n']})"


def main_table(all_of):
    """What is asked, beside the three variants; what is missed stands in bold, the number of cases in brackets."""
    have = {v: figures_of(r) for v, r in all_of.items()}
    keys = list(dict.fromkeys(k for name in run_eval.ROWS for v in have for k in have[v] if k[0] == name and k[0] != "dial"))
    out = ["| row | figure | asked | " + " | ".join(run_eval.TEXT[v] for v in all_of) + " |", "|---|---|---|" + "---|" * len(all_of)]
    last = None
    for key in keys:
        f = next(have[v][key] for v in have if key in have[v])
        out.append(f"| {key[0] if key[0] != last else ''} | {key[1]} | {run_eval.asked_of(f)} | " + " | ".join(cell(have[v].get(key)) for v in all_of) + " |")
        last = key[0]
    return out


def dial_of(results):
    for r in results["rows"]:
        for f in r.get("figures", []) if r["row"] == "dial" else []:
            if "positions" in f:
                return f
    return None


def dial_table(all_of):
    have = {v: dial_of(r) for v, r in all_of.items()}
    have = {v: f for v, f in have.items() if f}
    if not have:
        return ["Not measured yet (`make eval ONLY=dial`)."]
    told = lambda x: "–" if x is None else f"{x:.2f}"
    out = ["| `answer.confidence` | " + " | ".join(f"{run_eval.TEXT[v]}: answered, wrong of these, right of all with an answer" for v in have) + " |", "|---|" + "---|" * len(have)]
    for i, p in enumerate(next(iter(have.values()))["positions"]):
        out.append(f"| {p['threshold']:.2f} | " + " | ".join(", ".join(told(f["positions"][i][k]) for k in ("answered", "error", "correct")) for f in have.values()) + " |")
    out += ["", "Calibration error: " + ", ".join(f"{run_eval.TEXT[v]} {f['value']:.3f} ({f['n']} answers)" for v, f in have.items()) + "."]
    return out


def runs_table(all_of):
    """Rows of a variant that one program measured on one day, with their seconds (answers that were kept cost none again)."""
    out = ["| variant | day | program (SHA-256) | machine | rows, seconds |", "|---|---|---|---|---|"]
    for v, r in all_of.items():
        m, by = r["machine"], {}
        for x in r["rows"]:
            if "figures" in x:
                by.setdefault((x["date"], x["program"]), []).append(f"{x['row']} {x['seconds']:.0f}")
        for (day, program), rows in sorted(by.items()):
            out.append(f"| {run_eval.TEXT[v]} | {day} | {program} | {m['cpu']}, {m['cores']} core{'s' if m['cores'] > 1 else ''}, {'/'.join(m['kernels'])} | {', '.join(rows)} |")
    return out


# ---- the plot ----

def panel(x0, title, xlabel, ylabel, xmax, lines, dots):
    """One panel of 340 x 260 with axes from 0 to xmax and 0 to 1. lines: (colour, [(x, y)]), dots: (colour, x, y, text)."""
    w, h, left, top = 300, 220, x0 + 50, 40
    px = lambda x: left + w * min(x, xmax) / xmax
    py = lambda y: top + h * (1 - y)
    out = [f'<text x="{left + w / 2}" y="24" text-anchor="middle" font-weight="bold">{title}</text>',
           f'<rect x="{left}" y="{top}" width="{w}" height="{h}" fill="none" stroke="#888"/>']
    for i in range(6):
        y, x = i / 5, xmax * i / 5
        out.append(f'<line x1="{left}" x2="{left + w}" y1="{py(y):.1f}" y2="{py(y):.1f}" stroke="#ddd"/><text x="{left - 6}" y="{py(y) + 4:.1f}" text-anchor="end">{y:.1f}</text>')
        out.append(f'<text x="{px(x):.1f}" y="{top + h + 16}" text-anchor="middle">{x:.3g}</text>')
    out.append(f'<text x="{left + w / 2}" y="{top + h + 36}" text-anchor="middle">{xlabel}</text>')
    out.append(f'<text x="{x0 + 12}" y="{top + h / 2}" text-anchor="middle" transform="rotate(-90 {x0 + 12} {top + h / 2})">{ylabel}</text>')
    for colour, at in lines:
        out.append(f'<polyline fill="none" stroke="{colour}" stroke-width="2" points="{" ".join(f"{px(x):.1f},{py(y):.1f}" for x, y in at)}"/>')
    for colour, x, y, text in dots:
        out.append(f'<circle cx="{px(x):.1f}" cy="{py(y):.1f}" r="5" fill="{colour}"/><text x="{px(x) + 8:.1f}" y="{py(y) - 6:.1f}">{text}</text>')
    return out


def plot(all_of):
    """Left: wrong among the answered against questions left unanswered, along the dial; the dots are the default. Right: right
    answers against the time of a whole answer."""
    lines, dots, times = [], [], []
    for v, r in all_of.items():
        f, d = figures_of(r), dial_of(r)
        get = lambda row, what: (f.get((row, what)) or {}).get("value")
        if d:
            lines.append((COLOURS[v], [(1 - p["answered"], p["error"]) for p in d["positions"] if p["answered"] and p["error"] is not None]))
        counts = f.get(("squad2", "without an answer, rightly refused")), f.get(("squad2", "`answered_correct` of all answerable"))
        wrongly, held, correct = get("squad2", "wrongly refused"), get("squad2", "without an answer, rightly refused"), get("squad2", "`answered_correct` of all answerable")
        if None not in (wrongly, held, correct):
            m, n = counts[0]["n"], counts[1]["n"]
            refused = (wrongly * n + held * m) / (n + m)
            if refused < 1:
                dots.append((COLOURS[v], refused, 1 - correct * n / ((1 - refused) * (n + m)), ""))
        ms = next((x["value"] for (row, what), x in f.items() if row == "time" and what.startswith("whole answer, p50") and x["value"]), None)
        if ms is not None and correct is not None:
            times.append((COLOURS[v], ms / 1000, correct, v))
    out = ['<svg xmlns="http://www.w3.org/2000/svg" width="760" height="360" font-family="sans-serif" font-size="11">', '<rect width="760" height="360" fill="white"/>']
    out += panel(0, "Wrong answers against refusals", "share of all questions refused", "wrong of the answered", 1, lines, dots)
    top = next(t for t in (.1, .2, .5, 1, 2, 5, 10, 20, 50, 100, 1e9) if t >= max([0.05] + [x for _, x, _, _ in times]) * 1.2)
    out += panel(380, "Right answers against time", "seconds of a whole answer, median", "right of all with an answer", top, [], times)
    for i, v in enumerate(all_of):
        out.append(f'<rect x="{50 + 230 * i}" y="330" width="12" height="12" fill="{COLOURS[v]}"/><text x="{68 + 230 * i}" y="340">{run_eval.TEXT[v]}</text>')
    return out + ["</svg>"]


def main():
    os.makedirs(KEPT, exist_ok=True)
    for path in sys.argv[1:]:
        with open(path, encoding="utf-8") as f:
            r = json.load(f)
        with open(os.path.join(KEPT, f"results-{r['variant']}.json"), "w", encoding="utf-8") as f:
            json.dump(r, f, indent=1, ensure_ascii=False)
            f.write("\n")
    all_of = load()
    with open(PAGE, encoding="utf-8") as f:
        page = f.read()
    for name, make in (("table", main_table), ("dial", dial_table), ("runs", runs_table)):
        block = "\n".join(make(all_of))
        page, n = re.subn(rf"(<!-- {name} -->\n).*?(<!-- end -->)", lambda m: m.group(1) + block + "\n" + m.group(2), page, count=1, flags=re.S)
        if not n:
            sys.exit(f"report.py: EVALUATION.md has no <!-- {name} -->")
    with open(PAGE, "w", encoding="utf-8") as f:
        f.write(page)
    with open(os.path.join(KEPT, "tradeoff.svg"), "w", encoding="utf-8") as f:
        f.write("\n".join(plot(all_of)) + "\n")


if __name__ == "__main__":
    main()
