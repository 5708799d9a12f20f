#!/usr/bin/env python3
"""A large corpus of real text for `footnote bench index`: passages of Debian's documentation packages and of question sets.
Usage: grow_corpus.py OUT.jsonl QUERIES.jsonl [--limit N] [--sets FOLDER...] [--packages P...]

Packages are fetched by apt-get (sources as the machine has them) into a folder beside OUT, unpacked and not installed. Of
their HTML, text and manual pages and of the sets' corpus.jsonl every passage of one to three sentences and 60 to 400
characters enters once, in an order that does not depend on the packages. QUERIES: the sets' questions, and every
hundredth passage's first sentence, which leaves the corpus. A JSON object {"text"} a line."""
import argparse, gzip, hashlib, html, json, os, random, re, subprocess, sys

PACKAGES = """python3.11-doc postgresql-doc-15 linux-doc-6.1 rust-doc openjdk-17-doc debian-handbook debian-policy developers-reference
manpages manpages-dev gimp-help-en libreoffice-help-en-gb vim-doc sqlite3-doc nodejs-doc python-django-doc perl-doc octave-doc maxima-doc
libboost1.81-doc apache2-doc postfix-doc exim4-doc-html r-doc-html scala-doc python-pandas-doc lilypond-doc-html wx3.2-doc dcmtk-doc
qtbase5-doc-html python-astropy-doc singular-doc gnuradio-doc erlang-doc derby-doc twisted-doc libpcl-doc petsc3.18-doc groovy-doc""".split()
TAG = re.compile(r"<(script|style|pre|code|head|nav)\b.*?</\1>|<[^>]*>", re.S | re.I)
BLOCK = re.compile(r"</?(p|li|h\d|td|th|div|br|dd|dt|tr)\b[^>]*>", re.I)
ROFF = re.compile(r"^[.'].*$|\\f.|\\-|\\\(..", re.M)
SENTENCE = re.compile(r"(?<=[.!?])\s+(?=[A-Z0-9\"'])")
LEAST, MOST, WORDS_LEAST = 60, 400, 9


def fetch(packages, folder):
    os.makedirs(folder, exist_ok=True)
    for p in packages:
        at = os.path.join(folder, p)
        if os.path.isdir(at):
            continue
        if subprocess.run(["apt-get", "download", "-qq", p], cwd=folder).returncode:
            print(f"{p}: not to be had, left out", file=sys.stderr)
            continue
        deb = next(f for f in os.listdir(folder) if f.startswith(p + "_") and f.endswith(".deb"))
        subprocess.run(["dpkg-deb", "-x", deb, at], cwd=folder, check=True)
        os.unlink(os.path.join(folder, deb))


def paragraphs(path):
    raw = open(path, "rb").read()
    if path.endswith(".gz"):
        raw = gzip.decompress(raw)
    text, name = raw.decode("utf-8", "replace"), path.removesuffix(".gz")
    if re.search(r"\.x?html?$", name):
        text = html.unescape(TAG.sub(" ", BLOCK.sub("\n\n", text)))
    elif re.search(r"\.[1-9][a-z]*$", name):
        text = ROFF.sub(" ", text)
    elif not re.search(r"\.(txt|rst|xml|md)$|/(README|NEWS)[^/]*$", name):
        return
    else:
        text = html.unescape(TAG.sub(" ", text))
    for p in re.split(r"\n\s*\n", text):
        yield " ".join(p.split())


def passages(paragraph):
    held = ""
    for s in SENTENCE.split(paragraph):
        if held and len(held) + len(s) + 1 > MOST // 2:
            yield held
            held = ""
        held = f"{held} {s}" if held else s
    if held:
        yield held


def real(p):
    letters = sum(c.isalpha() or c == " " for c in p)
    return LEAST <= len(p) <= MOST and len(p.split()) >= WORDS_LEAST and letters > 0.8 * len(p)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("out")
    p.add_argument("queries")
    p.add_argument("--limit", type=int, default=1000000)
    p.add_argument("--sets", nargs="*", default=[])
    p.add_argument("--packages", nargs="*", default=PACKAGES)
    o = p.parse_args()
    folder = os.path.abspath(o.out) + ".packages"
    fetch(o.packages, folder)
    found, queries = {}, []

    def keep(text):
        for s in passages(text):
            if real(s):
                found.setdefault(hashlib.blake2b(s.lower().encode(), digest_size=12).digest(), s)

    for s in o.sets:
        with open(f"{s}/queries.jsonl") as f:
            queries += [json.loads(line)["text"] for line in f]
        with open(f"{s}/corpus.jsonl") as f:
            for line in f:
                keep(json.loads(line)["text"])
    for at, _, files in os.walk(folder):
        for name in files:
            path = os.path.join(at, name)
            if os.path.islink(path):
                continue
            for text in paragraphs(path):
                keep(text)
    texts = [found[k] for k in sorted(found)]
    print(f"{len(texts)} passages", file=sys.stderr)
    with open(o.out, "w") as f, open(o.queries, "w") as g:
        for i, t in enumerate(texts[:o.limit]):
            if i % 100:
                f.write(json.dumps({"text": t}) + "\n")
            elif len(queries) < 10000:
                queries.append(SENTENCE.split(t)[0])
        random.Random(6).shuffle(queries)
        g.writelines(json.dumps({"text": q}) + "\n" for q in queries)


if __name__ == "__main__":
    main()
