#!/usr/bin/env python3
"""The page in a real browser. Usage: run.py FOOTNOTE PICTURES [NAME...]. Run by tools/check_web.sh, which puts
Playwright on the path. One service with a small corpus and no generator serves most tests; each test has a fresh
browser context at its size, and fails also on what it did not look for: an error on the console, a request to another
origin. Last line: N passed, N failed, N skipped."""
import os, sys, time, traceback

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path[:0] = [HERE, os.path.join(ROOT, "tests/http")]
import harness
from playwright.sync_api import sync_playwright

harness.FOOTNOTE = os.path.abspath(sys.argv[1])
PICTURES = os.path.abspath(sys.argv[2])
import flows, flows_keys, flows_rate

wanted = sys.argv[3:]
CHROMIUM = "/usr/bin/chromium"


def main():
    count = {"passed": 0, "failed": 0, "skipped": 0}
    os.makedirs(PICTURES, exist_ok=True)
    service = harness.Service()
    try:
        flows.fill(service, os.path.join(ROOT, "corpora/handbook"))
        with sync_playwright() as p:
            sandbox = [] if os.getuid() else ["--no-sandbox"]      # Chromium has none for root
            browser = p.chromium.launch(executable_path=CHROMIUM, args=sandbox)
            for fn, size, scheme in flows.TESTS:
                name = fn.__name__ + "_" + size + ("_dark" if scheme == "dark" else "")
                if wanted and fn.__name__ not in wanted:
                    continue
                began, page = time.time(), flows.Page(browser, service, size, scheme, PICTURES)
                try:
                    fn(page)
                    page.check_clean()
                    count["passed"] += 1
                except harness.Skip as e:
                    count["skipped"] += 1
                    print(f"SKIP {name}: {e}")
                except Exception:
                    count["failed"] += 1
                    print(f"FAIL {name}")
                    traceback.print_exc(file=sys.stdout)
                    page.picture("failed-" + name)
                    print("\n".join(page.trouble))
                finally:
                    page.close()
                if os.environ.get("HTTP_TIMES"):
                    print(f"{time.time() - began:6.1f} s {name}")
            browser.close()
    finally:
        service.close()
    print(", ".join(f"{n} {what}" for what, n in count.items()))
    return count["failed"] > 0


sys.exit(main())
