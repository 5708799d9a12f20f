"""Access: keys, roles, groups; what a reader may not see is nowhere to be found."""
import http.client, json, os, urllib.parse
from harness import *

TEXTS = {"open": ("The canteen opens at eight in the morning.", []),
         "staff": ("The canteen budget of the staff is nine thousand euros.", ["staff"]),
         "hr": ("The canteen manager earns four thousand euros a month.", ["hr"]),
         "both": ("The canteen contract of staff and people ends in June.", ["staff", "hr"]),
         "board": ("The canteen will be sold to Northwind in autumn.", ["board"])}
SEES = {"none": {"open"}, "staff": {"open", "staff", "both"}, "hr": {"open", "hr", "both"}, "staff,hr": {"open", "staff", "hr", "both"}, "*": set(TEXTS)}


def bearer(key):
    return {"headers": {"Authorization": "Bearer " + key}}


def key_of(s, name, *args):
    out = s.cli("keys", "add", name, *args, "--json").stdout
    return json.loads(out)["key"]


def fill(s):
    for name, (text, acl) in TEXTS.items():
        s.push(text, id=name, title=name, acl=acl)


def refused(r, status, code=None):
    assert r.status == status, (r.status, r.body)
    assert code is None or r.error["code"] == code, r.error
    return r


@test(own=True)
def keyless_loopback_is_as_it_was(s):
    fill(s)
    assert len(s.get("/v1/documents").json["documents"]) == len(TEXTS)
    assert s.get("/v1/documents", headers={"Authorization": "Bearer anything"}).status == 200
    assert s.get("/v1/keys").json == {"keys": []}
    # `as` is exactly those groups
    for groups, names in SEES.items():
        if groups != "*":
            groups = "" if groups == "none" else groups
            assert {d["id"] for d in s.get("/v1/documents?as=" + groups).json["documents"]} == names
            assert {h["document_id"] for h in s.post("/v1/search", {"query": "canteen", "as": groups}).json["hits"]} == names
    refused(s.get("/v1/documents", headers={"Host": "example.org"}), 403)
    refused(s.post("/v1/search", {"query": "x"}, headers={"Origin": "http://evil.example"}), 403)


@test(own=True)
def groups_see_their_documents_and_no_trace_of_others(s):
    fill(s)
    total = s.post("/v1/search", {"query": "canteen", "k": 50}).json["total"]
    assert total == len(TEXTS)
    keys = {g: key_of(s, "k" + str(i), *([] if g == "none" else ["--groups", g])) for i, g in enumerate(SEES)}
    for groups, names in SEES.items():
        with_key = bearer(keys[groups])
        listed = s.get("/v1/documents", **with_key).json["documents"]
        assert {d["id"] for d in listed} == names, (groups, listed)
        found = s.post("/v1/search", {"query": "canteen", "k": 50}, **with_key).json
        assert {h["document_id"] for h in found["hits"]} == names and found["total"] == len(names), (groups, found)
        page = s.post("/v1/search", {"query": "canteen", "k": 1}, **with_key).json
        assert (page["next_cursor"] is not None) == (len(names) > 1), page
        a = s.post("/v1/answers", {"question": "What about the canteen?", "style": "extractive"}, **with_key).json
        assert {p["document_id"] for p in a["passages"]} <= names and {c["document_id"] for c in a["citations"]} <= names, (groups, a)
        chat = s.post("/v1/chat/completions", {"model": "footnote", "messages": [{"role": "user", "content": "What about the canteen?"}]}, **with_key)
        assert chat.status == 200 and not any(text.split(".")[0] in chat.text for name, (text, _) in TEXTS.items() if name not in names), (groups, chat.text)
        for name in TEXTS:
            for tail in ("", "/text", "/original", "/pages/1.png"):
                r = s.get(f"/v1/documents/{name}{tail}", **with_key)
                other = s.get(f"/v1/documents/no-such{tail}", **with_key)
                if name not in names:
                    assert r.status == 404 and r.body.replace(name.encode(), b"no-such") == other.body, (groups, name, r.body)
                elif tail in ("", "/text"):
                    assert r.status == 200, (groups, name, r.body)
        for verdict in ("added", "updated", "duplicate", "skipped", "failed", "partial"):
            assert {d["id"] for d in s.get("/v1/documents?verdict=" + verdict, **with_key).json["documents"]} <= names
        ready = s.get("/readyz", **with_key).json
        assert ("documents" in ready) == (groups == "*"), ready
        assert ready["caller"] == {"role": "read", "groups": "*" if groups == "*" else [] if groups == "none" else groups.split(",")}, ready
    for headers in ({}, {"Authorization": "Bearer fn_" + "0" * 64}):
        ready = s.get("/readyz", headers=headers).json
        assert "documents" not in ready and ready["status"] == "ready" and ready["caller"] is None, ready


@test(own=True)
def as_never_widens(s):
    fill(s)
    key = key_of(s, "reader", "--groups", "staff,hr")
    for asked, names in (("staff", SEES["staff"]), (["hr"], SEES["hr"]), ("board", {"open"}), ("*", {"open"}), (["*"], {"open"}), ("staff,board,*", SEES["staff"]), ([], {"open"}),
                         ("", {"open"}), (None, SEES["staff,hr"])):
        found = s.post("/v1/search", {"query": "canteen", "as": asked}, **bearer(key)).json
        assert {h["document_id"] for h in found["hits"]} == names and found["total"] == len(names), (asked, found)
        if isinstance(asked, str):
            assert {d["id"] for d in s.get("/v1/documents?as=" + asked, **bearer(key)).json["documents"]} == names, asked
    # the body's as does not undo the query's role, nor the other way round
    found = s.post("/v1/search?as=board", {"query": "canteen", "as": ["board"]}, **bearer(key)).json
    assert {h["document_id"] for h in found["hits"]} == {"open"}
    refused(s.get("/v1/documents/board?as=board", **bearer(key)), 404)
    refused(s.get("/v1/documents/hr?as=staff", **bearer(key)), 404)
    for bad in (7, {"a": 1}, [1], "a,,b", True):
        assert s.post("/v1/search", {"query": "x", "as": bad}, **bearer(key)).error["param"] == "as"
    a = s.post("/v1/answers", {"question": "What does the canteen manager earn?", "style": "extractive", "as": "staff"}, **bearer(key)).json
    assert "hr" not in {p["document_id"] for p in a["passages"]}, a


ENDPOINTS = [("GET", "/v1/documents", None, "read"), ("GET", "/v1/documents/x", None, "read"), ("GET", "/v1/documents/x/text", None, "read"),
             ("GET", "/v1/documents/x/original", None, "read"), ("POST", "/v1/search", {"query": "canteen"}, "read"),
             ("POST", "/v1/answers", {"question": "What?", "style": "extractive"}, "read"), ("POST", "/v1/documents", {"text": "A text that is new."}, "write"),
             ("DELETE", "/v1/documents/none", None, "write"), ("GET", "/v1/keys", None, "admin"), ("POST", "/v1/keys", {"name": "", "role": "admin"}, "admin"),
             ("GET", "/v1/models", None, "read"), ("POST", "/v1/embeddings", {"input": "x", "model": "all-minilm-l6-v2"}, "read"),
             ("POST", "/v1/rerank", {"query": "x", "documents": ["y"]}, "read"),
             ("POST", "/v1/chat/completions", {"model": "footnote", "messages": [{"role": "user", "content": "What?"}]}, "read"), ("GET", "/v1/documents/x/pages/1.png", None, "read"),
             ("GET", "/v1/answers/x", None, "read"), ("POST", "/v1/answers/x/replay", {}, "read"),
             ("POST", "/v1/feedback", {"answer_id": "x", "rating": 1}, "read"), ("GET", "/v1/usage", None, "admin"),
             ("GET", "/v1/sources", None, "write"), ("DELETE", "/v1/sources/x", None, "write"), ("GET", "/v1/jobs", None, "write"), ("GET", "/v1/jobs/x", None, "write"),
             ("DELETE", "/v1/jobs/x", None, "write"), ("POST", "/v1/backup", {}, "admin"),
             ("DELETE", "/v1/keys/none", None, "admin"), ("GET", "/metrics", None, "admin")]


@test(own=True)
def roles_and_endpoints(s):
    ranks = ["read", "write", "admin"]
    keys = {r: key_of(s, r, "--role", r) for r in ranks}
    for method, path, body, least in ENDPOINTS:
        r = refused(s.ask(method, path, body), 401, "unauthorized")
        assert r.headers["WWW-Authenticate"] == 'Bearer realm="footnote"', r.headers
        r = refused(s.ask(method, path, body, **bearer("fn_" + "0" * 64)), 401, "unauthorized")
        assert 'error="invalid_token"' in r.headers["WWW-Authenticate"]
        for role in ranks:
            r = s.ask(method, path, body, **bearer(keys[role]))
            if ranks.index(role) < ranks.index(least):
                refused(r, 403, "denied")
            else:
                assert r.status not in (401, 403), (method, path, role, r.status, r.body)
    for path in ("/", "/healthz", "/readyz", "/www/footnote.js"):
        for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "Bearer " + keys["read"]}):
            assert s.get(path, headers=headers).status == 200, path
    assert s.get("/v1/no-such").status == 404


@test(own=True)
def changes_hold_at_once(s):
    assert s.get("/v1/documents").status == 200
    admin = s.post("/v1/keys", {"name": "root", "role": "admin", "groups": "*"}).json
    assert admin["key"].startswith("fn_") and len(admin["key"]) == 67 and admin["groups"] == "*" and admin["expires"] is None, admin
    refused(s.get("/v1/documents"), 401)
    me = bearer(admin["key"])
    made = s.post("/v1/keys", {"name": "desk", "groups": ["hr", "staff"], "expires": "2999-01-01"}, **me)
    assert made.status == 201 and made.json["role"] == "read" and made.json["expires"] == "2999-01-02T00:00:00.000Z", made.body
    listed = s.get("/v1/keys", **me)
    assert [k["name"] for k in listed.json["keys"]] == ["root", "desk"] and b"fn_" not in listed.body and b"sha256" not in listed.body
    assert listed.json["keys"][0]["last_used"] and listed.json["keys"][1]["last_used"] is None, listed.body
    desk = bearer(made.json["key"])
    assert s.get("/v1/documents", **desk).status == 200
    kept = s.connect()                                                  # a connection that stays open
    assert s.get("/v1/documents", conn=kept, **desk).status == 200
    assert s.ask("DELETE", "/v1/keys/" + made.json["id"], **me).json == {"id": made.json["id"], "name": "desk", "revoked": True}
    refused(s.get("/v1/documents", conn=kept, **desk), 401)
    refused(s.ask("DELETE", "/v1/keys/desk", **me), 404)
    soon = s.post("/v1/keys", {"name": "soon", "expires": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 3))}, **me).json
    assert s.get("/v1/documents", **bearer(soon["key"])).status == 200
    time.sleep(4)
    r = refused(s.get("/v1/documents", **bearer(soon["key"])), 401)
    assert "expired" in r.error["message"]
    for body, param in (({}, "name"), ({"name": 1}, "name"), ({"name": "a b"}, None), ({"name": "x", "role": "king"}, "role"), ({"name": "x", "groups": "a,,b"}, "groups"),
                        ({"name": "x", "groups": ["a,b"]}, None), ({"name": "x", "groups": ["a", "*"]}, None), ({"name": "x", "expires": "soon"}, "expires"),
                        ({"name": "x", "expires": "2001-01-01"}, None), ({"name": "x" * 65}, None), ({"name": "x", "expires": "2999-02-30"}, "expires")):
        assert refused(s.post("/v1/keys", body, **me), 400).error["param"] == param or param is None, body
    refused(s.post("/v1/keys", {"name": "root"}, **me), 409)
    # the command line speaks for the owner; expired keys still count
    s.cli("keys", "revoke", "root")
    refused(s.get("/v1/documents", **me), 401)
    s.cli("keys", "revoke", "soon")
    assert s.get("/v1/documents").status == 200
    s.cli("keys", "revoke", "soon", ok=(3,))


@test(own=True)
def an_admin_of_some_groups_gives_no_others(s):
    root, half = bearer(key_of(s, "root", "--role", "admin", "--groups", "*")), bearer(key_of(s, "half", "--role", "admin", "--groups", "w,x"))
    for groups in ("*", ["hr"], "w,hr", ["*"]):
        assert refused(s.post("/v1/keys", {"name": "wide", "role": "admin", "groups": groups}, **half), 403, "denied").error["param"] == "groups"
    assert s.post("/v1/keys", {"name": "narrow", "groups": ["w"]}, **half).status == 201 and s.post("/v1/keys", {"name": "none"}, **half).status == 201
    file = s.top + "/all.backup"
    refused(s.post("/v1/backup", {"file": file}, **half), 403, "denied")
    assert not os.path.exists(file) and s.post("/v1/backup", {"file": file}, **root).status == 201
    refused(s.ask("DELETE", "/v1/keys/root", **half), 403, "denied")
    for name in ("narrow", "none"):
        assert s.ask("DELETE", "/v1/keys/" + name, **half).status == 200
    assert s.ask("DELETE", "/v1/keys/root", **root).status == 200
    refused(s.ask("DELETE", "/v1/keys/half", **half), 403, "denied")     # without keys it would see everything
    s.cli("keys", "revoke", "half")


@test
def hostile_authorization(s):
    with Service() as t:
        key = key_of(t, "good")

        def send(*headers):
            c = t.socket()
            c.sendall(b"GET /v1/documents HTTP/1.1\r\nHost: 127.0.0.1\r\n" + b"".join(h + b"\r\n" for h in headers) + b"\r\n")
            f = c.makefile("rb")
            r = read_reply(f)
            c.close()
            return r[0] if r else 0
        good = b"Authorization: Bearer " + key.encode()
        assert send(good) == 200 and send(good.replace(b"Bearer", b"bearer")) == 200 and send(good + b"  ") == 200 and send(b"aUTHORIZATION" + good[13:]) == 200
        assert send(good, good) == 401 and send(good, b"Authorization: Bearer x") == 401 and send(b"Authorization: Bearer x", good) == 401
        for bad in (b"Authorization:", b"Authorization: ", b"Authorization: Bearer", b"Authorization: Bearer ", b"Authorization: " + key.encode(), b"Authorization: Basic " + key.encode(),
                    b"Authorization: Bearer \xff\xfe\x80", b"Authorization: Bearer " + key[:-1].encode(), b"Authorization: Bearer " + key.encode() + b"0", b"Authorization: Bearer " + key.encode() + b" x",
                    b"Authorization: Bearer " + key.upper().encode(), b"Authorization: Bearer " + b"A" * 20000, b"Authorization: Bearerx" + key.encode(), b"X-Authorization" + good[13:],
                    good + b"\t,", b"Authorization: Bearer fn_"):
            assert send(bad) == 401, bad[:60]
        for bad in (good[:-3] + b"\0" + good[-3:], b"Authorization: Bearer \0" + key.encode(), b"Authorization: Bearer " + b"A" * 200000):
            assert send(bad) in (0, 400, 401, 413, 431), bad[:60]
        assert send(good + b"\0x") in (0, 200, 400, 401)      # who sends this has the key
        assert send(good) == 200


@test
def beyond_loopback(s):
    try:
        with Service(listen="0.0.0.0:0"):
            raise RuntimeError("it listens without keys")
    except AssertionError as e:
        assert "no access keys" in str(e), e
    with Service(before=[["keys", "add", "root", "--role", "admin", "--groups", "*", "--json"]], listen="0.0.0.0:0") as t:
        me = bearer(json.loads(t.said[0])["key"])
        refused(t.get("/v1/documents"), 401)
        assert t.get("/v1/documents", **me).status == 200
        assert t.get("/v1/documents", headers={"Host": "footnote.example", **me["headers"]}).status == 200
        assert t.post("/v1/search", {"query": "x"}, headers={"Origin": "https://footnote.example", **me["headers"]}).status == 200
        t.cli("keys", "revoke", "root")
        for path in ("/v1/documents", "/v1/keys", "/metrics"):
            refused(t.get(path, **me), 503)
            refused(t.get(path), 503)
        assert t.get("/healthz").status == 200 and t.get("/readyz").status == 200
        again = key_of(t, "again")
        assert t.get("/v1/documents", **bearer(again)).status == 200


@test(own=True, acl__default="staff")
def pushing_within_ones_groups(s):
    admin, staff = bearer(key_of(s, "root", "--role", "admin", "--groups", "*")), bearer(key_of(s, "staff", "--role", "write", "--groups", "staff"))
    hr, none = bearer(key_of(s, "hr", "--role", "write", "--groups", "hr")), bearer(key_of(s, "none", "--role", "write"))
    secret = "The merger with Northwind is signed on Friday."
    r = s.post("/v1/documents", {"id": "plan", "source": "plan.txt", "text": secret, "acl": ["hr"]}, **hr)
    assert r.status == 201 and r.json["document"]["acl"] == ["hr"], r.body
    for acl in (["board"], ["hr", "board"], ["staff"], ["hr", "staff"]):
        assert refused(s.post("/v1/documents", {"text": "Not for me to give.", "acl": acl}, **hr), 403).error["param"] == "acl"
        body, kind = multipart([("acl", None, ",".join(acl).encode()), ("file", "a.txt", b"Not for me to give.")])
        refused(s.post("/v1/documents", body, headers={"Content-Type": kind, **hr["headers"]}), 403)
    refused(s.post("/v1/documents", {"text": "x y z", "acl": ["*"]}, **admin), 400)
    # no groups given: acl.default, also where the key does not have them
    assert s.post("/v1/documents", {"id": "default", "text": "For the staff by default."}, **staff).json["document"]["acl"] == ["staff"]
    r = s.post("/v1/documents", {"text": "From someone of no group."}, **none)
    assert r.status == 201 and "document" not in r.json, r.body
    assert s.get("/v1/documents/" + r.json["document_id"], **admin).json["acl"] == ["staff"]
    assert s.post("/v1/documents", {"text": "Open to all.", "acl": []}, **none).json["document"]["acl"] == []
    # what is not seen is neither replaced, nor deleted, nor told of
    for body in ({"id": "plan", "text": secret}, {"id": "plan", "text": "Mine now."}, {"source": "plan.txt", "text": "Mine now."}, {"id": "plan", "collection": "other", "text": "x y"},
                 {"id": "my-own", "source": "plan.txt", "text": "Mine now."}):
        r = refused(s.post("/v1/documents", body, **staff), 409)
        assert r.error["message"] == "this id or source cannot be used", r.error
    body, kind = multipart([("file", "plan.txt", b"Mine now."), ("file", "other.txt", b"This one is kept.")])
    r = s.post("/v1/documents", body, headers={"Content-Type": kind, **staff["headers"]})
    assert [d["verdict"] for d in r.json["documents"]] == ["failed", "added"] and not r.json["documents"][0]["document_id"], r.body
    refused(s.ask("DELETE", "/v1/documents/plan", **staff), 404)
    assert s.get("/v1/documents/plan/text", **hr).text.strip() == secret
    # the same content is no duplicate of what is not seen, but of what is
    r = s.post("/v1/documents", {"text": secret, "acl": []}, **staff)
    assert r.json["verdict"] == "added", r.body
    r = s.post("/v1/documents", {"text": secret, "acl": ["hr"]}, **hr)
    assert r.json["verdict"] == "duplicate" and r.json["document_id"] == "plan", r.body
    assert s.ask("DELETE", "/v1/documents/plan", **hr).status == 200


@test(own=True, acl__default="hr")
def a_name_taken_first_opens_nothing(s):
    """Who pushes under the name of a file that others will bring does not read that file."""
    path = s.top + "/docs"
    os.makedirs(path, exist_ok=True)
    w, hr = bearer(key_of(s, "w", "--role", "write", "--groups", "w")), bearer(key_of(s, "hr", "--role", "write", "--groups", "hr"))
    planted = [s.post("/v1/documents", {"source": f"{path}/{name}.txt", "text": "Planted.", "acl": acl}, **w).json["document_id"] for name, acl in (("pay", ["w"]), ("open", []))]
    for name in ("pay", "open"):
        with open(f"{path}/{name}.txt", "w") as f:
            f.write(f"The confidential file {name} is here.\n")
    done = [json.loads(x) for x in s.cli("ingest", path, "--json", ok=(1,)).stdout.splitlines()]
    assert {x["source"][len(path) + 1:]: x["verdict"] for x in done[:-1]} == {"pay.txt": "failed", "open.txt": "updated"}, done
    assert s.get(f"/v1/documents/{planted[0]}/text", **w).text.strip() == "Planted."
    refused(s.get(f"/v1/documents/{planted[1]}/text", **w), 404)
    s.cli("ingest", path, "--acl", "hr")
    for id in planted:
        refused(s.get(f"/v1/documents/{id}/text", **w), 404)
        assert "confidential" in s.get(f"/v1/documents/{id}/text", **hr).text
    # uploads go by their names
    assert s.post("/v1/documents", {"source": "salaries.txt", "text": "Planted.", "acl": []}, **w).status == 201
    body, kind = multipart([("file", "salaries.txt", b"What everyone earns, name by name.")])
    r = s.post("/v1/documents", body, headers={"Content-Type": kind, **hr["headers"]}).json
    id = (r.get("document") or r["documents"][0])["id"] if "document" in r else r["documents"][0]["document_id"]
    refused(s.get(f"/v1/documents/{id}", **w), 404)
    assert s.get(f"/v1/documents/{id}", **hr).json["acl"] == ["hr"]


@test(own=True)
def a_duplicate_tells_only_of_what_is_seen(s):
    os.makedirs(s.top + "/in", exist_ok=True)
    for n in "ab":
        with open(f"{s.top}/in/{n}.txt", "w") as f:
            f.write("The same words in two files.\n")
    s.cli("ingest", s.top + "/in", "--acl", "staff")
    s.cli("ingest", s.top + "/in/a.txt", "--acl", "hr")
    staff, admin = bearer(key_of(s, "staff", "--groups", "staff")), bearer(key_of(s, "root", "--groups", "*"))
    for reader in (staff, admin):
        r = s.get("/v1/documents?verdict=duplicate", **reader)
        for d in r.json["documents"]:
            assert reader is admin or ("duplicate_of" not in d and "a.txt" not in d["reason"]), d
            d = s.get("/v1/documents/" + d["id"], **reader).json
            assert reader is admin or ("duplicate_of" not in d and "a.txt" not in d["reason"]), d
    assert s.get("/v1/documents?verdict=duplicate", **admin).json["documents"][0]["duplicate_of"]


@test
def groups_by_folder(s):
    with Service() as first:
        rules = f"{first.top}/in/hr: hr; {first.top}/in/hr/open:"
        with Service({"acl.default": "staff", "acl.rules": '"' + rules + '"'}) as t:
            for path in ("in/hr/open", "in/hrx"):
                os.makedirs(f"{first.top}/{path}", exist_ok=True)
            for name in ("in/a.txt", "in/hr/b.txt", "in/hr/open/c.txt", "in/hrx/d.txt"):
                with open(f"{first.top}/{name}", "w") as f:
                    f.write(f"Words of {name} in a file.\n")
            t.cli("ingest", first.top + "/in")
            got = {d["source"][len(first.top) + 1:]: d["acl"] for d in t.get("/v1/documents").json["documents"]}
            assert got == {"in/a.txt": ["staff"], "in/hr/b.txt": ["hr"], "in/hr/open/c.txt": [], "in/hrx/d.txt": ["staff"]}, got
            for groups, n in (("hr", 2), ("staff", 3), ("", 1)):
                assert len(t.cli("search", "words", "--as", groups, "--json", "-k", "50").stdout.splitlines()) == n, groups
    for bad in ("hr: x", "/a", "/a: b; /a: c", "/a: b,,c", "/a/: b; /a: c", "/a: *"):
        try:
            with Service({"acl.rules": '"' + bad + '"'}):
                raise RuntimeError(bad + " is taken")
        except AssertionError as e:
            assert "acl.rules" in str(e), e
