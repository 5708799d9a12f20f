"""Filters, facets and one hit a document: what is outside is nowhere, and what a reader may not see is not counted."""
import urllib.parse
from harness import *
from test_access import bearer, key_of

COLORS = ("red", "green", "blue")


def fill(s, collection):
    """Twelve documents, two of them of hr, one of many passages."""
    for i in range(12):
        s.push(f"Note {i} is about the harvest of apples and the weather. It is tale {i * 7}.", id=f"{collection}-{i}", collection=collection, title=f"Note {i}",
               source=f"/{collection}/{i}", acl=["hr"] if i in (3, 7) else [],
               meta={"n": i, "color": COLORS[i % 3], "even": i % 2 == 0, "tags": ["all", f"t{i % 4}"], "deep": {"level": str(i % 2)}})
    long = "\n\n".join(f"Chapter {i}. " + "The harvest of apples was good, and so was the weather. " * 12 for i in range(12))
    s.push(long, id=f"{collection}-long", collection=collection, title="Long", source=f"/{collection}/long", meta={"n": 100})


def found(s, **body):
    r = s.post("/v1/search", {"query": "harvest of apples", "k": 100, **body})
    assert r.status == 200, r.body
    return r.json


def numbers(r):
    return sorted({h["meta"]["n"] for h in r["hits"]})


@test
def filters_hold_in_every_mode(s):
    fill(s, "flt")
    for expr, want in (("meta.n >= 10 and meta.n < 50", [10, 11]), ('meta.color = "red"', [0, 3, 6, 9]), ("meta.even = true and meta.n > 4", [6, 8, 10]),
                       ('meta.color in ("red", "blue") and not meta.tags = "t0"', [2, 3, 5, 6, 9, 11]), ("not exists(meta.color)", [100]),
                       ('meta.deep.level = "1" and meta.n <= 5', [1, 3, 5]), ('source = "/flt/4" or meta.n = 9', [4, 9]), ('added >= "2020-01-01" and meta.n = 2', [2]),
                       ('added < "2020-01-01"', []), ('type = "nonesuch"', []), ("meta.n = 1 and meta.n = 2", []), ('meta.n = "1"', [])):
        for mode in ("hybrid", "dense", "lexical"):
            r = found(s, collection="flt", filter=expr, mode=mode)
            assert numbers(r) == want, (expr, mode, numbers(r))
            assert r["total"] == len(r["hits"]) and r["next_cursor"] is None, (expr, mode, r["total"], len(r["hits"]))
            few = found(s, collection="flt", filter=expr, mode=mode, k=1)
            assert few["total"] == r["total"] and [h["chunk_id"] for h in few["hits"]] == [h["chunk_id"] for h in r["hits"][:1]], (expr, mode)
        listed = s.get("/v1/documents?collection=flt&filter=" + urllib.parse.quote(expr)).json["documents"]
        assert sorted(d["meta"]["n"] for d in listed) == want, (expr, listed)


@test
def answers_stay_within_the_filter(s):
    for year, days in ((2024, 25), (2025, 27)):
        s.push(f"Employees of Alder receive {days} days of paid leave a year.", collection="flta", source=f"/leave/{year}", title=f"Leave {year}", meta={"year": year})
    ask = {"question": "How many days of paid leave do employees of Alder receive?", "collection": "flta", "style": "extractive"}
    for year, days in ((2024, "25"), (2025, "27")):
        a = s.post("/v1/answers", {**ask, "filter": f"meta.year = {year}"}).json
        assert a["status"] == "answered" and days in a["answer"] and {p["meta"]["year"] for p in a["passages"]} == {year}, a
    a = s.post("/v1/answers", {**ask, "filter": "meta.year = 1999"}).json
    assert a["status"] == "abstained" and a["passages"] == [] and a["citations"] == [], a


@test
def bad_filters_say_where(s):
    for expr, part in (("meta.n >", "character 9"), ('typ = "md"', "character 1"), ("meta.n = 1 and", "character 15"), ("x" * 10000, "the limit is 8192 (search.filter_bytes)"),
                       ("(" * 100, "deeper than 64")):
        for path, body in (("/v1/search", {"query": "x"}), ("/v1/answers", {"question": "x"})):
            r = s.post(path, {**body, "filter": expr})
            assert r.status == 400 and r.error["param"] == "filter" and part in r.error["message"], r.body
        r = s.get("/v1/documents?filter=" + urllib.parse.quote(expr[:2000]))
        assert r.status == 400 and r.error["param"] == "filter", r.body
    for body, param in (({"filter": 1}, "filter"), ({"facets": "type"}, "facets"), ({"facets": ["color"]}, "facets"), ({"facets": ["type) or exists(source"]}, "facets"),
                        ({"facets": ["type"] * 21}, "facets"), ({"facets": ["meta." + "x" * 2000]}, "facets"), ({"group": "source"}, "group"), ({"group": 1}, "group")):
        r = s.post("/v1/search", {"query": "x", **body})
        assert r.status == 400 and r.error["param"] == param, r.body


@test
def facets_count_documents(s):
    fill(s, "fac")
    keys = ["meta.color", "meta.tags", "meta.even", "meta.deep.level", "type", "meta.none", "added", "meta.n"]
    f = found(s, collection="fac", facets=keys, k=1)["facets"]
    assert list(f) == keys and f["meta.color"] == {"blue": 4, "green": 4, "red": 4} and f["meta.even"] == {"false": 6, "true": 6}, f
    assert f["meta.tags"] == {"all": 12, "t0": 3, "t1": 3, "t2": 3, "t3": 3} and f["meta.deep.level"] == {"0": 6, "1": 6} and f["meta.none"] == {}, f
    assert sum(f["type"].values()) == 13 and sum(f["added"].values()) == 13 and f["meta.n"]["100"] == 1 and len(f["meta.n"]) == 13, f
    f = found(s, collection="fac", facets=["meta.color", "meta.n"], filter='meta.n < 6 and meta.color != "red"', k=1)["facets"]
    assert f == {"meta.color": {"blue": 2, "green": 2}, "meta.n": {"1": 1, "2": 1, "4": 1, "5": 1}}, f
    assert found(s, collection="fac", facets=["type"], filter="meta.n = -1")["facets"] == {"type": {}}
    assert found(s, collection="no-such", facets=["type"])["facets"] == {"type": {}} and found(s, collection="fac")["facets"] == {}
    assert found(s, collection="fac", facets=["type", "type"])["facets"].keys() == {"type"}


@test
def facets_of_phrases_count_documents_that_hold_them(s):
    for i, t in enumerate(("The red lamp stands here.", "A lamp, red and bright.", "The red lamp hangs there.", "Nothing of it.")):
        s.push(t, collection="fph", source=f"/fph/{i}", meta={"n": i, "half": i // 2})
    r = found(s, collection="fph", query='"red lamp"', facets=["meta.n", "meta.half"])
    assert numbers(r) == [0, 2] and r["total"] == 2 and r["facets"] == {"meta.n": {"0": 1, "2": 1}, "meta.half": {"0": 1, "1": 1}}, r
    r = found(s, collection="fph", query='"red lamp"', facets=["meta.n"], filter="meta.half = 1")
    assert numbers(r) == [2] and r["facets"] == {"meta.n": {"2": 1}}, r
    assert found(s, collection="fph", query='"blue lamp"', facets=["meta.n"])["facets"] == {"meta.n": {}}


@test(search__facet_values="2")
def facets_tell_the_most_frequent(s):
    for i, c in enumerate("aaabbcd"):
        s.push(f"Text number {i} of many.", source=str(i), meta={"c": c})
    assert found(s, facets=["meta.c"])["facets"] == {"meta.c": {"a": 3, "b": 2}}


@test
def one_hit_a_document(s):
    fill(s, "grp")
    for mode in ("hybrid", "dense", "lexical"):
        flat = found(s, collection="grp", mode=mode)
        assert flat["total"] > 13 and len(flat["hits"]) == flat["total"], flat["total"]
        best = list(dict.fromkeys(h["document_id"] for h in flat["hits"]))
        r = found(s, collection="grp", mode=mode, group="document")
        assert [h["document_id"] for h in r["hits"]] == best and r["total"] == 13 and r["next_cursor"] is None, (mode, r["total"])
        assert all(h in flat["hits"] for h in r["hits"]), mode
        assert found(s, collection="grp", mode=mode, group="document", filter="meta.n > 9")["total"] == 3
        assert len(found(s, collection="grp", mode=mode, group="document", k=5)["hits"]) == 5


@test(search__fuse_depth="4")
def pages_of_filtered_groups_reach_everything_once(s):
    fill(s, "pag")
    for more in ({"group": "document"}, {"group": "document", "filter": "meta.n != 5"}, {"filter": "meta.n > 3"}, {"group": "document", "mode": "lexical", "filter": "meta.n > 3"}):
        whole = [h["chunk_id"] for h in found(s, collection="pag", **more)["hits"]]
        seen, cursor = [], None
        while True:
            r = found(s, collection="pag", k=3, facets=["meta.color"], **more, **({"cursor": cursor} if cursor else {}))
            assert r["total"] == len(whole) or more.get("mode"), (more, r["total"], len(whole))
            seen += [h["chunk_id"] for h in r["hits"]]
            cursor = r["next_cursor"]
            if not cursor:
                break
        assert seen == whole and len(set(seen)) == len(seen), (more, seen, whole)


@test(own=True)
def readers_filter_and_count_only_what_they_see(s):
    for name, acl, secret in (("open", [], "no"), ("staff", ["staff"], "some"), ("board", ["board"], "northwind")):
        s.push(f"The canteen of {name} opens at eight. The harvest of apples.", id=name, source="/" + name, acl=acl, meta={"secret": secret})
    sees = {"none": {"open": "no"}, "staff": {"open": "no", "staff": "some"}, "board": {"open": "no", "board": "northwind"}}
    for group, names in sees.items():
        key = bearer(key_of(s, group, *(["--groups", group] if group != "none" else [])))
        for expr in ("", "exists(meta.secret)", 'not meta.secret = "nothing"', 'meta.secret = "northwind"', 'source = "/board"', 'meta.secret != "northwind"'):
            if expr == 'meta.secret = "northwind"':
                want = {n for n, v in names.items() if v == "northwind"}
            elif expr == 'source = "/board"':
                want = names.keys() & {"board"}
            elif expr == 'meta.secret != "northwind"':
                want = {n for n, v in names.items() if v != "northwind"}
            else:
                want = set(names)
            for mode in ("hybrid", "dense", "lexical"):
                r = s.post("/v1/search", {"query": "harvest of apples", "filter": expr, "facets": ["meta.secret", "source"], "mode": mode, "group": "document"}, **key).json
                assert {h["document_id"] for h in r["hits"]} == set(want) and r["total"] == len(want), (group, expr, mode, r)
                assert r["facets"]["source"] == {"/" + n: 1 for n in want} and set(r["facets"]["meta.secret"]) == {names[n] for n in want}, (group, expr, r["facets"])
            listed = s.get("/v1/documents?filter=" + urllib.parse.quote(expr), **key).json["documents"]
            assert {d["id"] for d in listed} == set(want), (group, expr, listed)
            a = s.post("/v1/answers", {"question": "When does the canteen open?", "filter": expr, "style": "extractive"}, **key).json
            assert {p["document_id"] for p in a["passages"]} == set(want), (group, expr, a)
