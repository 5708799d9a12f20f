#!/usr/bin/env python3
"""What search by vector finds of the true 10 best, on real embeddings of the corpora's texts: exactly, by graph and by
lists of codes as they are set by default, and for readers who see a share. Usage: recall.py FOOTNOTE. Needs the embedder. Last line: N passed, N
failed, N skipped."""
import glob, json, os, subprocess, sys, tempfile

FOOTNOTE, HERE = os.path.abspath(sys.argv[1]), os.path.dirname(os.path.abspath(__file__))
WORDS, STEP = 14, 4  # a text is so many words; the next begins so many further on: near ones are many, as in a store
FLOORS = {"exact_recall": 1, "default_recall": 0.98, "default_half_recall": 0.99, "default_tenth_recall": 0.99,
          "default_hundredth_recall": 0.99, "default_thousandth_recall": 0.99, "ivf_recall": 0.95, "ivf_half_recall": 0.95,
          "ivf_tenth_recall": 0.95, "ivf_hundredth_recall": 0.99, "ivf_thousandth_recall": 0.99}


def texts():
    for path in sorted(glob.glob(f"{HERE}/../../corpora/*/*.md") + glob.glob(f"{HERE}/../../corpora/*/**/*.txt", recursive=True)):
        words = open(path, encoding="utf-8").read().split()
        for at in range(0, max(1, len(words) - WORDS), STEP):
            yield " ".join(words[at:at + WORDS])


def main():
    models = os.environ.get("FOOTNOTE_MODELS") or os.path.expanduser("~/.cache/footnote/models")
    if not os.path.isdir(f"{models}/all-minilm-l6-v2"):
        print("skip recall: needs the embedder\n0 passed, 0 failed, 1 skipped")
        return 0
    failed = 0
    with tempfile.TemporaryDirectory(prefix="footnote-recall-") as top:
        with open(f"{top}/texts.jsonl", "w") as f:
            f.writelines(json.dumps({"text": t}) + "\n" for t in dict.fromkeys(texts()))
        with open(f"{HERE}/../../corpora/squad_mini/questions.jsonl") as questions, open(f"{top}/queries.jsonl", "w") as f:
            f.writelines(json.dumps({"text": json.loads(q)["question"]}) + "\n" for q in questions)
        run = subprocess.run([FOOTNOTE, "-c", os.devnull, "--json", "bench", "index", "--texts", f"{top}/texts.jsonl", "--queries",
                              f"{top}/queries.jsonl", "--folder", f"{top}/bench"], capture_output=True, text=True, timeout=1800)
    if run.returncode:
        print(f"FAIL recall: {run.stderr.strip()[-300:]}\n0 passed, 1 failed, 0 skipped")
        return 1
    got = json.loads(run.stdout)
    got["bytes_per_vector_under_600"] = 1 if got["bytes_per_vector"] <= 600 else 0
    got["ivf_bytes_per_vector_under_110"] = 1 if got["ivf_bytes_per_vector"] <= 110 else 0  # few vectors: centres weigh more
    floors = dict(FLOORS, bytes_per_vector_under_600=1, ivf_bytes_per_vector_under_110=1)
    for name, floor in floors.items():
        if got[name] < floor:
            failed += 1
            print(f"FAIL {name}: {got[name]}, at least {floor} of {got['vectors']:.0f} vectors, {got['queries']:.0f} queries")
    print(f"{len(floors) - failed} passed, {failed} failed, 0 skipped")
    return failed > 0


sys.exit(main())
