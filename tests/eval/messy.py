#!/usr/bin/env python3
"""Phrases of a set of difficult files, found in what Footnote extracts from them. Usage: messy.py PROGRAM SET [KIND,…]

SET is a folder, whose manifest.jsonl names the files under SET/files, or a manifest, which names files as seen from its
own folder, and what is expected of each: phrases that must be in the text, or that the file is encrypted, empty, binary
or harmful. They are ingested into a data folder of its own; texts come from `docs text`. White space is compared as one
blank. KIND: the formats whose phrases must all be found (default: those this version reads). Exit 1 when one of these
phrases is missing or a verdict is not what it must be. `make check` runs it on a small set (tests/cli/formats.py); larger
ones are run by hand."""

import json
import os
import subprocess
import sys
import tempfile

KINDS = "txt,md,html,pdf,docx,odt,eml,csv,xml,rst,org,asciidoc,txt named .pdf,binary named .txt"
REASONS = {"encrypted": "encrypted", "empty": "empty", "binary": "binary", "no_text": "no text"}


def run(program, data, *words):
    out = subprocess.run([program, "--data", data, *words], capture_output=True, text=True, errors="replace", timeout=1800)
    return out.returncode, out.stdout, out.stderr


def spaced(text):
    return " ".join(text.split())


def main():
    program, given = sys.argv[1], os.path.abspath(sys.argv[2])
    kinds = (sys.argv[3] if len(sys.argv) > 3 else KINDS).split(",")
    files, listed = (os.path.join(given, "files"), os.path.join(given, "manifest.jsonl")) if os.path.isdir(given) else (os.path.dirname(given), given)
    with open(listed, encoding="utf-8") as f:
        manifest = [json.loads(line) for line in f]
    paths = [os.path.normpath(os.path.join(files, m["file"])) for m in manifest]
    found = wanted = wrong = 0
    with tempfile.TemporaryDirectory() as data:
        rc, out, err = run(program, data, "ingest", *([files] if os.path.isdir(given) else paths), "--json")
        events = {}
        for line in out.splitlines():
            event = json.loads(line)
            if "source" in event:
                events[event["source"]] = event
        if not events:
            sys.exit(f"messy.py: ingest told nothing (exit {rc}): {err.strip()[-300:]}")
        for m, path in zip(manifest, paths):
            event = events.get(path, {})
            verdict, reason = event.get("verdict", "no event"), event.get("reason") or ""
            text = ""
            if event.get("document_id"):
                text = spaced(run(program, data, "docs", "text", event["document_id"])[1])
            missing = [p for p in m["phrases"] if spaced(p) not in text]
            unwanted = [p for p in m["must_not_contain"] if spaced(p) in text]
            need = m["kind"] in kinds
            bad = verdict == "no event" or bool(unwanted)
            if m["expect"] in REASONS and (need or m["expect"] == "encrypted"):
                bad |= verdict != "skipped" or REASONS[m["expect"]] not in reason
            if need:
                wanted += len(m["phrases"])
                found += len(m["phrases"]) - len(missing)
            wrong += bad
            print(f"{'BAD ' if bad or (need and missing) else 'ok  ' if not missing else '-   '} {m['kind']:16} {m['file']}: "
                  f"{len(m['phrases']) - len(missing)} of {len(m['phrases'])}; {verdict}{', ' + reason if reason else ''}")
            for p in missing if need else []:
                print(f"       missing: {p}")
            for p in unwanted:
                print(f"       must not be there: {p}")
    print(f"{found} of {wanted} phrases of {', '.join(kinds)}; {wrong} wrong verdicts")
    sys.exit(0 if found == wanted and not wrong else 1)


if __name__ == "__main__":
    main()
