"""Documents: pushed, listed, read, replaced, deleted."""
import hashlib, json, os, urllib.parse
from harness import *

ODD = "Größe zählt. 😀 The tide table of Ærø is printed in May.\n\nA second paragraph: naïve café, 東京 and more.\n"


def doc_url(id, tail=""):
    return "/v1/documents/" + urllib.parse.quote(id, safe="") + tail


@test
def pushed_text_is_kept(s):
    r = s.post("/v1/documents", {"text": ODD, "title": "Tides", "source": "/notes/tides.txt", "meta": {"dept": "sea", "n": 3}, "acl": ["crew"], "unknown": 1})
    assert r.status == 201, r.body
    assert r.json["verdict"] == "added" and r.headers["Content-Type"] == "application/json"
    id = r.json["document_id"]
    d = s.get(doc_url(id)).json
    assert r.json["document"] == d
    assert set(d) >= {"id", "title", "source", "type", "bytes", "chars", "chunks", "meta", "acl", "added", "updated", "revision", "verdict"}, d
    assert (d["id"], d["title"], d["source"], d["meta"], d["acl"], d["revision"]) == (id, "Tides", "/notes/tides.txt", {"dept": "sea", "n": 3}, ["crew"], 1), d
    text = s.get(doc_url(id, "/text"))
    assert text.headers["Content-Type"] == "text/plain; charset=utf-8" and len(text.text) == d["chars"]
    assert text.text.strip() == ODD.strip()


@test
def text_offsets_are_code_points(s):
    id = s.push(ODD, source="offsets")
    whole = s.get(doc_url(id, "/text")).text
    n = len(whole)
    for a, b in ((0, n), (0, 1), (2, 4), (13, 14), (14, 20), (n - 3, n), (5, 5), (n, n), (0, n + 100), (n + 5, n + 9)):
        assert s.get(doc_url(id, f"/text?start={a}&end={b}")).text == whole[a:b], (a, b)
    assert s.get(doc_url(id, "/text?start=14")).text == whole[14:] and s.get(doc_url(id, "/text?end=14")).text == whole[:14]


@test
def given_ids_are_kept(s):
    for id in ("plain", "with space", "a/b?c#d%e", "ünï-✓", "..", "a+b&c=d", "%2f"):
        r = s.post("/v1/documents", {"id": id, "text": "Document named " + id + "."})
        assert r.status == 201 and r.json["document_id"] == id, r.body
        assert s.get(doc_url(id)).json["id"] == id
        r = s.post("/v1/documents", {"id": id, "text": "Document named " + id + ", changed."})
        assert r.status == 200 and r.json["verdict"] == "updated" and r.json["document"]["revision"] == 2, r.body
        assert s.get(doc_url(id, "/text")).text.strip() == "Document named " + id + ", changed."
        assert s.ask("DELETE", doc_url(id)).json == {"id": id, "deleted": True}
        assert s.get(doc_url(id)).status == 404 and s.ask("DELETE", doc_url(id)).status == 404
    assert s.post("/v1/documents", {"id": "x" * 63, "text": "The longest id."}).status == 201
    for id in ("x" * 64, 7):
        r = s.post("/v1/documents", {"id": id, "text": "Not an id."})
        assert r.status == 400 and r.error["param"] == "id", r.body


@test
def pages_of_the_list(s):
    ids = [s.push(f"Page document {i} of the list.", collection="paged", source=f"p{i}") for i in range(7)]
    seen, cursor, pages = [], None, 0
    while True:
        r = s.get("/v1/documents?collection=paged&limit=3" + (f"&cursor={cursor}" if cursor else "")).json
        assert set(r) == {"documents", "next_cursor"} and len(r["documents"]) <= 3
        seen += [d["id"] for d in r["documents"]]
        pages, cursor = pages + 1, r["next_cursor"]
        if not cursor:
            break
    assert seen == ids and pages == 3, (seen, pages)
    assert s.get("/v1/documents?collection=never-made").json == {"documents": [], "next_cursor": None}
    assert s.get("/v1/documents?collection=paged&limit=7").json["next_cursor"] is None


@test
def collections_are_apart(s):
    a, b = s.push("Only in one of them: xylophone.", collection="one"), s.push("Only in two of them: zither.", collection="two")
    assert [h["document_id"] for h in s.post("/v1/search", {"query": "xylophone", "collection": "two"}).json["hits"]] == [b]
    assert s.get(doc_url(a, "?collection=two")).status == 404 and s.get(doc_url(a, "?collection=one")).status == 200
    assert s.ask("DELETE", doc_url(a, "?collection=two")).status == 404
    assert s.post("/v1/documents?collection=one", {"text": "By the query part."}).json["document"]["collection"] == "one"


@test
def files_in_a_form(s):
    body, kind = multipart([("collection", None, b"form"), ("file", "plain.txt", "Umlaut: öäü. A plain file.".encode()), ("file", "../../etc/head.md", b"# Head\n\nUnder the *heading* stands this.\n"),
                            ("meta", None, b'{"from":"form"}'), ("acl", None, b"a, b"), ("file", "page.html", b"<h1>Title</h1><p>A paragraph of a page.</p><script>x()</script>"),
                            ("file", "empty.txt", b""), ("file", "blob.bin", bytes(range(256)) * 9)])
    r = s.post("/v1/documents", body, headers={"Content-Type": kind})
    assert r.status == 201, r.body
    docs = r.json["documents"]
    assert [d["verdict"] for d in docs] == ["added", "added", "added", "skipped", "skipped"], docs
    assert [d["source"] for d in docs] == ["plain.txt", "head.md", "page.html", "empty.txt", "blob.bin"], docs
    for d in docs[:3]:
        assert d["document"]["collection"] == "form" and d["document"]["meta"] == {"from": "form"} and d["document"]["acl"] == ["a", "b"], d
    assert all(d["reason"] for d in docs[3:])
    assert "x()" not in s.get(doc_url(docs[2]["document_id"], "/text")).text
    again = s.post("/v1/documents", body, headers={"Content-Type": kind}).json["documents"]
    assert [d["document_id"] for d in again[:3]] == [d["document_id"] for d in docs[:3]] and again[0]["verdict"] == "unchanged", again


@test
def broken_forms(s):
    good, kind = multipart([("file", "a.txt", b"Some text of a file.")])
    for body, k in ((good[:-10], kind), (good, "multipart/form-data"), (good, "multipart/form-data; boundary=other"), (b"", kind), (b"x", kind),
                    (good.replace(b"\r\n\r\n", b"\r\n"), kind), (multipart([("collection", None, b"x")])[0], "multipart/form-data; boundary=x"),
                    (good[:40], kind), (good, "multipart/form-data; boundary=" + "b" * 300)):
        assert s.post("/v1/documents", body, headers={"Content-Type": k}).status == 400, (body[:60], k)
    body, kind = multipart([("collection", None, b"x")])
    assert s.post("/v1/documents", body, headers={"Content-Type": kind}).status == 400
    for field, value in (("meta", b"[1]"), ("meta", b"{"), ("collection", b"a b"), ("title", b"\xff")):
        body, kind = multipart([(field, None, value), ("file", "a.txt", b"Some text.")])
        r = s.post("/v1/documents", body, headers={"Content-Type": kind})
        assert r.status == 400 and r.error["param"] == field, (field, r.body)


@test
def text_that_cannot_be_kept(s):
    for text in (" \n\t ", "\u200b"):
        r = s.post("/v1/documents", {"text": text, "source": "blank"})
        assert r.status == 422 and r.error["message"], r.body


@test
def ingest_beside_the_service(s):
    os.makedirs(s.top + "/docs", exist_ok=True)
    with open(s.top + "/docs/kiln.txt", "w") as f:
        f.write("The kiln is fired on Thursdays. Glaze orders close at noon.\n")
    rows = [json.loads(x) for x in s.cli("ingest", s.top + "/docs", "--json", "--collection", "cli").stdout.splitlines()]
    assert rows[0]["verdict"] == "added" and rows[-1]["summary"], rows
    hit = s.post("/v1/search", {"query": "When is the kiln fired?", "collection": "cli"}).json["hits"][0]
    assert hit["document_id"] == rows[0]["document_id"] and hit["source"] == s.top + "/docs/kiln.txt", hit
    found = json.loads(s.cli("search", "kiln", "--json", "--collection", "cli").stdout.splitlines()[0])
    assert found["document_id"] == hit["document_id"]


@test
def originals(s):
    folder = s.top + "/originals"
    os.makedirs(folder, exist_ok=True)
    files = {"kiln \u2603 \"a\".txt": b"The lower kiln cools for two days.\r\n",
             "page.html": b"<title>Glaze</title><p>Glaze dries overnight.</p><script>alert(1)</script>",
             "gone.txt": b"This file will be gone.", "changed.txt": b"This file will change.", "same.txt": b"Touched, not changed."}
    for name, data in files.items():
        with open(os.path.join(folder, name), "wb") as f:
            f.write(data)
    rows = [json.loads(x) for x in s.cli("ingest", folder, "--json", "--collection", "originals").stdout.splitlines()]
    ids = {os.path.basename(r["source"]): r["document_id"] for r in rows if "source" in r}
    for name, kind, how in (("kiln \u2603 \"a\".txt", "text/plain", "inline"), ("page.html", "application/octet-stream", "attachment")):
        r = s.get(doc_url(ids[name], "/original"))
        assert r.status == 200 and r.body == files[name] and r.headers["Content-Type"] == kind, (r.status, r.headers)
        assert r.headers["Content-Disposition"].startswith(how + "; filename="), r.headers
        assert "sandbox" in r.headers["Content-Security-Policy"] and r.headers["X-Content-Type-Options"] == "nosniff"
        head = s.ask("HEAD", doc_url(ids[name], "/original"))
        assert head.status == 200 and head.body == b"" and int(head.headers["Content-Length"]) == len(files[name])
    assert "filename*=UTF-8''kiln%20%E2%98%83%20%22a%22.txt" in s.get(doc_url(ids["kiln \u2603 \"a\".txt"], "/original")).headers["Content-Disposition"]
    os.unlink(folder + "/gone.txt")
    assert s.get(doc_url(ids["gone.txt"], "/original")).status == 404
    for data in (b"This file has changed!", b"Another length."):        # the first has the old length
        with open(folder + "/changed.txt", "wb") as f:
            f.write(data)
        r = s.get(doc_url(ids["changed.txt"], "/original"))
        assert r.status == 409 and "changed" in r.error["message"], r.body
    os.utime(folder + "/same.txt", (1, 1))
    assert s.get(doc_url(ids["same.txt"], "/original")).body == files["same.txt"]
    os.unlink(folder + "/page.html")
    os.mkfifo(folder + "/page.html")                                     # never opened: that would wait for ever
    assert s.get(doc_url(ids["page.html"], "/original")).status == 409
    for fields in ({"source": "pushed.txt"}, {"source": "/etc/hostname"}):
        r = s.get(doc_url(s.push("A text without a file.", collection="originals", **fields), "/original"))
        assert r.status == 404 and "not the file" in r.error["message"], r.body
    assert s.get(doc_url("no-such", "/original")).status == 404


@test(own=True)
def erased_to_the_last_byte(s):
    s.push("Ordinary matters of the harbour office, kept for the record.", source="/plain")
    id = s.push("The vermilion agreement with Quillfeather is not for everyone.\n\nIt ends in the year of the heron.", source="/secret/quillfeather.txt", title="Vermilion agreement")
    assert s.get(doc_url(id)).status == 200
    r = s.ask("DELETE", doc_url(id, "?erase=true"))
    assert r.status == 200, r.body
    receipt = r.json
    assert receipt["verified"] is True and receipt["document_id"] == id and receipt["samples"] > 3 and len(receipt["receipt"]) == 32, receipt
    assert receipt["source_sha256"] == hashlib.sha256(b"/secret/quillfeather.txt").hexdigest() and receipt["bytes_rewritten"] > 0
    assert s.get(doc_url(id)).status == 404 and s.ask("DELETE", doc_url(id, "?erase=true")).status == 404
    for name in ("data.mdb", "lock.mdb"):
        raw = open(f"{s.data}/{name}", "rb").read()
        for word in (b"uillfeather", b"ermilion", b"heron"):
            assert word not in raw, (name, word)
    assert b"uillfeather" not in s.logged().encode()
    assert b"harbour office" in open(f"{s.data}/data.mdb", "rb").read()
    assert receipt["receipt"] in s.cli("erase", "--list").stdout
    assert "0 problems" in s.cli("check").stdout


MAIL = b"""From: a@example.org\r\nSubject: Berths\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=xx\r\n\r\n--xx\r
Content-Type: text/plain\r\n\r\nThe list of berths is attached.\r\n--xx\r
Content-Type: text/plain\r\nContent-Disposition: attachment; filename=berths.txt\r\n\r\nBerth nine belongs to the Quillfeather.\r\n--xx--\r\n"""


@test(own=True)
def a_mail_goes_with_its_attachments(s):
    for end in ("", "?erase=true"):
        body, kind = multipart([("file", "berths.eml", MAIL)])
        r = s.ask("POST", "/v1/documents", body, {"Content-Type": kind})
        docs = s.get("/v1/documents").json["documents"]
        assert r.status in (200, 201) and len(docs) == 2, (r.status, r.body, docs)
        mail = next(d["id"] for d in docs if d["source"].endswith(".eml"))
        r = s.ask("DELETE", doc_url(mail, end))
        assert r.status == 200 and s.get("/v1/documents").json["documents"] == [], r.body
    assert [p["verified"] for p in r.json["parts"]] == [True] and r.json["document_id"] == mail, r.json
    assert b"uillfeather" not in open(f"{s.data}/data.mdb", "rb").read()


@test(own=True)
def held_documents_stay(s):
    id = s.push("A contract that a court has asked for.", source="/held")
    s.cli("hold", "add", id, "--reason", "case 17")
    for r, status in ((s.ask("DELETE", doc_url(id)), 403), (s.ask("DELETE", doc_url(id, "?erase=true")), 403), (s.post("/v1/documents", {"id": id, "text": "Something else."}), 403)):
        assert r.status == status and "case 17" in r.error["message"], r.body
    assert "court" in s.get(doc_url(id, "/text")).text
    s.cli("hold", "remove", id)
    assert s.ask("DELETE", doc_url(id)).status == 200


@test(own=True)
def backup_while_serving(s):
    id = s.push("What is in the backup can come back.", source="/b")
    path = s.top + "/monday"
    r = s.post("/v1/backup", {"file": path})
    assert r.status == 201 and r.json == {"file": path, "bytes": os.path.getsize(path)}, r.body
    assert s.post("/v1/backup", {"file": path}).status == 409
    for bad in ({}, {"file": "relative"}, {"file": 7}):
        r = s.post("/v1/backup", bad)
        assert r.status == 400 and r.error["param"] == "file", r.body
    assert s.post("/v1/backup", {"file": s.top + "/none/x"}).status == 404
    assert s.cli("restore", path, "--force", ok=(5,)).stdout == ""
    s.cli("compact")
    assert s.ask("DELETE", doc_url(id)).status == 200
    assert s.stop() == 0
    s.cli("restore", path, "--force")
    assert id in s.cli("docs", "list").stdout


@test
def pictures_of_pages(s):
    folder = s.top + "/pages"
    os.makedirs(folder, exist_ok=True)
    for name, data in (("two.pdf", pdf(["The cormorant plan", "is on the second page."])), ("plain.txt", b"No pages here.")):
        with open(os.path.join(folder, name), "wb") as f:
            f.write(data)
    rows = [json.loads(x) for x in s.cli("ingest", folder, "--json", "--collection", "pages").stdout.splitlines()]
    ids = {os.path.basename(r["source"]): r["document_id"] for r in rows if "source" in r}
    pictures = [s.get(doc_url(ids["two.pdf"], f"/pages/{n}.png")) for n in (1, 2)]
    for r in pictures:
        assert r.status == 200 and r.headers["Content-Type"] == "image/png" and r.body[:8] == b"\x89PNG\r\n\x1a\n", r.body[:200]
        assert int.from_bytes(r.body[20:24], "big") == 1600                       # ingest.page_pixels: the longer side
    assert pictures[0].body != pictures[1].body
    for page in ("3.png", "0.png", "1.jpg", "x.png", "1.png.png", "-1.png", "99999999999.png"):
        assert s.get(doc_url(ids["two.pdf"], "/pages/" + page)).status == 404, page
    assert s.get(doc_url(ids["plain.txt"], "/pages/1.png")).status == 404
    original = s.get(doc_url(ids["two.pdf"], "/original"))
    assert original.headers["Content-Type"] == "application/pdf" and original.body == pdf(["The cormorant plan", "is on the second page."])
    with open(folder + "/two.pdf", "ab") as f:
        f.write(b"%")
    assert s.get(doc_url(ids["two.pdf"], "/pages/1.png")).status == 409
