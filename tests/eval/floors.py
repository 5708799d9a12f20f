#!/usr/bin/env python3
"""The floors under which no figure may fall, on a part of the sets that takes minutes; part of `make check`. floors.json
names the variant, the row of run_eval.py, how many questions it asks, and the least or most of its figures. Every
figure is a test, every service is a fresh one over a fresh data folder. A variant whose generator is not there is
skipped and named.

Usage: floors.py FOOTNOTE [--short]; --short (builds with sanitizers): few questions, promises alone, no figures.
Last line: N passed, N failed, N skipped."""
import copy, json, os, sys, tempfile, time
import kit, run_eval

PROMISES = "contract"
SHORT_N = 6


def failures(entry, figures):
    """What of an entry of floors.json these figures do not keep."""
    got, bad = {f["what"]: f["value"] for f in figures}, []
    for what, floor in entry["floors"].items():
        v = got.get(what)
        if v is None:
            bad.append(f"{what}: not measured")
        elif v < floor.get("least", v) or v > floor.get("most", v):
            bad.append(f"{what}: {v:.4g}, wanted {'at least' if 'least' in floor else 'at most'} {floor.get('least', floor.get('most'))}")
    return bad


def proofs(ev):
    """The checks fail when they should: on a floor that is too high, a figure that is not there, and broken answers."""
    yield "a floor too high", bool(failures({"floors": {"x": {"least": .5}}}, [run_eval.figure("x", .4, 10)]))
    yield "a ceiling too low", bool(failures({"floors": {"x": {"most": .5}}}, [run_eval.figure("x", .6, 10)]))
    yield "a figure that is not there", bool(failures({"floors": {"x": {"least": 0}}}, []))
    good = next(r["answer"] for r in ev.squad("squad2") if r["answer"]["citations"] and not kit.broken(r["answer"], ev.program.text_of))
    def spoilt(change):
        a = copy.deepcopy(good)
        change(a)
        return bool(kit.broken(a, ev.program.text_of))
    yield "a quote moved by one character", spoilt(lambda a: a["citations"][0].update(start=a["citations"][0]["start"] + 1))
    yield "a quote with another word", spoilt(lambda a: a["citations"][0].update(quote=a["citations"][0]["quote"] + "x"))
    yield "a citation taken away", spoilt(lambda a: a["citations"].pop(0))
    yield "a mark of nothing", spoilt(lambda a: a.update(answer=a["answer"] + " [9]"))
    yield "an abstention with citations", spoilt(lambda a: a.update(status="abstained"))


def main():
    footnote, short = os.path.abspath(sys.argv[1]), "--short" in sys.argv[2:]
    passed = failed = skipped = 0
    with open(os.path.join(kit.HERE, "floors.json"), encoding="utf-8") as f:
        entries = json.load(f)
    for variant in dict.fromkeys(e["variant"] for e in entries):
        mine = [e for e in entries if e["variant"] == variant and (not short or e["row"] == PROMISES)]
        if variant in kit.MODELS and not kit.harness.model(kit.MODELS[variant] + ".gguf"):
            print(f"SKIP {variant}: {kit.MODELS[variant]}.gguf is not there")
            skipped += sum(len(e["floors"]) for e in mine)
            continue
        with tempfile.TemporaryDirectory(prefix="footnote-floors-") as top:
            ev = run_eval.Eval(run_eval.options(["--build", os.path.dirname(footnote), "--variant", variant, "--work", top]))
            try:
                for e in mine:
                    began = time.monotonic()
                    ev.o.limit = SHORT_N if short else e["limit"]
                    bad = failures(e, run_eval.ROWS[e["row"]](ev))
                    passed, failed = passed + len(e["floors"]) - len(bad), failed + len(bad)
                    for b in bad:
                        print(f"FAIL {variant} {e['row']}: {b}")
                    print(f"{variant} {e['row']}: {len(e['floors']) - len(bad)} of {len(e['floors'])} floors kept, {time.monotonic() - began:.0f} s", flush=True)
                if variant == "extractive":
                    for name, fails in proofs(ev):
                        passed, failed = passed + fails, failed + (not fails)
                        if not fails:
                            print(f"FAIL {name} is not noticed")
            finally:
                ev.stop()
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    sys.exit(failed > 0)


if __name__ == "__main__":
    main()
