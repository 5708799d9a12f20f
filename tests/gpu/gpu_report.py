#!/usr/bin/env python3
"""The figures of `make gpu-check` as a report, for gpu_steps.py; or gpu_report.py FIGURES.jsonl [--quiet] [--json OUT.json] [--report OUT.md]

What is asked comes first, a row each: measured, asked, their ratio (1 and more: reached), what bounds it. Every figure is told with what it moves and computes, and with what bounds it (Williams, Waterman & Patterson 2009, the roofline): the time that its
bytes take at the rate at which this device reads memory, and its products and sums at the rate of cuBLAS' best product, beside the time
measured. What nobody measured is "not measured"."""
import argparse, json, sys

# Bytes a second as the makers tell them; of other devices: two bits a clock and wire.
NOMINAL = [("H200", 4.8e12), ("H100 PCIe", 2.0e12), ("H100 NVL", 3.9e12), ("H100", 3.35e12), ("A100-SXM4-40GB", 1.555e12), ("A100", 2.039e12), ("L40S", 0.864e12)]
LATENCY = 0.5                 # under this share of the nearer roof neither of them is what bounds
BYTES_FASTER = 2              # tensor cores at whole numbers of 8 bits, beside bfloat16, whose rate is measured


class Figures:
    def __init__(self, lines):
        self.all = lines
        self.device = next((f for f in lines if f["work"] == "device"), {})
        self.run = next((f for f in lines if f["work"] == "run"), {})
        read = [f for f in lines if f["work"] == "read"]
        self.read = read[-1]["bytes"] / read[-1]["us"] * 1e6 if read else None
        large = [f for f in lines if f["work"] == "cublas" and f["matrix"] == "large"]
        self.peak = large[-1]["flops"] / large[-1]["us"] * 1e6 if large else None
        name = self.device.get("name", "")
        self.nominal = next((v for k, v in NOMINAL if k in name), self.device.get("bus_bytes_per_s") or None)

    def of(self, work, **want):
        """The last figure of that kind that a GPU gave: ours when no peer is wanted."""
        found = [f for f in self.all if f["work"] == work and f.get("table") != "host" and f.get("peer") == want.get("peer") and all(f.get(k) == v for k, v in want.items())]
        return found[-1] if found else None

    def each(self, work, peer=None):
        return [f for f in self.all if f["work"] == work and f.get("peer") == peer]

    def bound(self, us, bytes_moved, flops):
        """What bounds it, and the share of that roof that is reached."""
        if not self.read or us <= 0:
            return "-", None
        memory, arithmetic = bytes_moved / self.read * 1e6, flops / self.peak * 1e6 if self.peak else 0
        share = max(memory, arithmetic) / us
        name = "memory" if memory >= arithmetic else "arithmetic"
        return (name if share >= LATENCY else f"latency ({name} {share:.0%})"), share

    def told(self, us, bytes_moved, flops):
        name, share = self.bound(us, bytes_moved, flops)
        return name if share is None or share < LATENCY else f"{name}: {share:.0%} of what the device gave"


def ratio(a, b):
    return a / b if a and b else None


class Goal:
    """value: None where nobody measured it. up: more is better."""
    def __init__(self, what, value, asked, up, unit, bound=None):
        self.what, self.value, self.asked, self.up, self.unit, self.bound = what, value, asked, up, unit, bound or None

    def ratio(self):
        return None if self.value is None else ratio(self.value, self.asked) if self.up else ratio(self.asked, self.value)

    def reached(self):
        return None if self.value is None else (self.value >= self.asked if self.up else self.value <= self.asked)

    def texts(self):
        """what, measured, asked, ratio, reached, what bounds it"""
        return [self.what, "not measured" if self.value is None else number(self.value) + self.unit, f"{'≥' if self.up else '≤'} {number(self.asked)}{self.unit}",
                "-" if self.ratio() is None else f"{self.ratio():.2f}", {None: "-", True: "yes", False: "**no**"}[self.reached()], self.bound or "-"]


def goals(f):
    def decode(model, kind, n=1, **peer):
        return f.of("decode", model=model, n=n, **({"type": kind} if kind else {}), **peer)

    def speed(d):
        return d and d["tokens_per_s"]

    rows = []
    for model, kind, least in (("1.5b", "BF16", 0.60), ("1.5b", "Q4_K", 0.35), ("8b", "Q8_0", 0.75)):
        d = decode(model, kind)
        moved = d and d["bytes"] + d["kv_bytes"]
        told = f"{f.nominal / 1e12:.2f} TB/s" if f.nominal else "the bandwidth that its maker tells"
        rows.append(Goal(f"decode, one sequence, {model} {kind}: share of {told}", d and f.nominal and moved / d["step_us"] * 1e6 / f.nominal, least, True, "",
                         d and f.told(d["step_us"], moved, d["flops"])))
    for n, least in ((1, 1.5), (64, 2)):
        for model in ("1.5b", "8b"):
            ours, theirs = decode(model, "BF16", n), decode(model, None, n, peer="torch", how="graph")
            rows.append(Goal(f"decode, {n} sequence{'s' * (n > 1)}, {model} BF16: against torch with CUDA graphs", ratio(speed(ours), speed(theirs)), least, True, "x",
                             ours and f.told(ours["step_us"], ours["bytes"] + ours["kv_bytes"], ours["flops"])))
    for name, n, least in (("llama.cpp", 1, 1.5), ("vllm", 1, 1.5), ("llama.cpp", 64, 3), ("vllm", 64, 0.9)):
        rows.append(Goal(f"decode, {n} sequence{'s' * (n > 1)}, 1.5b BF16: against {name}", ratio(speed(decode("1.5b", "BF16", n)), speed(decode("1.5b", "BF16", n, peer=name))),
                         least, True, "x"))
    for kind in ("BF16", "Q4_K"):
        p = f.of("prompt", model="1.5b", type=kind, n=2048)
        rows.append(Goal(f"prompt of 2048 tokens, 1.5b {kind}: first token", p and p["ms"], 30, False, " ms", p and f.told(p["ms"] * 1000, p["bytes"], p["flops"])))
    e = f.of("encoder", texts=512, tokens=256)
    rows.append(Goal("MiniLM, 512 texts of 256: million tokens a second", e and e["tokens_per_s"] / 1e6, 3, True, " M", e and f.told(e["us"], 0, e["flops"])))
    one, many = f.of("scan", rows=1000000, n=1), f.of("scan", rows=1000000, n=256)
    rows.append(Goal("exact scan of 1M x 384, one query", one and one["ms"], 0.25, False, " ms", one and f.told(one["ms"] * 1000, one["bytes"], one["flops"] / BYTES_FASTER)))
    rows.append(Goal("exact scan of 1M x 384, 256 queries: thousand a second", many and many["queries_per_s"] / 1000, 100, True, " k",
                     many and f.told(many["ms"] * 1000, many["bytes"], many["flops"] / BYTES_FASTER)))
    for kind in ("BF16", "Q4_K"):
        r = f.of("ready", model="1.5b", type=kind)
        rows.append(Goal(f"process start to the first token, 1.5b {kind}", r and r["ready_ms"] / 1000, 2, False, " s",
                         r and f"start of CUDA and the way of the weights: open after {r['opened_ms'] / 1000:.2f} s"))
    return rows


def number(v):
    return f"{v:,.0f}" if abs(v) >= 1000 else f"{v:.3g}"


def table(head, rows):
    return ["| " + " | ".join(head) + " |", "|" + " --- |" * len(head)] + ["| " + " | ".join(r) + " |" for r in rows] + [""]


def figure_rows(f):
    """The roofline: a row for each figure of ours that moves or computes something."""
    def line(what, us, moved, flops, more="", faster=1):
        name, share = f.bound(us, moved, flops / faster)
        return [what, number(us), number(moved / 1e6), number(flops / 1e9), number(moved / us / 1e6) if moved else "-", number(flops / us / 1e6) if flops else "-", name,
                f"{share:.0%}" if share else "-", more]
    rows = []
    for d in f.each("decode"):
        rows.append(line(f"decode {d['model']} {d['type']}, {d['n']} at once", d["step_us"], d["bytes"] + d["kv_bytes"], d["flops"], f"{number(d['tokens_per_s'])} tokens/s"))
    for o in f.each("in_order"):
        rows.append([f"decode {o['model']} {o['type']}, {o['n']} at once, no kernel before the other's end", number(o["in_order_us"])] + ["-"] * 6 + [f"{number(o['step_us'])} µs where they overlap"])
    for p in f.each("prompt"):
        rows.append(line(f"prompt {p['model']} {p['type']}, {p['n']} tokens", p["ms"] * 1000, p["bytes"], p["flops"], f"{number(p['tokens_per_s'])} tokens/s"))
    for e in f.each("encoder"):
        rows.append(line(f"encoder, {e['texts']} texts of {e['tokens']}", e["us"], 0, e["flops"], f"{number(e['tokens_per_s'])} tokens/s"))
    for s in f.each("scan"):
        rows.append(line(f"scan of {s['rows']:,} x {s['dim']} {s.get('type', '')}, {s['n']} at once", s["ms"] * 1000, s["bytes"], s["flops"], f"{number(s['queries_per_s'])} queries/s",
                         BYTES_FASTER))
    for c in f.each("linear"):
        peer = next((b for b in f.each("cublas") if (b["model"], b["matrix"], b["n"]) == (c["model"], c["matrix"], c["n"])), None)
        rows.append(line(f"linear {c['model']} {c['matrix']} {c['type']}, {c['n']}{' of a prompt' if c['prompt'] else ''}", c["us"], c["bytes"], c["flops"],
                         f"cuBLAS BF16 {number(peer['us'])} µs" if peer else ""))
    for a in f.each("attend"):
        rows.append(line(f"attend {a['model']}, {a['n']} rows{' of a prompt' if a['prompt'] else ''}, {a['keys']} keys", a["us"], a["bytes"], a["flops"]))
    return rows


def report(f):
    d, r = f.device, f.run
    out = ["# A GPU, measured", "", "Made by `make gpu-check` (tools/gpu_check.sh, tests/gpu/gpu_report.py), not by hand. Models are of random weights at the sizes of real ones; times are "
           "medians or the best of rounds, with tokens chosen on the device.", ""]
    if d:
        out += [f"{d['name']}, compute capability {d['capability']}, {d['sms']} multiprocessors, {d['memory'] / 2**30:.0f} GiB; driver {d['driver']}, nvcc {r.get('nvcc', '?')}; "
                f"{r.get('cores', '?')} cores ({r.get('cpu', '?')}). {r.get('began', '')}.", ""]
        if f.read and f.nominal:
            out += [f"Memory: {f.nominal / 1e12:.2f} TB/s nominal; a kernel that only reads gets {f.read / 1e12:.2f} TB/s"
                    + "".join(f", one that copies {c['bytes'] / c['us'] / 1e6:.2f} TB/s (both ways counted)" for c in f.each("copy kernel")[-1:])
                    + (f". Tensor cores: cuBLAS' product of 8192 x 8192 x 8192 in bfloat16 runs at {f.peak / 1e12:.0f} TFLOP/s" if f.peak else "")
                    + "".join(f". An empty kernel {'launched alone' if x['how'] == 'alone' else 'in a graph'}: {x['us']:.2f} µs" for x in f.each("launch")) + ".", ""]
    out += ["## Against what is asked", ""]
    out += table(["what", "measured", "asked", "ratio", "reached", "bound by"], [g.texts() for g in goals(f)])
    missing = [m for m in f.all if m["work"] == "missing"]
    if missing:
        out += ["Not there: " + "; ".join(f"{m.get('peer')} ({m['why']})" for m in missing) + ".", ""]
    checks = f.each("suite")
    if checks:
        out += ["## Checked", ""] + table(["suite", "passed", "failed", "skipped", "cut off", "s"], [[c["name"]] + [str(c[k]) for k in ("passed", "failed", "skipped", "cut", "s")] for c in checks])
        cut = sum(c["cut"] for c in checks)
        out += [f"{cut} steps were cut off when the time was over: neither passed nor failed. The same command does them.", ""] if cut else []
    out += [f"**Failed**: {x['name']}: {x['why']}" for x in f.each("fault")] + [""] * bool(f.each("fault"))
    if f.each("logits"):
        out += ["Logits beside the specification's kernels: the largest distance, in deviations of the logits.", ""]
        out += table(["model", "tokens", "prompt", "written"], [[x["model"], str(x["tokens"]), f"{x['prompt_distance']:.4f}", f"{x['written_distance']:.5f}"] for x in f.each("logits")])
    rows = figure_rows(f)
    if rows:
        out += ["## Figures and what bounds them", "", "Bounds: memory at the rate of the reading kernel, arithmetic at that of cuBLAS' large product; \"latency\" where less than half of the nearer one is reached.", ""]
        out += table(["work", "µs", "MB", "GFLOP", "TB/s", "TFLOP/s", "bound by", "share of it", ""], rows)
    small = f.each("small") + f.each("ready")
    if small:
        out += table(["work", "µs"], [[f"{x['kernel']}, {x['n']} rows", number(x["us"])] if x["work"] == "small" else
                                      [f"ready, {x['model']} {x['type']}: opened {x['opened_ms']:,.0f} ms, first token", number(x["ready_ms"] * 1000)] for x in small])
    memory = f.each("memory")
    if memory:
        out += table(["memory, MB", "taken when opened", "by recorded passes and kernels since", "left to these"],
                     [[f"{m['model']} {m['type']}"] + [number(m[k] / 1e6) for k in ("opened_bytes", "running_bytes", "spare_bytes")] for m in memory])
    peers = [p for p in f.all if p.get("peer") and p["work"] in ("decode", "prompt", "encoder", "scan")]
    if peers:
        out += ["## Others at the same work", ""]
        out += table(["peer", "work", "model", "how", "at once", "a second"],
                     [[p["peer"], p["work"], p.get("model", "-"), p.get("how", p.get("type", "-")), str(p.get("n", p.get("texts", "-"))), number(p.get("tokens_per_s") or p.get("queries_per_s"))] for p in peers])
    out += ["## Commands", "", "```", "make gpu-pack                 # where models are: what a machine without a network may be given", f"make gpu-check{' ONLY=' + r['only'] if r.get('only', '').count(',') < 4 and r.get('only') else ''}", "```", ""]
    return "\n".join(out)


def tell(lines):
    """What is asked, and the roofline, on standard output."""
    f = Figures(lines)
    for row in figure_rows(f):
        print(" | ".join(row))
    for g in goals(f):
        what, measured, asked, share, reached, bound = g.texts()
        print(f"{what}: {measured} (asked {asked}, ratio {share}, reached: {reached.strip('*')}); bound by {bound}")


def write(lines, figures, page):
    f = Figures(lines)
    if figures:
        with open(figures, "w", encoding="utf-8") as out:
            json.dump(dict(device=f.device, run=f.run, read_bytes_per_s=f.read, nominal_bytes_per_s=f.nominal, peak_flops=f.peak,
                           goals=[dict(what=g.what, value=g.value, asked=g.asked, larger_is_better=g.up, unit=g.unit.strip(), ratio=g.ratio(), bound=g.bound) for g in goals(f)],
                           figures=lines), out, indent=1)
    if page:
        with open(page, "w", encoding="utf-8") as out:
            out.write(report(f))


def main():
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument("figures")
    a.add_argument("--quiet", action="store_true", help="print no figures")
    a.add_argument("--json")
    a.add_argument("--report")
    o = a.parse_args()
    lines = []
    with open(o.figures, encoding="utf-8") as file:
        for n, line in enumerate(file, 1):
            try:
                lines.append(json.loads(line))
            except ValueError:
                print(f"{o.figures}:{n}: no JSON, left out", file=sys.stderr)
    if not o.quiet:
        tell(lines)
    write(lines, o.json, o.report)


if __name__ == "__main__":
    main()
