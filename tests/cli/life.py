#!/usr/bin/env python3
"""The store's life from the command line: erase, hold, retention, compact, backup, restore; with and without a service
running. Usage: life.py FOOTNOTE [NAME...]. Needs the embedder. Last line: N passed, N failed, N skipped."""
import glob, hashlib, json, os, signal, subprocess, sys, threading, time, urllib.error, urllib.request

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
import frame
from frame import FOOTNOTE, Skip, test


class Box(frame.Box):
    fixed = "generate.model = none\n"

    def ingest(self, *args):
        rows = self.json("ingest", *(args or (self.docs,)))
        return {os.path.basename(r["source"]): r for r in rows[:-1]}

    def raw(self, word):
        """How often the bytes occur in any file of the data folder."""
        return sum(open(p, "rb").read().count(word.encode()) for p in glob.glob(self.data + "/*") if not p.endswith(".sock"))

    def serve(self):
        p = subprocess.Popen([FOOTNOTE, "-c", self.conf, "--data", self.data, "serve", "--listen", "127.0.0.1:0"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert "http://" in p.stdout.readline()
        return p


def stop(p):
    p.send_signal(signal.SIGTERM)
    out, err = p.communicate(timeout=120)
    assert p.returncode == 0, err
    return out + err


PLAIN = "The harbour office opens at nine. Boats are measured on Tuesdays.\n"
SECRET = "# Vermilion agreement\n\nThe vermilion agreement with Quillfeather pays 4711 guilders.\n\nIt is signed under the heron bridge, by moonlight.\n"


@test
def erase_and_its_receipt(b):
    """Nothing of it is in the folder, not of older revisions, not of copies, not in a graph; what others say stays."""
    b.settings(index__exact_below=8)
    for i in range(12):
        b.write(f"plain{i}.txt", PLAIN + f"Entry {i} of the ledger weighs {i * 7} tons and smells of tar.\n")
    path = b.write("quillfeather.md", SECRET.replace("4711", "1234").replace("vermilion", "cinnabar"))
    b.ingest()
    b.write("quillfeather.md", SECRET)
    b.ingest()
    assert b.raw("cinnabar") > 0
    b.write("zz-quillfeather-again.md", SECRET)
    rows = b.ingest()
    assert rows["zz-quillfeather-again.md"]["verdict"] == "duplicate", rows
    assert b.raw("uillfeather") > 0
    id = rows["quillfeather.md"]["document_id"]
    r = b.json("erase", "--source", "docs/quillfeather.md")[0]
    assert r["verified"] is True and r["document_id"] == id and r["duplicates_removed"] == 1 and r["samples"] > 5, r
    assert r["source_sha256"] == hashlib.sha256(path.encode()).hexdigest() and r["content_sha256"] == hashlib.sha256(SECRET.encode()).hexdigest()
    assert r["bytes_rewritten"] > 4096 and r["snapshot"] > 0 and r["erased_at"].endswith("Z") and "ackup" in r["note"]
    for word in ("uillfeather", "ermilion", "cinnabar", "heron bridge", "4711", "1234 guilders"):
        assert b.raw(word) == 0, word
    assert b.raw("smells of tar") >= 12
    b.run("docs", "show", id, ok=(3,))
    b.run("erase", id, ok=(3,))
    assert b.json("erase", "--list")[0]["receipt"] == r["receipt"]
    b.run("check")
    assert all("uillfeather" not in h["text"] for h in b.json("search", "Quillfeather agreement"))
    text = b.run("erase", b.json("docs", "list")[0]["id"]).stdout
    assert "receipt" in text and "verified" in text and "Backups" in text
    for args in ((), ("a", "b"), ("a", "--source", "b"), ("--list", "a")):
        b.run("erase", *args, ok=(2,))
    # The file is still there: ingested again, it is a document like any other.
    assert b.ingest()["quillfeather.md"]["verdict"] == "added"


MAIL = """From: a@example.org
To: b@example.org
Subject: The heron file
MIME-Version: 1.0
Content-Type: multipart/mixed; boundary=xx

--xx
Content-Type: text/plain

The list of berths is attached.
--xx
Content-Type: text/plain
Content-Disposition: attachment; filename=berths.txt

Berth nine belongs to the Quillfeather.
--xx
Content-Type: text/plain
Content-Disposition: attachment; filename=tides.txt

High water is at the ermine hour.
--xx--
"""


@test
def what_a_mail_brought_goes_with_it(b):
    for name in ("heron.eml", "heron2.eml"):
        b.write(name, MAIL if name == "heron.eml" else MAIL.replace("Quillfeather", "Dotterel").replace("ermine", "amber").replace("attached", "below"))
    b.write("heron.eml#real.txt", "A real file whose name looks like a part.\n")
    rows = b.ingest()
    mail, berths = rows["heron.eml"]["document_id"], rows["heron.eml#berths.txt"]["document_id"]
    assert len(b.json("docs", "list")) == 7, rows
    b.run("hold", "add", berths, "--reason", "case 18")
    for verb in ("delete", "erase"):
        assert "case 18" in b.run(verb, mail, ok=(5,)).stderr
    assert len(b.json("docs", "list")) == 7
    b.run("hold", "remove", berths)
    receipts = b.json("erase", mail)
    assert len(receipts) == 3 and receipts[0]["document_id"] == mail and all(r["verified"] for r in receipts), receipts
    for word in ("uillfeather", "ermine hour", "heron.eml#berths"):
        assert b.raw(word) == 0, word
    gone = b.json("delete", "--source", f"{b.docs}/heron2.eml")
    assert [os.path.basename(r["source"]) for r in gone][0] == "heron2.eml" and len(gone) == 3, gone
    assert [os.path.basename(d["source"]) for d in b.json("docs", "list")] == ["heron.eml#real.txt"]
    assert b.json("search", "Dotterel", "--mode", "lexical") == []
    b.run("check")


@test
def erase_beside_a_service(b):
    b.write("plain.txt", PLAIN)
    b.write("quillfeather.md", SECRET)
    b.ingest()
    p = b.serve()
    try:
        b.run("erase", "--source", f"{b.docs}/quillfeather.md")
        assert b.raw("uillfeather") == 0
        assert len(b.json("search", "harbour office")) == 1
        before, after = b.json("compact")[0].values()
        assert after <= before
        new = b.write("new.txt", "Something new about lighthouses.\n")
        assert b.ingest(new)["new.txt"]["verdict"] == "added"
        b.run("check")
    finally:
        log = stop(p)
    assert "uillfeather" not in log and b.raw("uillfeather") == 0
    b.run("check")


@test
def hold_is_stronger_than_everything(b):
    held, free = b.write("held.txt", "The offer of March stands until June.\n"), b.write("free.txt", PLAIN)
    id = b.ingest()["held.txt"]["document_id"]
    assert b.json("hold", "list") == [] and "nothing" in b.run("hold", "list").stdout
    r = b.json("hold", "add", "--source", "docs/held.txt", "--reason", "case 17")[0]
    assert (r["document_id"], r["source"], r["reason"], r["hold"]) == (id, held, "case 17", "added"), r
    for args in (("delete", id), ("erase", id), ("delete", "--source", held)):
        assert "case 17" in b.run(*args, ok=(5,)).stderr
    b.write("held.txt", "The offer is withdrawn.\n")
    row = b.ingest()["held.txt"]
    assert row["verdict"] == "skipped" and "on hold" in row["reason"], row
    assert "June" in b.run("docs", "text", id).stdout
    os.unlink(held)
    rows = b.json("ingest", "--prune", b.docs)
    assert [x["verdict"] for x in rows[:-1] if x["source"] == held] == ["skipped"], rows
    b.settings(retention__days=0.00001)
    time.sleep(1)
    rows = b.json("retention", "apply")
    assert {x["source"]: x["verdict"] for x in rows[:-1]} == {held: "skipped", free: "removed"} and rows[-1]["summary"] == {"removed": 1, "held": 1, "records": 0, "dry_run": False}, rows
    assert [(h["document_id"], h["source"]) for h in b.json("hold", "list")] == [(id, held)] and "case 17" in b.run("hold", "list").stdout
    b.run("check")
    assert b.json("hold", "remove", id)[0]["hold"] == "removed"
    b.run("hold", "remove", id, ok=(3,))
    b.run("hold", "add", "nothing-here", ok=(3,))
    for args in ((), ("frob",), ("add",), ("list", "x"), ("remove", id, "--reason", "x")):
        b.run("hold", *args, ok=(2,))
    assert b.json("retention", "apply")[-1]["summary"]["removed"] == 1 and b.json("docs", "list") == []


@test
def hold_of_a_mail_and_of_a_duplicate(b):
    b.write("heron.eml", MAIL)
    b.write("a-tides.txt", "High water is at the ermine hour.")
    b.write("copy.txt", PLAIN)
    b.write("zz-copy.txt", PLAIN)
    rows = b.ingest()
    mail, berths, tides, first, copy = (rows[n]["document_id"] for n in ("heron.eml", "heron.eml#berths.txt", "a-tides.txt", "copy.txt", "zz-copy.txt"))
    part = rows["heron.eml#tides.txt"]["document_id"]
    assert rows["zz-copy.txt"]["verdict"] == rows["heron.eml#tides.txt"]["verdict"] == "duplicate", rows
    b.run("hold", "add", berths, "--reason", "its own")
    added = b.json("hold", "add", mail, "--reason", "case 20")
    assert [(r["document_id"], r["with"], r["reason"]) for r in added] == [(mail, None, "case 20"), (part, mail, "case 20")], added
    for id, why in ((berths, "its own"), (part, "case 20"), (mail, "on hold")):
        for verb in ("delete", "erase"):
            assert why in b.run(verb, id, ok=(5,)).stderr, id
    # The file that the held attachment repeats has its text.
    assert "case 20" in b.run("delete", tides, ok=(5,)).stderr
    r = b.json("hold", "add", "--source", f"{b.docs}/zz-copy.txt", "--reason", "case 21")[0]
    since = r["since"]
    for verb in ("delete", "erase"):
        assert "case 21" in b.run(verb, first, ok=(5,)).stderr
    b.write("copy.txt", "Something else altogether is in it now.\n")
    row = b.ingest()["copy.txt"]
    assert row["verdict"] == "skipped" and "case 21" in row["reason"], row
    b.settings(retention__days=0.000001)
    kept = {r["source"] for r in b.json("retention", "apply") if r.get("verdict") == "skipped"}
    assert kept >= {f"{b.docs}/{n}" for n in ("copy.txt", "zz-copy.txt", "heron.eml", "heron.eml#berths.txt", "heron.eml#tides.txt")}, kept
    assert "Tuesdays" in b.run("docs", "text", first).stdout
    # Once more without a reason: nothing is lost.
    r = b.json("hold", "add", copy)[0]
    assert (r["reason"], r["since"]) == ("case 21", since), r
    assert b.json("hold", "add", copy, "--reason", "case 22")[0]["reason"] == "case 22"
    assert {r["document_id"] for r in b.json("hold", "remove", mail)} == {mail, part}
    assert {(h["document_id"], h["reason"]) for h in b.json("hold", "list")} == {(berths, "its own"), (copy, "case 22")}
    b.run("hold", "remove", copy)
    b.run("delete", first)
    b.run("check")


@test
def retention_by_path(b):
    os.makedirs(b.docs + "/mail/deep")
    os.makedirs(b.docs + "/mailbox")
    for name in ("mail/a.txt", "mail/deep/b.txt", "mailbox/c.txt", "d.txt"):
        b.write(name, f"Text of {name} and nothing else.\n")
    b.ingest()
    assert [(r["rule"], r["documents"], r["due"], r["next_due"]) for r in b.json("retention", "show")] == [("retention.days", 4, 0, None)]
    assert b.json("retention", "apply") == [{"summary": {"removed": 0, "held": 0, "records": 0, "dry_run": False}}]
    time.sleep(0.2)
    b.settings(retention__rules=f"{b.docs}/mail 0.000001, {b.docs}/mail/deep/ 0, {b.docs}/mailbox 30")
    rows = b.json("retention", "show")
    assert [(r["source"], r["verdict"]) for r in rows[:-4]] == [(b.docs + "/mail/a.txt", "due")], rows
    assert [(r["days"], r["documents"], r["due"], r["next_due"] is None) for r in rows[-4:]] == [(1e-06, 1, 1, True), (0, 1, 0, True), (30, 1, 0, False), (0, 1, 0, True)], rows
    assert b.json("retention", "apply", "--dry-run")[-1]["summary"]["removed"] == 1 and len(b.json("docs", "list")) == 4
    assert "older than 1e-06 days" in b.run("retention", "apply").stdout and len(b.json("docs", "list")) == 3
    b.run("check")
    for bad in (f"{b.docs}/mail", "30", f"{b.docs}/mail x", f"{b.docs}/mail -1", f"{b.docs} 5,, /x 2"):
        b.settings(retention__rules=bad)
        assert "retention.rules" in b.run("retention", "show", ok=(2,)).stderr
    b.settings()
    for args in ((), ("frob",), ("show", "x"), ("show", "--dry-run")):
        b.run("retention", *args, ok=(2,))


@test
def retention_is_not_undone_by_a_sync(b):
    def age(path, days):
        os.utime(path, (time.time() - days * 86400,) * 2)
        return path

    def verdicts(*args):
        return {n: r["verdict"] for n, r in b.ingest(*args).items()}

    old, mail, fresh = age(b.write("old.txt", PLAIN), 40), age(b.write("heron.eml", MAIL), 35), b.write("fresh.txt", "Ingested on the day it was written.\n")
    assert set(verdicts().values()) == {"added"}
    b.settings(retention__days=30)
    assert verdicts()["old.txt"] == "unchanged"                # stored: retention's own to remove
    due = b.json("retention", "show")[:-1]
    assert {os.path.basename(r["source"]) for r in due} == {"old.txt", "heron.eml", "heron.eml#berths.txt", "heron.eml#tides.txt"}, due
    assert len({r["updated"] for r in due}) == 2               # attachments are as old as their mail
    assert b.json("retention", "apply")[-1]["summary"] == {"removed": 4, "held": 0, "records": 0, "dry_run": False}
    for _ in range(2):
        rows = b.ingest("--prune", b.docs)
        assert {n: r["verdict"] for n, r in rows.items()} == {"old.txt": "skipped", "heron.eml": "skipped", "fresh.txt": "unchanged"}, rows
        assert "older than 30 days" in rows["old.txt"]["reason"]
    assert [d["source"] for d in b.json("docs", "list")] == [fresh] and b.json("retention", "apply")[-1]["summary"]["removed"] == 0
    # The rule decides, not what happened once; and changed content is young again.
    b.settings(retention__days=30, retention__rules=f"{mail} 0")
    assert verdicts()["heron.eml"] == "added"
    b.write("old.txt", PLAIN + "A third line, of today.\n")
    assert verdicts()["old.txt"] == "added" and len(b.json("docs", "list")) == 5
    assert b.json("retention", "apply")[-1]["summary"]["removed"] == 0
    b.run("check")


@test
def backup_restore_compact(b):
    for i in range(30):
        b.write(f"doc{i}.txt", f"Number {i}\n\n" + f"Crate {i} stands in aisle {i % 7} of the store. " * 20)
    b.ingest()
    listed = b.json("docs", "list")
    r = b.json("backup", "monday")[0]
    path = f"{b.top}/monday"
    assert r == {"file": path, "bytes": os.path.getsize(path)} and oct(os.stat(path).st_mode & 0o777) == "0o600"
    assert path in b.run("backup", path, ok=(5,)).stderr
    b.run("backup", ok=(2,))
    b.run("backup", "no/folder/x", ok=(3,))
    for d in listed[:20]:
        b.run("delete", d["id"])
    before, after = b.json("compact")[0].values()
    assert after < before
    b.run("restore", path, ok=(5,))
    assert len(b.json("docs", "list")) == 10
    cut = b.top + "/cut"
    data = open(path, "rb").read()
    for bad in (data[:-1], data[:len(data) // 2], b"", b"hello", data[:9000] + b"x" + data[9001:]):
        open(cut, "wb").write(bad)
        b.run("restore", cut, "--force", ok=(1, 4))
    assert len(b.json("docs", "list")) == 10
    b.run("restore", "nothing-here", "--force", ok=(3,))
    p = b.serve()
    try:
        assert "to itself" in b.run("restore", path, "--force", ok=(5,)).stderr
        b.run("backup", "tuesday")
    finally:
        stop(p)
    b.run("restore", path, "--force")
    assert b.json("docs", "list") == listed
    b.run("check")
    first = b.data
    b.data = b.top + "/fresh"
    assert b.json("restore", f"{b.top}/tuesday")[0]["documents"] == 10
    b.run("check")
    assert len(b.json("search", "aisle")) == 10
    # Over a store that can't even be opened.
    with open(first + "/data.mdb", "r+b") as f:
        f.write(b"\0" * 8192)
    b.data = first
    b.run("stats", ok=(1, 4))
    b.run("restore", path, "--force")
    assert b.json("docs", "list") == listed


@test
def a_folder_that_cannot_be_written(b):
    """Refused, by every command, and said so: exit code 5."""
    b.run("stats")
    lines = "; ".join(f'"$0" -c "$1" --data "$2" {c}; echo "exit $?" >&2' for c in ("stats", "check", "search boats", "docs list", f'ingest "{b.docs}"'))
    if os.geteuid() == 0:
        lines, shell = f'mount --bind "$2" "$2" && mount -o remount,ro,bind "$2" || exit 99; {lines}', ["unshare", "-m", "bash", "-c"]
    else:
        os.chmod(b.data, 0o500)
        os.chmod(b.data + "/footnote.lock", 0o400)
        shell = ["bash", "-c"]
    r = subprocess.run([*shell, lines, FOOTNOTE, b.conf, b.data], capture_output=True, text=True, timeout=120, cwd=b.top)
    os.chmod(b.data, 0o700)
    if r.returncode == 99 or "unshare" in r.stderr:
        raise Skip("root without mounts of its own")
    assert r.stderr.count("exit 5") == 5 and r.stderr.count("write in the data folder") == 5, r.stderr
    os.chmod(b.data + "/footnote.lock", 0o600)
    b.run("stats")


GOLDEN = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "golden", "embedders")


def two_embedders(b, docs):
    """Another embedder, of 32 floats, beside the default one, and documents of about ten chunks each."""
    b.settings(models__dir=b.top + "/models", ingest__chunk_tokens=32)
    for name in ("tiny-bge-en", "tiny-e5"):
        b.run("models", "add", f"{GOLDEN}/{name}")
    for i in range(docs):
        b.write(f"log{i}.md", f"# Log {i}\n\n" + "".join(f"## Berth {k}\n\nThe boat {i * 31 + k} lay at berth {k} for {i + k} nights, and its master paid {i * 7 + k} guilders "
                f"of duty to the harbour office.\n\n" for k in range(10)))
    b.ingest()
    return b.json("stats")[0]["chunks"]


def found(b, *args):
    return [(h["document_id"], h["start"], round(h["score"], 5)) for h in b.json("search", "boat 157 at berth 2", "--mode", "dense", "-k", "5", *args)]


@test
def another_embedder_and_back(b):
    chunks = two_embedders(b, 12)
    assert chunks > 100, chunks
    before = found(b)
    # Killed after a batch: searches have what they had, and it goes on where it was.
    killed = subprocess.run([FOOTNOTE, "-c", b.conf, "--data", b.data, "reembed", "--model", "tiny-bge-en"], capture_output=True, timeout=300, env=dict(os.environ, FOOTNOTE_FAULT="reembed.batch:1"))
    assert killed.returncode == -9, killed
    part = b.json("stats")[0]["beside"]
    assert part["status"] == "building" and part["model"] == "tiny-bge-en" and 0 < part["vectors"] < chunks, part
    assert found(b) == before
    assert "--forget" in b.run("reembed", "--rollback", ok=(5,)).stderr
    b.run("check")
    rows = b.json("reembed", "--model", "tiny-bge-en")
    assert rows[-1]["summary"]["embedded"] == chunks - part["vectors"] and rows[-1]["summary"]["before"] == "all-minilm-l6-v2", rows
    assert all("progress" in r for r in rows[:-1]) and len(rows) > 1, rows
    now = b.json("stats")[0]
    assert now["dim"] == 32 and now["model"] == "tiny-bge-en" and now["vectors"] == chunks, now
    assert now["beside"]["model"] == "all-minilm-l6-v2" and now["beside"]["status"] == "kept" and now["beside"]["vectors"] == chunks
    assert len(found(b)) == 5 and found(b) != before
    b.run("check")
    # Settings that name a third are refused with both names; the one it has, and the one it had, are taken.
    b.settings(models__dir=b.top + "/models", ingest__chunk_tokens=32, embed__model="tiny-e5")
    said = b.run("search", "boats", ok=(5,)).stderr
    assert "tiny-bge-en" in said and "tiny-e5" in said and "reembed" in said, said
    b.run("docs", "list")
    b.run("search", "boats", "--mode", "lexical")
    for model in ("all-minilm-l6-v2", "tiny-bge-en"):
        b.settings(models__dir=b.top + "/models", ingest__chunk_tokens=32, embed__model=model)
        assert b.run("search", "boats").stderr == ""
    b.write("late.md", "# Late\n\nThe late boat came at night.\n")
    assert b.ingest()["late.md"]["verdict"] == "added"
    assert b.json("reembed", "--rollback")[-1]["summary"]["embedded"] == 1
    assert [h for h in found(b, "-k", "6")][:3] == before[:3]
    assert b.json("stats")[0]["dim"] == 384
    b.run("compact")
    b.run("reembed", "--model", "all-minilm-l6-v2", ok=(5,))
    assert b.json("reembed", "--forget")[0] == {"forgotten": "tiny-bge-en", "vectors": chunks + 1}
    assert b.json("stats")[0]["beside"] is None
    b.run("reembed", "--rollback", ok=(3,))
    b.run("reembed", "--forget", ok=(3,))
    b.run("reembed", "--model", "tiny-nobody", ok=(3,))
    for args in ((), ("x",), ("--forget", "--rollback"), ("--forget", "--model", "tiny-e5")):
        b.run("reembed", *args, ok=(2,))
    b.run("check")


@test
def another_embedder_beside_a_service(b):
    """The service answers and takes documents all the while, and needs no restart."""
    chunks = two_embedders(b, 12)
    p = subprocess.Popen([FOOTNOTE, "-c", b.conf, "--data", b.data, "serve", "--listen", "127.0.0.1:0"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    url, going, answered, wrong = p.stdout.readline().split()[-1], True, [0, 0], []

    def get(path, body=None):
        r = urllib.request.Request(url + path, data=json.dumps(body).encode() if body else None, headers={"Content-Type": "application/json"})
        return json.load(urllib.request.urlopen(r, timeout=120))

    def ask():
        while going:
            try:
                hits = get("/v1/search", {"query": "boat 157 at berth 2", "k": 3, "mode": "dense"})["hits"]
                answered[0] += len(hits) == 3
            except Exception as e:
                wrong.append(repr(e))

    def push():
        n = 0
        while going:
            try:
                get("/v1/documents", {"id": f"pushed{n % 9}", "title": f"Pushed {n}", "text": f"The pushed boat {n} is at anchor.\n"})
                n, answered[1] = n + 1, answered[1] + 1
            except Exception as e:
                wrong.append(repr(e))
    try:
        for _ in range(600):
            try:
                if get("/readyz")["status"] == "ready":
                    break
            except urllib.error.HTTPError:
                time.sleep(0.1)
        assert get("/readyz")["embedder"] == "all-minilm-l6-v2"
        threads = [threading.Thread(target=f) for f in (ask, push)]
        for t in threads:
            t.start()
        for model in ("tiny-bge-en", "all-minilm-l6-v2"):
            while not wrong and min(answered) < 3:
                time.sleep(0.05)
            answered[:] = [0, 0]
            if model == "tiny-bge-en":
                b.run("reembed", "--model", model)
            else:
                b.run("reembed", "--rollback")
            assert get("/readyz")["embedder"] == model
        while not wrong and min(answered) < 3:
            time.sleep(0.05)
        going = False
        for t in threads:
            t.join()
        assert not wrong, wrong[:3]
        b.run("check")
        assert b.json("stats")[0]["vectors"] == b.json("stats")[0]["chunks"] > chunks
    finally:
        going = False
        said = stop(p)
    b.run("check")
    assert "error" not in said, said


frame.main(Box)
