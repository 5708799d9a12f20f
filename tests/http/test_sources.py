"""Folders named over HTTP: sources, their jobs, who may name what."""
import json, os, signal, tempfile, shutil
from harness import *
from test_access import bearer, key_of, refused

JOB = {"id", "kind", "state", "files_done", "files_total", "chunks", "bytes_done", "bytes_total", "summary", "problems", "error", "created", "finished"}
SOURCE = {"id", "path", "collection", "prune", "added", "last_job", "last_synced", "documents"}


def folder(s, name, **files):
    path = f"{s.top}/{name}"
    os.makedirs(path, exist_ok=True)
    for f, text in files.items():
        with open(f"{path}/{f}.txt", "wb") as out:
            out.write(text if isinstance(text, bytes) else text.encode())
    return path


def finished(s, id, seconds=600, **kw):
    end = time.time() + seconds
    while True:
        j = s.get("/v1/jobs/" + id, **kw).json
        assert set(j) >= JOB and j["kind"] == "ingest" and j["id"] == id, j
        if j["state"] not in ("queued", "running"):
            assert j["finished"], j
            return j
        assert j["finished"] is None and j["summary"] is None and j["error"] is None, j
        assert time.time() < end, j
        time.sleep(0.05)


@test(own=True)
def a_folder_is_named_synced_and_forgotten(s):
    path = folder(s, "in", tide="The tide table is printed in May.", kiln="The kiln is fired on Thursdays.", blank=" \n", blob=bytes(range(256)) * 9)
    assert s.get("/v1/sources").json == {"sources": []} and s.get("/v1/jobs").json == {"jobs": []}
    r = s.post("/v1/sources", {"path": path + "/../in/", "acl": ["sea"], "meta": {"dept": "coast"}, "prune": True})
    assert r.status == 202 and set(r.json["source"]) >= SOURCE, r.body
    src = r.json["source"]
    assert (src["path"], src["collection"], src["prune"], src["last_job"], src["last_synced"]) == (path, "default", True, r.json["job_id"], None), src
    j = finished(s, r.json["job_id"])
    assert j["state"] == "done" and j["error"] is None and j["summary"]["added"] == 2 and j["summary"]["skipped"] == 2 and j["summary"]["files"] == 4, j
    assert (j["files_done"], j["files_total"]) == (4, 4) and j["bytes_done"] == j["bytes_total"] > 0 and j["chunks"] == 2, j
    assert {(p["source"], p["verdict"]) for p in j["problems"]} == {(path + "/blank.txt", "skipped"), (path + "/blob.txt", "skipped")} and all(p["reason"] for p in j["problems"]), j
    docs = s.get("/v1/documents").json["documents"]
    assert len(docs) == 2 and all(d["acl"] == ["sea"] and d["meta"] == {"dept": "coast"} for d in docs), docs
    listed = s.get("/v1/sources").json["sources"]
    assert [x["id"] for x in listed] == [src["id"]] and listed[0]["documents"] == 2 and listed[0]["last_synced"] and listed[0]["added"] == src["added"], listed
    # again: the same source, another job; what is gone is pruned
    os.unlink(path + "/tide.txt")
    r = s.post("/v1/sources", {"path": path, "prune": True, "acl": "sea, port"})
    assert r.json["source"]["id"] == src["id"] and r.json["source"]["added"] == src["added"] and r.json["source"]["last_synced"], r.body
    j = finished(s, r.json["job_id"])
    assert j["summary"]["removed"] == 1 and j["summary"]["updated"] == 1, j
    assert [x["id"] for x in s.get("/v1/jobs").json["jobs"]] == [r.json["job_id"], listed[0]["last_job"]]
    refused(s.ask("DELETE", "/v1/jobs/" + r.json["job_id"]), 409)
    # pushed under a name like it: not the folder's
    s.push("Pushed under a path of the folder.", source=path + "/pushed.txt")
    assert s.get("/v1/sources").json["sources"][0]["documents"] == 1
    assert s.ask("DELETE", f"/v1/sources/{src['id']}?documents=true").json == {"id": src["id"], "deleted": True, "documents_deleted": 1, "documents_held": 0}
    assert [d["source"] for d in s.get("/v1/documents").json["documents"]] == [path + "/pushed.txt"]
    assert s.get("/v1/sources").json == {"sources": []}
    refused(s.ask("DELETE", "/v1/sources/" + src["id"]), 404)
    s.cli("check")


@test(own=True)
def erased_names_do_not_come_back_with_a_job(s):
    path = folder(s, "slow", **{f"z{i:03}": f"File number {i}. " + f"The pump of shed {i} is oiled in week {i % 50}. " * 150 for i in range(60)})
    for name in ("patient-x", "patient-xy"):
        with open(f"{path}/{name}.bin", "wb") as f:
            f.write(bytes(range(256)) * 9 + name.encode())
    s.cli("ingest", f"{path}/patient-x.bin", f"{path}/patient-xy.bin")
    alone = s.post("/v1/sources", {"path": f"{path}/patient-x.bin"}).json
    finished(s, alone["job_id"])
    job = s.post("/v1/sources", {"path": path, "acl": ["sea"]}).json["job_id"]
    end = time.time() + 120
    while len(s.get("/v1/jobs/" + job).json["problems"]) < 2:
        assert time.time() < end
        time.sleep(0.02)
    queued = s.post("/v1/sources", {"path": f"{path}/patient-xy.bin"}).json
    assert queued["job_id"] in s.cli("erase", "--source", f"{path}/patient-xy.bin", ok=(5,)).stderr
    receipt = json.loads(s.cli("--json", "erase", "--source", f"{path}/patient-x.bin").stdout)
    assert receipt["verified"] is True and receipt["notes_removed"] == 2, receipt
    j = s.get("/v1/jobs/" + job).json
    assert j["state"] == "running" and [p["source"] for p in j["problems"]] == [path + "/patient-xy.bin"], j
    j = finished(s, job)
    assert [p["source"] for p in j["problems"]] == [path + "/patient-xy.bin"], j
    finished(s, queued["job_id"])
    refused(s.get("/v1/jobs/" + alone["job_id"]), 404)
    assert {x["path"] for x in s.get("/v1/sources").json["sources"]} == {path, path + "/patient-xy.bin"}
    s.cli("check")


@test(own=True)
def several_folders_and_mistakes(s):
    a, b = folder(s, "a", x="First folder, first file."), folder(s, "b", y="Second folder, a file.")
    r = s.post("/v1/sources", {"paths": [a, b + "/y.txt"], "collection": "two"}).json
    assert [x["path"] for x in r["sources"]] == [a, b + "/y.txt"] and r["source"] == r["sources"][0]
    assert finished(s, r["job_id"])["summary"]["added"] == 2
    assert {x["path"]: x["documents"] for x in s.get("/v1/sources").json["sources"]} == {a: 1, b + "/y.txt": 1}
    id = r["source"]["id"]
    assert s.ask("DELETE", "/v1/sources/" + id).json["documents_deleted"] == 0 and len(s.get("/v1/documents?collection=two").json["documents"]) == 2
    for body, status, param in (({}, 400, "path"), ({"path": "rel/ative"}, 400, "path"), ({"path": 7}, 400, "path"), ({"path": a, "paths": [b]}, 400, "path"), ({"paths": []}, 400, "path"),
                                ({"paths": [a, a + "/"]}, 400, "path"), ({"path": s.top + "/none"}, 404, "path"), ({"path": a, "acl": 7}, 400, "acl"), ({"path": a, "acl": ["*"]}, 400, "acl"),
                                ({"path": a, "meta": []}, 400, "meta"), ({"path": a, "prune": "yes"}, 400, "prune"), ({"path": a, "collection": "a b"}, 400, "collection"), ({"path": ""}, 400, "path")):
        assert refused(s.post("/v1/sources", body), status).error["param"] == param, body
    for method, path in (("GET", "/v1/jobs/none"), ("DELETE", "/v1/jobs/none"), ("DELETE", "/v1/sources/none")):
        refused(s.ask(method, path), 404, "not_found")
    refused(s.ask("DELETE", "/v1/sources/x?documents=maybe"), 400)


@test(own=True, sources__jobs_kept="3")
def jobs_outlive_their_client_and_the_service(s):
    path = folder(s, "many", **{f"f{i}": f"File {i} speaks of subject {i * 7919 % 1000} and of nothing else. " * 40 for i in range(300)})
    c = s.connect()
    body = json.dumps({"path": path})
    c.request("POST", "/v1/sources", body, {"Content-Type": "application/json"})
    id = json.loads(c.getresponse().read())["job_id"]
    c.close()
    second = s.post("/v1/sources", {"path": path, "collection": "second"}).json
    refused(s.ask("DELETE", "/v1/sources/" + second["source"]["id"]), 409)
    assert s.ask("DELETE", "/v1/jobs/" + second["job_id"]).json["state"] in ("cancelled", "running")
    third = s.post("/v1/sources", {"path": path, "collection": "third"}).json
    end = time.time() + 60
    while s.get("/v1/jobs/" + id).json["files_done"] == 0:
        assert time.time() < end
        time.sleep(0.01)
    s.stop()
    with Service({"sources.jobs_kept": "3"}, data=s.data) as again:
        states = {j["id"]: j for j in again.get("/v1/jobs").json["jobs"]}
        for job in (id, third["job_id"]):
            assert states[job]["state"] == "failed" and states[job]["error"]["code"] == "interrupted" and states[job]["finished"], states[job]
        for i in range(4):
            last = again.post("/v1/sources", {"path": folder(s, "small", a="One small file."), "collection": "small"}).json
            finished(again, last["job_id"])
        assert len(again.get("/v1/jobs").json["jobs"]) == 3
        # a job that runs is cancelled
        r = again.post("/v1/sources", {"path": path, "collection": "cut"}).json
        while again.get("/v1/jobs/" + r["job_id"]).json["state"] == "queued":
            time.sleep(0.01)
        again.ask("DELETE", "/v1/jobs/" + r["job_id"])
        assert finished(again, r["job_id"])["state"] in ("cancelled", "done")
        # a kill in the middle
        r = again.post("/v1/sources", {"path": path, "collection": "killed"}).json
        again.proc.kill()
        again.proc.wait()
    with Service(data=s.data) as third_life:
        j = third_life.get("/v1/jobs/" + r["job_id"]).json
        assert j["state"] == "failed" and j["error"]["code"] == "interrupted", j
        third_life.cli("check")


@test
def who_may_name_what(s):
    with Service() as top:
        free, hr = folder(top, "free", a="For whoever is there."), folder(top, "free/hr", b="Pay of people.")
        out = folder(top, "out", c="Outside of what may be named.")
        os.symlink(out, top.top + "/free/link")
        conf = {"sources.roots": top.top + "/free", "acl.rules": f"{hr}: hr"}
        with Service(conf) as t:
            root, desk = bearer(key_of(t, "root", "--role", "admin", "--groups", "*")), bearer(key_of(t, "desk", "--role", "write", "--groups", "staff"))
            people, reader = bearer(key_of(t, "people", "--role", "write", "--groups", "hr,staff")), bearer(key_of(t, "reader", "--groups", "*"))
            for path, key, status in ((out, root, 403), (top.top + "/free/link", root, 403), (top.top + "/freedom", root, 403), (top.top + "/free/none", root, 404), ("/etc/passwd", desk, 403),
                                      (free + "/../out", root, 403), (free, desk, 403), (hr, desk, 403), (free, reader, 403)):
                refused(t.post("/v1/sources", {"path": path}, **key), status)
            assert refused(t.post("/v1/sources", {"path": hr, "acl": ["staff"]}, **desk), 403).error["param"] == "path"
            assert refused(t.post("/v1/sources", {"path": free + "/a.txt", "acl": ["hr"]}, **desk), 403).error["param"] == "acl"
            mine = t.post("/v1/sources", {"path": free + "/a.txt", "acl": ["staff"]}, **desk)
            assert mine.status == 202, mine.body
            theirs = t.post("/v1/sources", {"path": free}, **people).json
            assert finished(t, mine.json["job_id"], **desk)["state"] == "done" and finished(t, theirs["job_id"], **people)["state"] == "done"
            # a link in the folder leads nowhere either
            link = [p for p in t.get("/v1/jobs/" + theirs["job_id"], **people).json["problems"]]
            assert [(p["source"], p["verdict"], p["reason"]) for p in link] == [(free + "/link", "skipped", "link leads out of sources.roots")], link
            assert not [d for d in t.get("/v1/documents", **root).json["documents"] if "Outside" in t.get(f"/v1/documents/{d['id']}/text", **root).text]
            # only who sees all of it knows of it
            assert {x["path"] for x in t.get("/v1/sources", **desk).json["sources"]} == {free + "/a.txt"}
            assert {x["path"] for x in t.get("/v1/sources", **people).json["sources"]} == {free + "/a.txt", free}
            assert [j["id"] for j in t.get("/v1/jobs", **desk).json["jobs"]] == [mine.json["job_id"]]
            for method, path in (("GET", "/v1/jobs/"), ("DELETE", "/v1/jobs/")):
                refused(t.ask(method, path + theirs["job_id"], **desk), 404)
            refused(t.ask("DELETE", "/v1/sources/" + theirs["source"]["id"], **desk), 404)
            acls = {d["source"]: d["acl"] for d in t.get("/v1/documents", **root).json["documents"]}
            assert acls[hr + "/b.txt"] == ["hr"] and acls[free + "/a.txt"] == ["staff"], acls
            for path, body in (("/v1/sources", None), ("/v1/jobs", None)):
                refused(t.get(path, **reader), 403)
                refused(t.get(path), 401)
        with Service() as t:                             # no roots
            root, half = bearer(key_of(t, "root", "--role", "admin", "--groups", "*")), bearer(key_of(t, "half", "--role", "admin", "--groups", "staff"))
            refused(t.post("/v1/sources", {"path": free}, **half), 403)
            assert t.post("/v1/sources", {"path": free}, **root).status == 202


FOUND = ("files_done", "files_total", "chunks", "bytes_done", "bytes_total", "summary", "problems_left_out")


@test(own=True)
def jobs_tell_what_their_maker_sees(s):
    """A job on a folder that all may know of still counts and names files that only some may."""
    top = tempfile.mkdtemp(dir=s.top)
    s.stop()
    with Service({"sources.roots": top}, data=s.data) as t:
        path = top + "/docs"
        os.makedirs(path)
        for name, text in (("open", b"For whoever is there."), ("layoffs-in-may", bytes(range(256)) * 9), ("pay", b"Pay of people.")):
            with open(f"{path}/{name}.txt", "wb") as f:
                f.write(text)
        for name in ("layoffs-in-may", "pay"):
            t.cli("ingest", f"{path}/{name}.txt", "--acl", "hr")
        root, w = bearer(key_of(t, "root", "--role", "admin", "--groups", "*")), bearer(key_of(t, "w", "--role", "write", "--groups", "w"))
        people, none = bearer(key_of(t, "people", "--role", "write", "--groups", "hr,w")), bearer(key_of(t, "none", "--role", "write"))
        id = t.post("/v1/sources", {"path": path}, **root).json["job_id"]
        done = finished(t, id, **root)
        assert done["files_total"] == 3 and [p["source"] for p in done["problems"]] == [path + "/layoffs-in-may.txt"] and "maker" not in done, done
        mine = t.post("/v1/sources", {"path": path}, **people).json["job_id"]
        assert finished(t, mine, **people)["files_total"] == 3
        for key, jobs in ((w, (id, mine)), (none, (id, mine)), (people, (id,))):
            for j in jobs:
                r = t.get("/v1/jobs/" + j, **key)
                assert b"layoffs" not in r.body and b"maker" not in r.body and all(r.json[f] is None for f in FOUND) and r.json["problems"] == [] and r.json["state"] == "done", r.body
            r = t.get("/v1/jobs", **key)
            assert b"maker" not in r.body and (key is people or b"layoffs" not in r.body), r.body
        assert t.get("/v1/jobs/" + mine, **people).json["problems"] and t.get("/v1/jobs/" + mine, **root).json["files_total"] == 3
        theirs = t.post("/v1/sources", {"path": path + "/open.txt"}, **none).json["job_id"]
        finished(t, theirs, **none)
        assert t.get("/v1/jobs/" + theirs, **w).json["files_total"] == 1        # w sees all that the maker sees


@test(own=True)
def jobs_are_stopped_by_their_maker_or_an_admin(s):
    top = folder(s, "big", **{f"f{i}": f"File {i} speaks of subject {i * 7919 % 1000} and of nothing else. " * 40 for i in range(200)})
    s.stop()
    with Service({"sources.roots": top}, data=s.data) as t:
        root, half = bearer(key_of(t, "root", "--role", "admin", "--groups", "*")), bearer(key_of(t, "half", "--role", "admin"))
        w, other = bearer(key_of(t, "w", "--role", "write")), bearer(key_of(t, "other", "--role", "write"))
        first = t.post("/v1/sources", {"path": top}, **root).json
        second = t.post("/v1/sources", {"path": top, "collection": "second"}, **w).json
        for id in (first["job_id"], second["job_id"]):
            r = refused(t.ask("DELETE", "/v1/jobs/" + id, **other), 403, "denied")
        refused(t.ask("DELETE", "/v1/jobs/" + first["job_id"], **w), 403)
        refused(t.ask("DELETE", "/v1/sources/" + first["source"]["id"], **w), 409)
        r = t.ask("DELETE", "/v1/jobs/" + second["job_id"], **w)
        assert r.status == 200 and r.json["state"] in ("cancelled", "running") and "maker" not in r.json, r.body
        assert t.ask("DELETE", "/v1/jobs/" + first["job_id"], **half).status == 200
        assert finished(t, first["job_id"], **root)["state"] == finished(t, second["job_id"], **w)["state"] == "cancelled"
        # forgetting with documents: those one may delete, and no word of the others
        t.cli("delete", "--source", top + "/f0.txt", ok=(0, 3))
        t.cli("ingest", top + "/f1.txt", "--acl", "hr")
        t.cli("ingest", top + "/f2.txt")
        r = t.ask("DELETE", f"/v1/sources/{first['source']['id']}?documents=true", **w)
        assert r.status == 200 and r.json["documents_deleted"] >= 1, r.body
        assert [d["source"] for d in t.get("/v1/documents", **root).json["documents"]] == [top + "/f1.txt"]
