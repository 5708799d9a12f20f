#!/usr/bin/env python3
"""The service over HTTP as its clients see it. Usage: run.py FOOTNOTE [NAME...]. Needs the embedder; some tests also
smollm2. Every test stops what it started. Last line: N passed, N failed, N skipped."""
import importlib, os, sys, time, traceback

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import harness

harness.FOOTNOTE = os.path.abspath(sys.argv[1])
wanted = sys.argv[2:]
for name in ("refusals", "access", "sources", "documents", "search", "rerank", "filter", "answers", "records", "tasks", "batches", "prompts", "experiments", "loop", "load", "life"):
    importlib.import_module("test_" + name)

unknown = set(wanted) - {fn.__name__ for fn, _, _ in harness.TESTS}
if unknown:
    print("no test is called " + ", ".join(sorted(unknown)), file=sys.stderr)
    sys.exit(2)
if not harness.model("all-minilm-l6-v2"):
    print(f"0 passed, 0 failed, {len(harness.TESTS)} skipped")
    print("the embedder all-minilm-l6-v2 is missing: footnote models fetch", file=sys.stderr)
    sys.exit(0)

count = {"passed": 0, "failed": 0, "skipped": 0}
shared = None
for fn, own, conf in harness.TESTS:
    if wanted and fn.__name__ not in wanted:
        continue
    service, began = None, time.time()
    try:
        if "generate.model" in conf:
            conf = {**conf, "generate.model": harness.need_generator()}
        if own:
            service = harness.Service(conf)
        elif shared is None or shared.proc.poll() is not None:
            shared = harness.Service()
        try:
            fn(service or shared)
        finally:
            if service:
                code = service.close()
                assert code == 0, f"serve exits {code} at its end"
        count["passed"] += 1
    except harness.Skip as e:
        count["skipped"] += 1
        print(f"SKIP {fn.__name__}: {e}")
    except BaseException as e:
        if isinstance(e, KeyboardInterrupt):
            raise
        count["failed"] += 1
        print(f"FAIL {fn.__name__}")
        traceback.print_exc(file=sys.stdout)
        if shared and not own:
            print(shared.logged())
    if os.environ.get("HTTP_TIMES"):
        print(f"{time.time() - began:6.1f} s {fn.__name__}")
if shared:
    try:
        assert shared.close() == 0
    except AssertionError:
        count["failed"] += 1
        print("FAIL the shared service did not end well")
print(", ".join(f"{n} {what}" for what, n in count.items()))
sys.exit(count["failed"] > 0)
