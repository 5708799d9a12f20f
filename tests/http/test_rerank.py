"""The reader over HTTP: /v1/rerank, searches in its order. Its models here have random weights (tests/golden)."""
import math
from harness import *

GOLDEN = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "golden", "reader")
DOCUMENTS = ["Trains to Oslo leave from platform four at noon.", "Bread is baked with flour, water and yeast.", "A cat sleeps most of the day."]


def scores(r):
    assert r.status == 200, r.text
    assert [set(x) for x in r.json["results"]] == [{"index", "relevance_score"}] * len(r.json["results"])
    values = [x["relevance_score"] for x in r.json["results"]]
    assert values == sorted(values, reverse=True) and all(0 <= v <= 1 for v in values), values
    return {x["index"]: x["relevance_score"] for x in r.json["results"]}


@test(own=True, **{"models.reader": "none", "rerank.documents_max": 4, "rerank.bytes_max": "1k"})
def rerank_by_meaning_and_words(s):
    ask = {"query": "When does the train to Oslo leave?", "documents": DOCUMENTS}
    r = s.post("/v1/rerank", ask)
    assert sorted(scores(r)) == [0, 1, 2] and r.json["results"][0]["index"] == 0 and r.json["model"] == "all-minilm-l6-v2", r.json
    assert scores(s.post("/v1/rerank", {**ask, "documents": [{"text": d, "id": 1} for d in DOCUMENTS]})) == scores(r)
    assert list(scores(s.post("/v1/rerank", {**ask, "top_n": 2}))) == list(scores(r))[:2]
    assert len(scores(s.post("/v1/rerank", {**ask, "top_n": 4}))) == 3
    same = s.post("/v1/rerank", {**ask, "documents": [DOCUMENTS[1]] * 3 + [""]})
    assert [x["index"] for x in same.json["results"]] == [0, 1, 2, 3], same.json           # equals stay in order, nothing comes last
    for bad, param in (({"query": None}, "query"), ({"query": " \n"}, "query"), ({"query": 7}, "query"), ({"documents": None}, "documents"),
                       ({"documents": []}, "documents"), ({"documents": "x"}, "documents"), ({"documents": ["x", 7]}, "documents"),
                       ({"documents": [{"title": "x"}]}, "documents"), ({"documents": ["x"] * 5}, "documents"),
                       ({"documents": ["x" * 1025]}, "documents"), ({"query": "x" * 1025}, "query"), ({"top_n": 0}, "top_n"), ({"top_n": "2"}, "top_n")):
        r = s.post("/v1/rerank", {**ask, **bad})
        assert r.status == 400 and r.error["param"] == param, (bad, r.status, r.text)
    assert s.get("/v1/rerank").status == 405


@test(own=True, **{"models.reader": os.path.join(GOLDEN, "cross1"), "embed.kernel": "ref"})
def rerank_by_a_cross_encoder(s):
    with open(os.path.join(GOLDEN, "cross.json")) as f:
        pair = json.load(f)[0]
    r = s.post("/v1/rerank", {"query": pair["first"], "documents": ["cats", pair["text"]]})
    assert r.json["model"] == "cross1" and abs(scores(r)[1] - 1 / (1 + math.exp(-pair["cross1"]))) < 1e-3, r.json
    r = s.post("/v1/rerank", {"query": "Wann fährt der Zug nach Oslo und wie lange dauert die Fahrt?", "documents": DOCUMENTS})
    assert r.json["model"] == "all-minilm-l6-v2" and scores(r), r.json                      # a language that it was not taught


@test(own=True, **{"models.reader": os.path.join(GOLDEN, "tiny"), "search.rerank": 5, "search.rerank_weight": 30})
def searches_are_read(s):
    for i in range(12):
        s.push(f"Boat {i} of the harbour is {'blue' if i % 2 else 'white'} and belongs to captain {chr(65 + i)}.", collection="boats", source=f"boat{i}")
    ask = {"query": "Who owns the blue boat in the harbour?", "collection": "boats", "k": 12, "explain": True}
    r = s.post("/v1/search", ask)
    assert r.json["timings_ms"]["rerank"] > 0
    read = 0
    for h in r.json["hits"]:
        parts = {x["name"]: x for x in h["explain"]["parts"]}
        assert math.isclose(sum(x["part"] for x in parts.values()), h["score"], rel_tol=1e-9), h["explain"]
        read += "reader" in parts
    assert read == 5 and ["reader" in [x["name"] for x in h["explain"]["parts"]] for h in r.json["hits"]] == [True] * 5 + [False] * 7
    whole, paged, cursor = [h["chunk_id"] for h in r.json["hits"]], [], None
    for _ in range(4):
        page = s.post("/v1/search", {**ask, "k": 3, **({"cursor": cursor} if cursor else {})}).json
        paged += [h["chunk_id"] for h in page["hits"]]
        cursor = page["next_cursor"]
    assert paged == whole and cursor is None
    dense = s.post("/v1/search", {**ask, "mode": "dense"}).json
    assert dense["timings_ms"]["rerank"] == 0 and all([x["name"] for x in h["explain"]["parts"]] == ["dense"] for h in dense["hits"])
    text = s.cli("--collection", "boats", "search", ask["query"], "--explain").stdout
    assert text.count("by reading: place ") == 5, text
