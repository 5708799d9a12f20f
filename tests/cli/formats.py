#!/usr/bin/env python3
"""Every format from file to text through the whole program, parser processes and pdftotext included: the phrases that
tests/fixtures/ingest/formats.jsonl lists must all be found, and what cannot be read must be told. Usage: formats.py
FOOTNOTE. Needs the embedder. Last line: N passed, N failed, N skipped."""
import os, subprocess, sys

here = os.path.dirname(os.path.abspath(__file__))
r = subprocess.run([sys.executable, here + "/../eval/messy.py", os.path.abspath(sys.argv[1]), here + "/../fixtures/ingest/formats.jsonl"])
print("1 passed, 0 failed, 0 skipped" if r.returncode == 0 else "0 passed, 1 failed, 0 skipped")
sys.exit(r.returncode)
