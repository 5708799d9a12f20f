#!/usr/bin/env python3
"""The program on disks that fail or are full, on data folders that are damaged, and its repair of them.
Usage: bad_disks.py FOOTNOTE [NAME...]. Needs the embedder, and failwrite.so beside the tests that were built with FOOTNOTE.
Last line: N passed, N failed, N skipped."""
import json, os, random, shutil, subprocess, sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
import frame
from frame import FOOTNOTE, Skip, test

SHIM = os.path.join(os.path.dirname(FOOTNOTE), "tests", "failwrite.so")
LONG = bool(os.environ.get("FOOTNOTE_LONG"))
WORDS = "harbour ledger copper winter signal garden engine paper quiet river market window bridge candle forest".split()


class Box(frame.Box):
    fixed = "generate.model = none\nembed.threads = 1\ningest.commit_docs = 2\n"

    def write(self, name, paragraphs=2):
        with open(f"{self.docs}/{name}", "w") as f:
            f.write("\n\n".join([f"# About {name}"] + [" ".join(random.choice(WORDS) for _ in range(60)) + f". Marker {name} {i}." for i in range(paragraphs)]) + "\n")

    def listed(self):
        return {os.path.basename(d["source"]) for d in self.json("docs", "list")}


def acknowledged(rows):
    return {os.path.basename(r["source"]) for r in rows if r.get("verdict") in ("added", "updated", "unchanged")}


@test
def the_nth_write_of_an_ingest_fails(b):
    """Whichever it is: an error that names it, or none at all; what was acknowledged is there, the rest comes with the next."""
    if not os.path.exists(SHIM):
        raise Skip("no failwrite.so beside the program")
    for i in range(6):
        b.write(f"doc{i}.md")
    plan = lambda n, mode: {"LD_PRELOAD": SHIM, "FAILWRITE": f"{n}:{mode}:{b.data}", "FAILWRITE_COUNT": b.top + "/count",
                            "ASAN_OPTIONS": "verify_asan_link_order=0:" + os.environ.get("ASAN_OPTIONS", "")}
    b.run("ingest", b.docs, env=plan(0, "eio"))
    writes = int(open(b.top + "/count").read().split()[0])
    assert writes > 20, writes
    ns = range(1, writes + 1) if LONG else sorted(random.sample(range(1, writes + 1), 4))
    for n in ns:
        mode = random.choice(["eio", "nospc", "short", "torn", "full", "dead"])
        shutil.rmtree(b.data)
        r = b.run("--json", "ingest", b.docs, ok=(0, 1), env=plan(n, mode))
        rows = [json.loads(line) for line in r.stdout.splitlines()]
        told = r.stdout + r.stderr
        failed = int(open(b.top + "/count").read().split()[1])
        if r.returncode:
            assert any(w in told for w in ("nput/output error", "disk is full", "No space left", "could not be written")), f"write {n}, {mode}: {told}"
        elif failed:
            assert "warn" in r.stderr or len(acknowledged(rows)) == 6, f"write {n}, {mode}: {told}"
        b.run("check")
        missing = acknowledged(rows) - b.listed()
        assert not missing, f"write {n}, {mode}: acknowledged and lost: {missing}"
        b.run("ingest", b.docs)
        assert len(b.listed()) == 6
        b.run("check")


@test
def a_disk_that_fills_up(b):
    """A file system of a few MB: told, nothing lost, and it goes on when there is room."""
    if os.geteuid():
        raise Skip("only root can mount a small file system")
    for i in range(26):
        b.write(f"doc{i}.md", 20)
    os.makedirs(b.data)
    mount = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1100k", "tmpfs", b.data], capture_output=True, text=True)
    if mount.returncode:
        raise Skip("no mounts here: " + mount.stderr.strip())
    try:
        r = b.run("--json", "ingest", b.docs, ok=(1,))
        rows = [json.loads(line) for line in r.stdout.splitlines()]
        assert "full" in r.stdout + r.stderr or "No space left" in r.stdout + r.stderr, r.stdout + r.stderr
        kept = acknowledged(rows)
        assert len(kept) > 1 and kept <= b.listed(), (len(kept), len(b.listed()))
        b.run("check")
        assert b.json("search", "harbour ledger copper")
        assert "full" in b.run("backup", b.data + "/copy", ok=(1,)).stderr and not os.path.exists(b.data + "/copy")
        subprocess.run(["mount", "-o", "remount,size=64m", b.data], check=True)
        b.run("ingest", b.docs)
        assert len(b.listed()) == 26
        b.run("compact")
        b.run("check")
    finally:
        subprocess.run(["umount", "-l", b.data])


@test
def damage_is_found_and_repaired(b):
    """A letter of a stored text changes on disk: check says so, repair takes the text away, a sync brings it back."""
    for i in range(5):
        b.write(f"doc{i}.md")
    with open(b.docs + "/odd.md", "w") as f:
        f.write("# Odd\n\nThe zeppelinometer weighs nine grams. It hangs in the hall.\n")
    b.run("ingest", b.docs)
    b.run("check")
    raw = bytearray(open(b.data + "/data.mdb", "rb").read())
    at = raw.find(b"zeppelinometer weighs")
    assert at > 0
    raw[at + 3] ^= 1
    open(b.data + "/data.mdb", "wb").write(raw)
    rows = b.json("check", ok=(4,))
    assert any("odd" in r.get("problem", "") or "checksum" in r.get("problem", "") for r in rows) and rows[-1]["summary"]["problems"] > 0
    rows = b.json("check", "--repair")
    assert any("odd.md" in r.get("repaired", "") for r in rows), rows
    assert rows[-1]["summary"]["problems"] == 0 and rows[-1]["summary"]["repaired"] == sum("repaired" in r for r in rows), rows
    assert len(b.listed()) == 5
    rows = b.json("ingest", b.docs)
    assert acknowledged(r for r in rows if r.get("verdict") != "unchanged") == {"odd.md"}, rows
    assert b.json("search", "zeppelinometer")[0]["text"].find("nine grams") >= 0
    b.run("check")
    assert "0 repaired, 0 problems" in b.run("check", "--repair").stdout


@test
def files_that_are_no_store(b):
    """Empty, short, foreign: an error that names the file, and the file is left as it is."""
    os.makedirs(b.data)
    path = b.data + "/data.mdb"
    for content, said in ((b"", "empty"), (b"x", "data"), (b"hello" * 5000, "data"), (bytes(70000), "data")):
        with open(path, "wb") as f:
            f.write(content)
        for command in (["check"], ["ingest", b.docs]):
            r = b.run(*command, ok=(4,))
            assert said in r.stderr and b.data in r.stderr, r.stderr
        assert open(path, "rb").read() == content
    os.unlink(path)
    b.run("stats")
    b.data = b.top + "/no/such/parent/data"
    b.run("stats")
    with open(b.top + "/file", "w") as f:
        f.write("x")
    b.data = b.top + "/file/data"
    assert "file" in b.run("stats", ok=(1, 2, 3, 5)).stderr


random.seed(int(os.environ.get("FOOTNOTE_SEED", "7")))
frame.main(Box)
