"""Search: shapes, offsets, paging."""
from harness import *
from test_documents import doc_url

TEXT = """Über die Öffnungszeiten 😀.

The library of Västerås opens at nine in the morning. On Sundays the library stays closed. Fines are paid at the desk.

The swimming pool opens at six. Towels can be rented for two euros. Children under six swim for free.
"""
HIT = {"document_id", "revision", "chunk_id", "title", "source", "page", "heading", "start", "end", "text", "score", "highlights", "meta"}


@test
def hits_are_ranges_of_their_document(s):
    id = s.push(TEXT, collection="hits", title="Hours", source="/x/hours.txt", meta={"a": 1})
    r = s.post("/v1/search", {"query": "When does the library open?", "collection": "hits"})
    assert r.status == 200 and set(r.json) == {"hits", "facets", "total", "next_cursor", "timings_ms"}, r.json
    assert set(r.json["timings_ms"]) >= {"embed", "search", "total"}
    whole = s.get(doc_url(id, "/text")).text
    for h in r.json["hits"]:
        assert set(h) >= HIT, HIT - set(h)
        assert h["document_id"] == id and h["title"] == "Hours" and h["meta"] == {"a": 1} and h["page"] is None and isinstance(h["chunk_id"], str)
        assert h["text"] == whole[h["start"]:h["end"]]
        assert s.get(doc_url(id, f"/text?start={h['start']}&end={h['end']}")).text == h["text"]
        for a, b in h["highlights"]:
            assert h["start"] <= a < b <= h["end"]
    words = {whole[a:b].lower() for h in r.json["hits"] for a, b in h["highlights"]}
    assert "library" in words, words
    plain = s.post("/v1/search", {"query": "When does the library open?", "collection": "hits", "highlight": False}).json["hits"]
    assert all(h["highlights"] == [] for h in plain)


@test
def best_first(s):
    for i, t in enumerate(("Bread is baked with flour and yeast.", "The train to Oslo leaves at noon.", "A cat sleeps most of the day.")):
        s.push(t, collection="best", source=f"b{i}")
    hits = s.post("/v1/search", {"query": "railway departure", "collection": "best", "k": 3}).json["hits"]
    assert "train" in hits[0]["text"] and [h["score"] for h in hits] == sorted((h["score"] for h in hits), reverse=True), hits
    assert len(s.post("/v1/search", {"query": "railway", "collection": "best", "k": 2}).json["hits"]) == 2


@test
def paging_reaches_everything_once(s):
    ids = {s.push(f"Number {i} is a document about the harvest of apples, tale {i * 7}.", collection="many", source=f"m{i}") for i in range(11)}
    seen, cursor = [], None
    while True:
        body = {"query": "apples", "collection": "many", "k": 4}
        r = s.post("/v1/search", {**body, "cursor": cursor} if cursor else body).json
        assert r["total"] == 11 and len(r["hits"]) <= 4
        seen += [h["document_id"] for h in r["hits"]]
        cursor = r["next_cursor"]
        if not cursor:
            break
    assert len(seen) == 11 and set(seen) == ids, seen


@test
def modes_rank_by_meaning_by_words_and_by_both(s):
    for i, t in enumerate(("The railway timetable was printed anew.", "Trains depart from platform nine at noon.", "Code XR-4471 opens the cellar door.",
                           "A cat sleeps most of the day.")):
        s.push(t, collection="modes", source=f"x{i}")
    def ask(query, mode=None, **more):
        return s.post("/v1/search", {"query": query, "collection": "modes", "explain": True, **({"mode": mode} if mode else {}), **more}).json["hits"]
    words = ask("departing trains", "lexical")
    assert [h["text"] for h in words] == ["Trains depart from platform nine at noon."], words
    marked = {words[0]["text"][a - words[0]["start"]:b - words[0]["start"]] for a, b in words[0]["highlights"]}
    assert marked == {"Trains", "depart"}, marked
    assert ask("XR-4471", "lexical")[0]["text"].startswith("Code") and ask("zzz qqq", "lexical") == []
    assert len(ask("locomotive", "dense")) == 4 and ask("locomotive", "lexical") == []
    both = ask("XR-4471")
    assert both == ask("XR-4471", "hybrid") and len(both) == 4 and both[0]["text"].startswith("Code"), both
    for mode in ("hybrid", "dense", "lexical"):
        hits = ask("departing trains", mode)
        assert [h["score"] for h in hits] == sorted((h["score"] for h in hits), reverse=True)
        for i, h in enumerate(hits):
            x = h["explain"]
            assert x["score"] == h["score"] and abs(sum(p["part"] for p in x["parts"]) - h["score"]) < 1e-9, h
            assert {p["name"] for p in x["parts"]} <= ({"dense", "lexical", "reader"} if mode == "hybrid" else {mode}), h
            assert mode == "hybrid" or x["parts"][0]["rank"] == i + 1, h
    assert "explain" not in s.post("/v1/search", {"query": "x", "collection": "modes"}).json["hits"][0]
    page = s.post("/v1/search", {"query": "departing trains", "collection": "modes", "mode": "lexical", "k": 5}).json
    assert page["next_cursor"] is None, page


@test
def nothing_there(s):
    r = s.post("/v1/search", {"query": "anything", "collection": "empty-one"}).json
    assert r["hits"] == [] and r["total"] == 0 and r["next_cursor"] is None


@test
def readiness_and_metrics(s):
    before = s.get("/readyz").json
    s.push("One more document, counted.", collection="counted")
    after = s.get("/readyz").json
    assert after["documents"] == before["documents"] + 1 and after["status"] == "ready" and after["generator"] is None and after["embedder"] == "all-minilm-l6-v2", after
    n = s.metric('footnote_http_requests_total{route="search",status="200"}')
    s.post("/v1/search", {"query": "x"})
    s.settle('footnote_http_requests_total{route="search",status="200"}', n + 1)
    text = s.get("/metrics").text
    for name in ("footnote_http_request_seconds_bucket", "footnote_jobs_waiting", "footnote_documents", "footnote_ingest_total", "process_resident_memory_bytes", "footnote_store_file_bytes"):
        assert name in text, name
    for line in text.splitlines():
        assert line.startswith("#") or re.fullmatch(r'[a-zA-Z_:][\w:]*(\{[^}]*\})? [-+.\deEnaIf]+', line), line
    assert s.metric("footnote_documents") == after["documents"] and s.metric("process_resident_memory_bytes") > 1e6


@test
def highlights_follow_the_words_that_were_looked_for(s):
    text = "To be, or not to be: that is the question. Whether it is nobler to suffer."
    s.push(text, collection="stops", source="hamlet")
    def marked(query, mode):
        hits = s.post("/v1/search", {"query": query, "collection": "stops", "mode": mode}).json["hits"]
        return [text[a:b].lower() for a, b in hits[0]["highlights"]] if hits else None
    for mode in ("lexical", "hybrid"):
        assert marked("it is to be", mode) == ["to", "be", "to", "be", "is", "it", "is", "to"], mode
        assert marked("is it the question", mode) == ["question"], mode
        assert marked(" ".join(f"x{i}" for i in range(20000)) + " suffering is nobler", mode) == ["nobler", "suffer"], mode


@test
def highlights_show_what_was_looked_for_instead(s):
    text = "The library of Västerås lends violins. A librarian keeps the key of ERR-4021 and of 4021 Main Street, as the error ERR said."
    s.push(text, collection="marks", source="marks")
    def marked(query, mode="hybrid"):
        hits = s.post("/v1/search", {"query": query, "collection": "marks", "mode": mode}).json["hits"]
        assert all(a[1] <= b[0] for a, b in zip(hits[0]["highlights"], hits[0]["highlights"][1:])), hits
        return [text[a:b] for a, b in hits[0]["highlights"]]
    for mode in ("lexical", "hybrid"):
        assert marked("voilins", mode) == ["violins"] and marked("lends viol", mode) == ["lends", "violins"], mode
        assert marked("vasteras libary", mode) == ["library", "Västerås"], mode
        assert marked("err-4021", mode) == ["ERR-4021", "4021", "ERR"], mode
    assert marked("violins ERR-4021", "dense") == ["violins", "ERR-4021", "4021", "ERR"] and marked("voilins", "dense") == []


@test
def parts_sum_to_the_score(s):
    for i in range(30):
        s.push(f"Report {i} names the {('pump', 'valve', 'filter')[i % 3]} and code ZX-{i:03}." + " The pump is loud." * (i % 4), collection="parts", source=f"p{i}", meta={"n": i})
    for query in ("loud pumps", "pimp loudness", "ZX-007", "what does the code ZX-011 of the valve mean", "loud pum", "the of and", "qqqq"):
        for mode in ("hybrid", "dense", "lexical"):
            for more in ({}, {"filter": "meta.n >= 5"}, {"group": "document"}, {"cursor": "10"}):
                hits = s.post("/v1/search", {"query": query, "collection": "parts", "mode": mode, "explain": True, "k": 12, **more}).json["hits"]
                for h in hits:
                    x = h["explain"]
                    assert x["score"] == h["score"] and abs(sum(p["part"] for p in x["parts"]) - h["score"]) < 1e-9 * max(1, abs(h["score"])), (query, mode, more, h)
                    assert x["parts"] and len({p["name"] for p in x["parts"]}) == len(x["parts"]), x
                    assert {p["name"] for p in x["parts"]} <= ({"dense", "lexical", "exact", "reader"} if mode == "hybrid" else {mode}), h


@test(search__fuse_depth="10")
def deep_pages_repeat_and_lose_nothing(s):
    for i in range(60):
        s.push(f"Number {i} is a document about {('apples', 'pears', 'night trains')[i * 5 % 3]}." + " A good harvest." * (i % 4 == 0), collection="deep", source=f"m{i}")
    whole = [h["chunk_id"] for h in s.post("/v1/search", {"query": "harvest of apples", "collection": "deep", "k": 60}).json["hits"]]
    seen, cursor = [], None
    while True:
        body = {"query": "harvest of apples", "collection": "deep", "k": 7}
        r = s.post("/v1/search", {**body, "cursor": cursor} if cursor else body).json
        seen += [h["chunk_id"] for h in r["hits"]]
        cursor = r["next_cursor"]
        if not cursor:
            break
    assert len(set(whole)) == 60 and seen == whole, (seen, whole)


@test
def soft_hyphens_hide_no_word(s):
    s.push("Die Vor\u00adstands\u00adsitzung beginnt um neun.", collection="soft", source="soft")
    h = s.post("/v1/search", {"query": "Vorstandssitzung", "collection": "soft", "mode": "lexical"}).json["hits"][0]
    assert [h["text"][a:b] for a, b in h["highlights"]] == ["Vor\u00adstands\u00adsitzung"], h


@test
def phrases_must_stand_as_quoted(s):
    for i, t in enumerate(("The night bridge is closed.", "The bridge is closed at night.", "Die Nachtbrücke ist zu.")):
        s.push(t, collection="phrases", source=f"p{i}")
    for mode in ("hybrid", "dense", "lexical"):
        r = s.post("/v1/search", {"query": 'when does the "Night Bridge" open?', "collection": "phrases", "mode": mode}).json
        assert [h["text"] for h in r["hits"]] == ["The night bridge is closed."] and r["total"] == 1 and "remarks" not in r, r
        r = s.post("/v1/search", {"query": "“bridge night”", "collection": "phrases", "mode": mode}).json
        assert r["hits"] == [] and r["total"] == 0 and r["remarks"] == ['no passage holds "bridge night" as it is quoted'], r
    assert len(s.post("/v1/search", {"query": 'a 5" bridge', "collection": "phrases"}).json["hits"]) == 3


@test(search__phrase_max="2")
def phrases_of_frequent_words_are_refused(s):
    for i in range(3):
        s.push(f"The bridge number {i} is closed.", collection="phrases", source=f"p{i}")
    r = s.post("/v1/search", {"query": '"the bridge"', "collection": "phrases"})
    assert r.status == 400 and r.json["error"]["param"] == "query" and "search.phrase_max" in r.json["error"]["message"], r.json
    assert len(s.post("/v1/search", {"query": '"bridge number 1"', "collection": "phrases"}).json["hits"]) == 1


@test
def suggestions_finish_the_last_word(s):
    s.push(TEXT, collection="suggest", title="Hours")
    r = s.get("/v1/suggest?q=the+libr&collection=suggest")
    assert r.status == 200 and r.json == {"suggestions": [{"text": "the library", "score": 1}]}, r.json
    assert s.get("/v1/suggest?q=swiming&collection=suggest").json["suggestions"][0]["text"] in ("swimming", "swim")
    assert s.get("/v1/suggest?q=&collection=suggest").json == {"suggestions": []}
    assert s.get("/v1/suggest?collection=suggest").status == 400
    assert s.get("/v1/suggest?q=" + "a" * 2000).status == 400
