"""What people do with the page of a service that has access keys."""
import json
import harness
from playwright.sync_api import expect
from flows import WAIT, flow


@flow()
def a_key_is_asked_for_once(p):
    p.allow("status of 401")
    seen = []

    def guard(r):
        key = r.request.headers.get("authorization")
        seen.append(key)
        if key == "Bearer fk-good":
            r.continue_()
        else:
            r.fulfill(status=401, content_type="application/json",
                      body='{"error":{"type":"permission_error","code":"denied","message":"an access key is needed","param":null}}')
    p.page.route("**/v1/**", guard)
    p.open("#q=leave")
    p.see("#key-dialog", "An access key is needed")
    p.shot("key")
    p.page.keyboard.type("fk-wrong")
    p.press("Enter")
    p.see("#key-dialog")
    p.page.fill("#key", "fk-good")
    p.press("Enter")
    p.see(".hit mark")
    p.gone("#key-dialog")
    p.page.reload()
    p.see(".hit mark")
    assert seen[-1] == "Bearer fk-good" and p.page.evaluate("localStorage.length") == 0
    assert "fk-good" not in p.page.url


@flow(schemes=("light", "dark"))
def a_key_is_asked_for_at_once(p):
    p.allow("status of 401")
    other = harness.Service()
    try:
        other.push("The staff jetty opens at dawn.", title="Staff jetty", acl=["staff"])
        other.push("The public jetty opens at nine.", title="Public jetty")
        key = json.loads(other.cli("keys", "add", "boss", "--role", "admin", "--groups", "*", "--json").stdout)["key"]
        p.page.goto(f"http://127.0.0.1:{other.port}/")
        p.see("#key-why", "An access key is needed")                     # before anything was searched for
        p.shot("key-at-once")
        p.press("Escape")
        p.gone("#key-dialog")
        p.shot("key-none")
        p.page.click("nav a[data-view=documents]")
        p.see("#key-dialog")
        p.press("Escape")
        p.page.click("#key-enter")
        p.page.fill("#key", "fn_" + "0" * 64)
        p.press("Enter")
        p.see("#key-why.bad", "not known here, or it has expired")
        p.page.fill("#key", key)
        p.press("Enter")
        expect(p.all("#state")).to_contain_text("2 documents", timeout=WAIT)
        expect(p.all(".doc")).to_have_count(2, timeout=WAIT)             # what was refused is there now
        p.gone("#key-dialog")
        p.gone("#key-needed")
        p.page.reload()
        expect(p.all("#state")).to_contain_text("2 documents", timeout=WAIT)
        assert p.page.text_content("#lost") == "", p.page.text_content("#lost")
        p.no_overflow()
        p.shot("key-known")
        p.page.goto(p.base)
        p.requests[:] = [r for r in p.requests if f":{other.port}/" not in r.url]
    finally:
        other.close()


@flow("desktop")
def a_key_sees_what_it_may(p):
    p.allow("status of 40[13]")
    other = harness.Service()
    try:
        other.push("The staff jetty opens at dawn.", title="Staff jetty", acl=["staff"])
        other.push("The public jetty opens at nine.", title="Public jetty")
        keys = {g: json.loads(other.cli("keys", "add", g, "--json", *(["--groups", g] if g == "staff" else [])).stdout)["key"] for g in ("staff", "guest")}
        for who, shown in (("staff", 2), ("guest", 1)):
            p.page.goto(f"http://127.0.0.1:{other.port}/#q=jetty")
            p.see("#key-dialog")
            p.page.fill("#key", keys[who])
            p.press("Enter")
            p.see(".hit mark")
            expect(p.all(".hit")).to_have_count(shown, timeout=WAIT)
            p.page.click("nav a[data-view=documents]")
            p.see(".doc")
            p.gone("#folders-box")                                       # a key that only reads names no folders
            p.page.set_input_files("#files", [{"name": "no.txt", "mimeType": "text/plain", "buffer": b"Not for readers."}])
            p.see("#uploads .verdict.failed")
            p.page.click("#key-forget")
            p.see("#key-dialog")
            p.press("Escape")
        p.page.goto(p.base)
        p.requests[:] = [r for r in p.requests if f":{other.port}/" not in r.url]
    finally:
        other.close()


@flow(schemes=("light", "dark"))
def an_upload_is_given_groups(p):
    p.allow("status of 401")
    p.allow("/www/icon.svg")                                             # of the origin just left
    other = harness.Service({"acl.default": "staff"})
    try:
        keys = {n: json.loads(other.cli("keys", "add", n, "--role", r, "--groups", g, "--json").stdout)["key"]
                for n, r, g in (("writer", "write", "staff,board"), ("boss", "admin", "*"))}
        p.page.goto(f"http://127.0.0.1:{other.port}/#documents")
        for who in keys:
            file = lambda name: p.page.set_input_files("#files", [{"name": f"{who}-{name}.txt", "mimeType": "text/plain", "buffer": f"The {who} {name} heron.".encode()}])
            p.see("#key-dialog")
            p.page.fill("#key", keys[who])
            p.press("Enter")
            p.see("#upload-groups", "Who sees it")
            file("as-set")
            p.see("#uploads .upload:nth-child(1) .verdict.added")
            p.page.check("#upload-groups input[value=board]") if who == "writer" else p.page.fill("#upload-groups input", "board, hr")
            file("chosen")
            p.see("#uploads .upload:nth-child(2) .verdict.added")
            chosen = ["board"] if who == "writer" else ["board", "hr"]
            kept = {d["source"]: d["acl"] for d in other.get("/v1/documents", headers={"Authorization": "Bearer " + keys["boss"]}).json["documents"]}
            assert kept[who + "-as-set.txt"] == ["staff"] and sorted(kept[who + "-chosen.txt"]) == chosen, kept
            expect(p.all(".doc", has_text=who + "-chosen")).to_contain_text("seen by " + ", ".join(chosen), timeout=WAIT)
            p.no_overflow()
            p.shot("groups-" + who)
            p.page.click("#key-forget")
            p.gone("#upload-groups")
        p.page.goto(p.base)
        p.requests[:] = [r for r in p.requests if f":{other.port}/" not in r.url]
    finally:
        other.close()
