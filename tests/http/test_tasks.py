"""Summaries, agent assist and the gap report: cited, within their limits, for those who may see it."""
from harness import *
from test_answers import check_answer, check_stream, stream

TOPICS = {
    "Kilns": "The kilns of Bramley are fired with beech wood on the first Monday of a month. A firing takes nineteen hours and reaches 1,240 degrees. Nobody opens a kiln before it has cooled to 80 degrees. The master of the day writes the curve into the kiln book.",
    "Glazes": "Glazes are mixed from ash, feldspar and clay by weight, never by volume. A new glaze is tried on nine tiles before it is used on pots. Lead has not been used in the pottery since 1974. Buckets carry the date on which they were mixed.",
    "Visitors": "Visitors may see the workshop on Saturdays between ten and four. Groups of more than twelve people book two weeks ahead. Children under six are not allowed near the kilns. The tour ends in the shop, where seconds are sold at half price.",
    "Apprentices": "Apprentices stay for three years and are paid from the first day. In the first year they wedge clay and clean tools. They throw their own pots in the second year. At the end each apprentice makes a dinner service for twelve.",
}


def book(times=6):
    return "# The Bramley pottery\n\n" + "\n".join(f"## {k} {i}\n\n{v.replace('nineteen', str(19 + i)).replace('nine tiles', f'{9 + i} tiles')}\n" for i in range(times) for k, v in TOPICS.items())


def summed(s, body, status=200):
    r = s.post("/v1/summaries", body)
    assert r.status == status, r.body
    return r.json if status == 200 else r.error


@test
def summary_of_a_document(s):
    d = s.push(book(), source="book.md", title="Bramley", collection="sums")
    a = summed(s, {"document_id": d})
    check_answer(s, a)
    assert a["status"] == "answered" and a["style"] == "extractive" and a["question"] == "Bramley" and a["prompt"] is None and a["reason"]
    assert len(a["sentences"]) == 8 and all(x["citations"] and x["support"] == "verified" for x in a["sentences"]), a["answer"]
    starts = [c["start"] for c in a["citations"]]
    assert starts == sorted(starts) and len(set(starts)) == 8 and starts[-1] - starts[0] > len(book()) / 2, starts
    assert len({c["quote"] for c in a["citations"]}) == 8 and {h["document_id"] for h in a["passages"]} == {d}
    three = summed(s, {"document_id": d, "sentences": 3, "style": "extractive"})
    check_answer(s, three)
    assert len(three["sentences"]) == 3 and "reason" not in three
    assert summed(s, {"document_id": d, "sentences": 3, "style": "extractive"})["answer"] == three["answer"]
    check_stream(s, stream(s, {"document_id": d}, "/v1/summaries"))


@test
def summary_of_what_a_filter_leaves(s):
    for i, (k, v) in enumerate(TOPICS.items()):
        s.push(v, source=f"{k}.txt", title=k, collection="sums2", meta={"year": 2020 + i})
    a = summed(s, {"filter": "meta.year >= 2022", "collection": "sums2"})
    check_answer(s, a)
    assert {c["title"] for c in a["citations"]} == {"Visitors", "Apprentices"}, a["answer"]
    e = summed(s, {"filter": "meta.year > 2050", "collection": "sums2"}, 404)
    assert e["param"] == "filter", e


@test
def summary_refusals(s):
    d = s.push("A short note about the boiler in the cellar of Bramley.", source="note.txt", collection="sums3", acl=["board"])
    a = summed(s, {"document_id": d})
    check_answer(s, a)
    assert len(a["sentences"]) == 1
    for body, status, param in (({}, 400, "document_id"), ({"document_id": d, "filter": "type = \"txt\""}, 400, "document_id"),
                                ({"document_id": "nosuch"}, 404, "document_id"), ({"document_id": d, "as": ["staff"]}, 404, "document_id"),
                                ({"document_id": d, "sentences": 0}, 400, "sentences"), ({"document_id": d, "sentences": 9}, 400, "sentences"),
                                ({"document_id": d, "style": "poem"}, 400, "style"), ({"document_id": d, "prompt": "nosuch"}, 400, "prompt"), ({"document_id": d, "prompt": "answer"}, 400, "prompt"),
                                ({"filter": "meta.year >"}, 400, "filter"), ({"document_id": 7}, 400, "document_id")):
        e = summed(s, body, status)
        assert e["param"] == param, (body, e)
    empty = s.push("?", source="empty.txt", collection="sums3")
    a = summed(s, {"document_id": empty})
    check_answer(s, a)
    assert a["status"] == "abstained" and a["confidence"] == 0


@test(summary__chars_max=1000, summary__documents_max=2)
def summary_limits(s):
    d = s.push(book(2), source="book.md", collection="default")
    e = summed(s, {"document_id": d}, 400)
    assert "summary.chars_max (1000)" in e["message"], e
    for i in range(3):
        s.push(f"The boiler of house {i} stands in the cellar.", source=f"{i}.txt", collection="few")
    assert "summary.documents_max (2)" in summed(s, {"filter": "exists(source)", "collection": "few"}, 400)["message"]


@test(generate__model="small")
def summary_written(s):
    d = s.push(book(), source="book.md", title="Bramley")
    a = summed(s, {"document_id": d, "sentences": 3})
    check_answer(s, a)
    assert a["status"] == "answered" and a["prompt"]["name"] == "summary" and a["model"] and a["usage"]["prompt_tokens"] > 0
    assert 1 <= len(a["sentences"]) <= 3 and all(x["citations"] for x in a["sentences"])
    assert a["style"] == "generate" or a["reason"]


HELP = {
    "Rentals": "# Instrument rental\n\n## Ending a lease\n\nTo end the lease of a trumpet or another instrument, give four weeks' notice in writing. If your lease is open-ended, you may end it after six months. If you have paid in advance, the rest is paid back within 14 days.\n\n"
               "## Insurance\n\nEvery rented instrument is insured against theft. The excess is 150 euros.\n",
    "FAQ": "# Questions about leases\n\nCan I buy the instrument I rent? Half of the rent of the first year is taken off the price.\n\nWhat happens when a lease is not paid? After two reminders the lease is ended and the instrument is fetched.\n",
}
TICKET = "A customer wanted to end the lease of a trumpet early. We ended the lease after five weeks and waived the rest because of a move abroad."
THREAD = [{"role": "customer", "text": "Hello, I rent a trumpet from you."}, {"role": "agent", "text": "Hello, how can I help?"},
          {"role": "customer", "text": "How much notice must I give to end the lease of the trumpet? Thanks!"}]


def desk(s, collection):
    for k, v in HELP.items():
        s.push(v, source=f"{k}.md", title=k, collection=collection)
    return s.push(TICKET, source="t1.txt", title="Ticket 4711", collection=collection, meta={"kind": "ticket"}, acl=["support"])


def assisted(s, body, status=200):
    r = s.post("/v1/assist", body)
    assert r.status == status, r.body
    return r.json if status == 200 else r.error


@test
def assist_reply(s):
    ticket = desk(s, "desk")
    a = assisted(s, {"messages": THREAD, "collection": "desk"})
    assert set(a) == {"reply", "greeting", "closing", "tone", "next_questions", "similar"}, set(a)
    check_answer(s, a["reply"])
    assert a["reply"]["status"] == "answered" and "four weeks" in a["reply"]["answer"], a["reply"]["answer"]
    assert a["reply"]["question"] == "How much notice must I give to end the lease of the trumpet?"
    assert all(h["document_id"] != ticket for h in a["reply"]["passages"])
    assert [h["document_id"] for h in a["similar"]] == [ticket]
    asked = a["next_questions"]
    assert 0 < len(asked) <= 5 and all(q.endswith("?") for q in asked) and len(set(asked)) == len(asked), asked
    assert "Is your lease open-ended?" in asked and "Have you paid in advance?" in asked, asked
    assert not any("end the lease" in q for q in asked), asked
    said = assisted(s, {"messages": THREAD + [{"role": "customer", "text": "My lease is open-ended. How do I end the lease?"}], "collection": "desk"})
    assert "Is your lease open-ended?" not in said["next_questions"], said["next_questions"]
    got = stream(s, {"messages": THREAD, "collection": "desk"}, "/v1/assist")
    assert [n for n, _ in got][0] == "passages" and got[-1][0] == "done"
    assert got[-1][1]["reply"]["answer"] == "".join(d["text"] for n, d in got if n == "delta") == a["reply"]["answer"]


@test
def assist_is_for_who_may_see(s):
    desk(s, "desk2")
    a = assisted(s, {"messages": THREAD, "collection": "desk2", "as": ["sales"]})
    assert a["similar"] == [] and a["reply"]["status"] == "answered"
    a = assisted(s, {"messages": THREAD, "collection": "desk2", "filter": 'source = "FAQ.md"'})
    assert {h["source"] for h in a["reply"]["passages"]} == {"FAQ.md"} and a["similar"] == []
    a = assisted(s, {"messages": [{"role": "customer", "text": "Welche Farbe hat der Planet Neptun?"}], "collection": "desk2"})
    assert a["reply"]["status"] == "abstained" and not a["reply"]["citations"]


@test
def assist_refusals(s):
    talk = [{"role": "customer", "text": "Where is the key?"}]
    for body, param in (({}, "messages"), ({"messages": []}, "messages"), ({"messages": "hi"}, "messages"), ({"messages": [7]}, "messages"),
                        ({"messages": [{"role": "agent", "text": "Hi"}]}, "messages"), ({"messages": [{"role": "boss", "text": "Hi"}]}, "messages"),
                        ({"messages": [{"role": "customer", "text": " "}]}, "messages"), ({"messages": [{"role": "customer"}]}, "messages"),
                        ({"messages": talk * 257}, "messages"), ({"messages": talk, "tone": 7}, "tone"), ({"messages": talk, "tone": "x" * 201}, "tone"),
                        ({"messages": talk, "tone": "kind\n[system]"}, "tone"), ({"messages": talk, "style": "poem"}, "style"),
                        ({"messages": talk, "filter": "meta."}, "filter")):
        assert assisted(s, body, 400)["param"] == param, body
    a = assisted(s, {"messages": [{"role": "customer", "text": "word " * 20000 + "Where is the key?"}], "collection": "none"})
    assert a["reply"]["status"] == "abstained" and a["next_questions"] == [] and a["similar"] == []


@test(generate__model="small", assist__greeting="Hello and thank you.", assist__closing="The Alder desk", assist__tones="plain: plain words; formal: polite")
def assist_written(s):
    desk(s, "default")
    a = assisted(s, {"messages": THREAD, "tone": "formal"})
    check_answer(s, a["reply"])
    assert a["tone"] == "polite" and a["greeting"] == "Hello and thank you." and a["closing"] == "The Alder desk"
    assert a["greeting"] not in a["reply"]["answer"]
    if a["reply"]["style"] == "generate":
        assert a["reply"]["prompt"]["name"] == "assist"
    assert all(x["citations"] for x in a["reply"]["sentences"]) or a["reply"]["status"] == "abstained"
    assert assisted(s, {"messages": THREAD, "tone": "as a pirate"})["tone"] == "as a pirate"


LACKING = ("Which planet is the farthest from the sun?", "What planet is farthest away from the sun?", "Who won the football cup in 1966?")


def gaps(s, query="", **kw):
    r = s.get("/v1/gaps" + query, **kw)
    assert r.status == 200, r.body
    return r.json


@test(audit__questions="keep", gaps__kept=4, gaps__similarity=0.5, answer__confidence=0.6)
def gaps_are_clustered(s):
    s.push("The boiler stands in the cellar of Bramley and is serviced in June.", source="boiler.txt", title="Boiler", collection="default", acl=["house"])
    for q in LACKING:
        assert s.post("/v1/answers", {"question": q}).json["status"] == "abstained"
    g = gaps(s)
    assert g["questions"] == 3 and g["clusters"] == 2 and g["texts_kept"] is True, g
    big, small = g["gaps"]
    assert big["size"] == 2 and big["why"] == {"abstained": 2, "nothing_found": 0, "thumbs_down": 0} and set(big["examples"]) == set(LACKING[:2]), big
    assert small["examples"] == [LACKING[2]] and small["first"] == small["last"] and big["first"] < big["last"]
    assert big["documents"][0]["title"] == "Boiler" and big["documents"][0]["times"] == 2
    assert all(x["documents"] == [] for x in gaps(s, "?as=other")["gaps"])
    assert gaps(s, "?least=2")["clusters"] == 1 and len(gaps(s, "?limit=1")["gaps"]) == 1 and gaps(s, "?collection=else")["questions"] == 0
    s.post("/v1/assist", {"messages": [{"role": "customer", "text": LACKING[2]}]})
    s.post("/v1/answers", {"question": LACKING[2], "collection": "empty"})
    g = gaps(s)
    assert g["questions"] == 4 and sorted((x["collection"], x["size"]) for x in g["gaps"]) == [("default", 1), ("default", 2), ("empty", 1)], g
    assert s.get("/v1/gaps?limit=x").error["param"] == "limit"
    text = s.cli("gaps").stdout
    assert LACKING[2] in text and "near: Boiler" in text, text


@test(own=True)
def gaps_without_texts(s):
    s.push("The boiler stands in the cellar of Bramley.", source="boiler.txt", title="Boiler")
    for _ in range(2):
        assert s.post("/v1/answers", {"question": LACKING[0]}).json["status"] == "abstained"
    liked = s.post("/v1/answers", {"question": "Where does the boiler of Bramley stand?"}).json
    assert liked["status"] == "answered"
    g = gaps(s)
    assert g["questions"] == 2 and g["texts_kept"] is False and g["gaps"][0]["size"] == 2 and g["gaps"][0]["examples"] == [], g
    for rating in (-1, -1):
        r = s.post("/v1/feedback", {"answer_id": liked["id"], "rating": rating})
        assert r.status in (200, 201), r.body
    after = gaps(s)
    assert after["questions"] == 3 and [x["why"]["thumbs_down"] for x in after["gaps"]] == [0, 1], after
    assert "farthest" not in json.dumps(g) and g["gaps"][0]["documents"][0]["title"] == "Boiler"
    s.stop()
    for name in os.listdir(s.data):
        if os.path.isfile(f"{s.data}/{name}"):
            with open(f"{s.data}/{name}", "rb") as f:
                assert b"farthest" not in f.read(), name


@test(own=True)
def gaps_need_an_admin(s):
    h = {"Authorization": "Bearer " + s.post("/v1/keys", {"name": "chief", "role": "admin", "groups": "*"}).json["key"]}
    read = s.post("/v1/keys", {"name": "reader", "role": "read"}, headers=h).json["key"]
    assert s.get("/v1/gaps").status == 401 and s.get("/v1/gaps", headers={"Authorization": "Bearer " + read}).status == 403
    assert gaps(s, headers=h)["questions"] == 0
