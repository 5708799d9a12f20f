#!/usr/bin/env python3
"""The figures of `make gpu-check` as a report. Usage: gpu_report.py FIGURES.jsonl [--quiet] [--json OUT.json] [--report OUT.md]

Every figure is told with what it moves and computes, and with what bounds it (Williams, Waterman & Patterson 2009, the roofline): the time that its
bytes take at the rate at which this device reads memory, and its products and sums at the rate of cuBLAS' best product, beside the time
measured. What nobody measured is "not measured"."""
import argparse, json, sys

# Bytes a second as the makers tell them; of other devices: two bits a clock and wire.
NOMINAL = [("H200", 4.8e12), ("H100 PCIe", 2.0e12), ("H100 NVL", 3.9e12), ("H100", 3.35e12), ("A100-SXM4-40GB", 1.555e12), ("A100", 2.039e12), ("L40S", 0.864e12)]
LATENCY = 0.5                 # under this share of the nearer roof neither of them is what bounds


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
        """The last figure of that kind: ours when no peer is wanted."""
        found = [f for f in self.all if f["work"] == work and f.get("peer") == want.get("peer") and all(f.get(k) == v for k, v in want.items())]
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


def ratio(a, b):
    return a / b if a and b else None


def goals(f):
    """(what, value or None, asked, larger is better, unit, how it is bounded)"""
    def decode(model, kind, n=1, **peer):
        return f.of("decode", model=model, n=n, **({"type": kind} if kind else {}), **peer)

    def speed(d):
        return d and d["tokens_per_s"]

    rows = []
    for model, kind, least in (("1.5b", "BF16", 0.60), ("1.5b", "Q4_K", 0.35), ("8b", "Q8_0", 0.75)):
        d = decode(model, kind)
        value = d and f.nominal and (d["bytes"] + d["kv_bytes"]) / d["step_us"] * 1e6 / f.nominal
        rows.append((f"decode, one sequence, {model} {kind}: share of nominal bandwidth", value, least, True, "", d and f.bound(d["step_us"], d["bytes"] + d["kv_bytes"], d["flops"])[0]))
    for n, least in ((1, 1.5), (64, 2)):
        for model in ("1.5b", "8b"):
            ours, theirs = decode(model, "BF16", n), decode(model, None, n, peer="torch", how="graph")
            rows.append((f"decode, {n} sequence{'s' * (n > 1)}, {model} BF16: against torch with CUDA graphs",
                         ratio(speed(ours), speed(theirs)), least, True, "x", None))
    for name, n, least in (("llama.cpp", 1, 1.5), ("vllm", 1, 1.5), ("llama.cpp", 64, 3), ("vllm", 64, 0.9)):
        rows.append((f"decode, {n} sequence{'s' * (n > 1)}, 1.5b BF16: against {name}", ratio(speed(decode("1.5b", "BF16", n)), speed(decode("1.5b", "BF16", n, peer=name))),
                     least, True, "x", None))
    for kind in ("BF16", "Q4_K"):
        p = f.of("prompt", model="1.5b", type=kind)
        rows.append((f"prompt of 2048 tokens, 1.5b {kind}: first token", p and p["ms"], 30, False, " ms", p and f.bound(p["ms"] * 1000, 0, p["flops"])[0]))
    e = f.of("encoder")
    rows.append(("MiniLM: tokens a second, millions", e and e["tokens_per_s"] / 1e6, 3, True, " M", e and "flops" in e and f.bound(e["us"], 0, e["flops"])[0]))
    one, many = f.of("scan", n=1), f.of("scan", n=256)
    rows.append(("exact scan of 1M x 384, one query", one and one["ms"], 0.25, False, " ms", one and "bytes" in one and f.bound(one["ms"] * 1000, one["bytes"], one["flops"])[0]))
    rows.append(("exact scan of 1M x 384, 256 queries: thousand a second", many and many["queries_per_s"] / 1000, 100, True, " k", None))
    r = f.of("ready", model="1.5b", type="Q4_K") or f.of("ready", model="1.5b", type="BF16")
    rows.append(("process start to ready, 1.5b", r and r["ready_ms"] / 1000, 2, False, " s", "reading the file, unpacking weights, copies to the device" if r else None))
    return rows


def number(v):
    return f"{v:,.0f}" if abs(v) >= 1000 else f"{v:.3g}"


def table(head, rows):
    return ["| " + " | ".join(head) + " |", "|" + " --- |" * len(head)] + ["| " + " | ".join(r) + " |" for r in rows] + [""]


def figure_rows(f):
    """The roofline: a row for each figure of ours that moves or computes something."""
    def line(what, us, moved, flops, more=""):
        name, share = f.bound(us, moved, flops)
        return [what, number(us), number(moved / 1e6), number(flops / 1e9), number(moved / us / 1e6) if moved else "-", number(flops / us / 1e6) if flops else "-", name,
                f"{share:.0%}" if share else "-", more]
    rows = []
    for d in f.each("decode"):
        rows.append(line(f"decode {d['model']} {d['type']}, {d['n']} at once", d["step_us"], d["bytes"] + d["kv_bytes"], d["flops"], f"{number(d['tokens_per_s'])} tokens/s"))
    for p in f.each("prompt"):
        rows.append(line(f"prompt {p['model']} {p['type']}, {p['n']} tokens", p["ms"] * 1000, 0, p["flops"], f"{number(p['tokens_per_s'])} tokens/s"))
    for e in f.each("encoder"):
        rows.append(line(f"encoder, {e['texts']} texts of {e['tokens']}", e["us"], 0, e["flops"], f"{number(e['tokens_per_s'])} tokens/s"))
    for s in f.each("scan"):
        rows.append(line(f"scan of {s['rows']:,} x {s['dim']} {s.get('type', '')}, {s['n']} at once", s["ms"] * 1000, s["bytes"], s["flops"], f"{number(s['queries_per_s'])} queries/s"))
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
    out += table(["what", "value", "asked", "reached", "bound by"],
                 [[what, "not measured" if v is None else number(v) + unit, f"{'≥' if up else '≤'} {number(asked)}{unit}", "-" if v is None else "yes" if (v >= asked) == up or v == asked else "**no**",
                   bound or "-"] for what, v, asked, up, unit, bound in goals(f)])
    missing = f.each("missing") + [m for m in f.all if m["work"] == "missing" and m.get("peer")]
    if missing:
        out += ["Not there: " + "; ".join(f"{m.get('peer')} ({m['why']})" for m in missing) + ".", ""]
    checks = f.each("suite")
    if checks:
        out += ["## Checked", ""] + table(["suite", "passed", "failed", "skipped", "s"], [[c["name"]] + [str(c[k]) for k in ("passed", "failed", "skipped", "s")] for c in checks])
    if f.each("sanitize"):
        out += table(["compute-sanitizer", "processes without errors", "with errors", "ran to its end"],
                     [[s["tool"], str(s["clean"]), str(s["bad"]), "yes" if s["over"] else "**no**"] for s in f.each("sanitize")])
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
    peers = [p for p in f.all if p.get("peer") and p["work"] in ("decode", "prompt", "encoder", "scan")]
    if peers:
        out += ["## Others at the same work", ""]
        out += table(["peer", "work", "model", "how", "at once", "a second"],
                     [[p["peer"], p["work"], p.get("model", "-"), p.get("how", p.get("type", "-")), str(p.get("n", p.get("texts", "-"))), number(p.get("tokens_per_s") or p.get("queries_per_s"))] for p in peers])
    out += ["## Commands", "", "```", "make gpu-pack                 # where models are: what a machine without a network may be given", f"make gpu-check ONLY={r.get('only', '')}", "```", ""]
    return "\n".join(out)


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
    f = Figures(lines)
    rows = goals(f)
    for what, v, asked, up, unit, bound in rows if not o.quiet else []:
        print(f"{what}: {'not measured' if v is None else number(v) + unit} (asked {'≥' if up else '≤'} {number(asked)}{unit}){'; bound by ' + bound if bound else ''}")
    for row in figure_rows(f) if not o.quiet else []:
        print(" | ".join(row))
    if o.json:
        with open(o.json, "w", encoding="utf-8") as out:
            json.dump(dict(device=f.device, run=f.run, read_bytes_per_s=f.read, nominal_bytes_per_s=f.nominal, peak_flops=f.peak,
                           goals=[dict(what=w, value=v, asked=q, larger_is_better=up, unit=u.strip(), bound=b or None) for w, v, q, up, u, b in rows], figures=lines), out, indent=1)
    if o.report:
        with open(o.report, "w", encoding="utf-8") as out:
            out.write(report(f))


if __name__ == "__main__":
    main()
