"""Answers: shapes, offsets, the stream's order."""
from harness import *
from test_documents import doc_url
from test_search import HIT

DOCS = {
    "leave.txt": "Leave at Alder – 😀\n\nEmployees of Alder receive 27 days of paid leave a year. Up to five unused days may be carried over until 31 March. Leave is requested from the team lead two weeks ahead.\n",
    "travel.txt": "Travel\n\nTrain tickets are booked in second class. The limit for a hotel night is 140 euros. Receipts are handed in within thirty days.\n",
    "oncall.txt": "On call\n\nThe on-call phone is passed on every Monday at nine. An alarm must be answered within fifteen minutes.\n",
}
ANSWER = {"id", "question", "answer", "status", "style", "short", "sentences", "citations", "confidence", "passages", "prompt", "model", "snapshot", "cached", "usage", "timings_ms"}


def fill(s, collection="answers"):
    for name, text in DOCS.items():
        s.push(text, source=name, title=name[:-4], collection=collection)


def check_answer(s, a):
    assert set(a) >= ANSWER, ANSWER - set(a)
    assert a["status"] in ("answered", "abstained", "partial") and 0 <= a["confidence"] <= 1 and a["cached"] in (False, "exact")
    for h in a["passages"]:
        assert set(h) >= HIT
    assert [c["n"] for c in a["citations"]] == list(range(1, len(a["citations"]) + 1))
    for c in a["citations"]:
        assert set(c) == {"n", "document_id", "revision", "title", "source", "page", "start", "end", "quote"}
        assert s.get(doc_url(c["document_id"], f"/text?start={c['start']}&end={c['end']}")).text == c["quote"] and 0 < len(c["quote"]) <= 400
    marks = [int(m) for m in re.findall(r"\[(\d+)\]", a["answer"])]
    assert list(dict.fromkeys(marks)) == [c["n"] for c in a["citations"]], a["answer"]
    assert len({(c["document_id"], c["start"], c["end"]) for c in a["citations"]}) == len(a["citations"])
    at = 0
    for x in a["sentences"]:
        assert at <= x["start"] < x["end"] <= len(a["answer"]) and len(x["citations"]) <= 2
        assert sorted(int(m) for m in re.findall(r"\[(\d+)\]", a["answer"][x["start"]:x["end"]])) == sorted(x["citations"])
        at = x["end"]
    if a["short"]:
        assert s.get(doc_url(a["short"]["document_id"], f"/text?start={a['short']['start']}&end={a['short']['end']}")).text == a["short"]["text"]
    if a["status"] == "abstained":
        assert not a["citations"] and a["answer"] and a["reason"] and not a["short"]


def stream(s, body, path="/v1/answers"):
    c = s.connect()
    c.request("POST", path, json.dumps({**body, "stream": True}), {"Content-Type": "application/json"})
    r = c.getresponse()
    assert r.status == 200 and r.headers["Content-Type"] == "text/event-stream" and r.headers["X-Request-Id"], r.read()
    out = list(events(r))
    c.close()
    return out


def check_stream(s, got):
    names = [n for n, _ in got]
    assert names[0] == "passages" and names[-1] == "done" and set(names[1:-1]) <= {"delta", "citation"}, names
    a = got[-1][1]
    check_answer(s, a)
    assert got[0][1]["passages"] == a["passages"]
    assert "".join(d["text"] for n, d in got if n == "delta") == a["answer"]
    assert [d for n, d in got if n == "citation"] == a["citations"]
    told = set()
    for n, d in got:
        if n == "citation":
            told.add(d["n"])
        elif n == "delta":
            assert {int(m) for m in re.findall(r"\[(\d+)\]", d["text"])} <= told, (d, told)
    return a


@test
def quoted_answer(s):
    fill(s)
    r = s.post("/v1/answers", {"question": "How many days of paid leave do employees receive?", "collection": "answers"})
    assert r.status == 200, r.body
    a = r.json
    check_answer(s, a)
    assert a["status"] == "answered" and a["style"] == "extractive" and a["model"] is None and a["reason"], a
    assert "27" in a["answer"] and a["citations"][0]["source"] == "leave.txt"


@test
def streamed_quotes(s):
    fill(s)
    a = check_stream(s, stream(s, {"question": "What is the limit for a hotel night?", "collection": "answers", "style": "extractive", "k": 2, "seed": 7, "temperature": 0, "max_tokens": 50}))
    assert "140" in a["answer"] and len(a["passages"]) == 2


@test
def follow_up(s):
    fill(s)
    a = s.post("/v1/answers", {"question": "And until when may they be carried over?", "collection": "answers",
                               "history": [{"role": "user", "content": "How many unused leave days may be carried over?"}, {"role": "assistant", "content": "Five."}]}).json
    check_answer(s, a)
    assert "31 March" in a["answer"], a["answer"]


@test
def nothing_relevant(s):
    fill(s)
    for collection in ("answers", "an-empty-one"):
        a = s.post("/v1/answers", {"question": "What is the boiling point of tungsten hexafluoride on Venus?", "collection": collection}).json
        check_answer(s, a)
        assert a["status"] == "abstained", a
        check_stream(s, stream(s, {"question": "What is the boiling point of tungsten hexafluoride on Venus?", "collection": collection}))


@test
def marks_of_documents_are_no_footnotes(s):
    s.push("The Bitterling was first mapped in 1873.[3] The value[0] holds its level.[12][\u0661]", source="marks [1]", title="[2] Bitterling", collection="marks")
    for q in ("When was the Bitterling first mapped?", "What does the value hold of its level? [7]"):
        a = check_stream(s, stream(s, {"question": q, "collection": "marks"}))
        assert a["status"] == "answered" and "[" in a["citations"][0]["quote"], a
        check_answer(s, s.post("/v1/answers", {"question": q, "collection": "marks"}).json)


@test
def a_history_makes_no_question(s):
    fill(s)
    for q in ("", " \n", "\u200b"):
        r = s.post("/v1/answers", {"question": q, "collection": "answers", "history": [{"role": "user", "content": "What is the limit for a hotel night?"}]})
        assert r.status == 400 and r.error["param"] == "question" and "question" in r.error["message"], r.body


@test
def abstentions_speak_the_language_of_the_question(s):
    fill(s)
    for q, word in (("Wie viele Einwohner hat Kasachstan?", "Dokumente"), ("Hur många invånare har Kazakstan?", "Dokumenten"),
                    ("Яка столиця Казахстану і де вона?", "запитання"), ("哈萨克斯坦的首都是什么？", "文档")):
        a = s.post("/v1/answers", {"question": q, "collection": "answers"}).json
        check_answer(s, a)
        assert a["status"] == "abstained" and word in a["answer"], a["answer"]


@test
def errors_before_the_stream_are_statuses(s):
    for body in ({"question": "", "stream": True}, {"question": "x", "stream": True, "style": "x"}, {"question": "x", "stream": True, "prompt": "nope"}):
        r = s.post("/v1/answers", body)
        assert r.status == 400 and r.headers["Content-Type"] == "application/json", r.body


@test(generate__model="small", answers__cache_bytes=0)
def generated_answers(s):
    fill(s)
    ready = s.get("/readyz").json
    assert ready["generator"] == SMALL[:-5], ready
    for q in ("How many days of paid leave do employees receive?", "When is the on-call phone passed on?"):
        a = check_stream(s, stream(s, {"question": q, "collection": "answers", "max_tokens": 48}))
        assert a["usage"]["prompt_tokens"] > 0 and a["timings_ms"]["total"] > 0, a
    one = s.post("/v1/answers", {"question": "What is the limit for a hotel night?", "collection": "answers", "max_tokens": 48}).json
    check_answer(s, one)
    two = s.post("/v1/answers", {"question": "What is the limit for a hotel night?", "collection": "answers", "max_tokens": 48}).json
    assert one["answer"] == two["answer"]
    assert s.metric('footnote_answer_tokens_total{kind="prompt"}') > 0


@test(generate__model="small", answers__cache_bytes=0, generate__context=640, answer__refusal=100, answer__confidence=0)
def what_does_not_fit_the_context(s):
    """The encoder's one unknown word is dozens of the generator's tokens: less is shown. A question alone that is too long
    is refused as what it is, not as a queue that may empty."""
    word = lambda i: "".join(chr(0x1200 + (i * 7 + k * 11) % 64) for k in range(6))
    s.push("Ethiopia library opening. " + " ".join(word(i) + ("\u1362" if i % 12 == 11 else "") for i in range(2400)), source="eth", collection="eth")
    a = s.post("/v1/answers", {"question": "When does the Ethiopia library open?", "collection": "eth"})
    assert a.status == 200 and a.json["usage"]["prompt_tokens"] > 0, a.body
    check_answer(s, a.json)
    r = s.post("/v1/answers", {"question": "When does the Ethiopia library open " + "\U00020000" * 1900, "collection": "eth"})
    assert r.status == 400 and r.error["param"] == "question" and "Retry-After" not in r.headers, r.body


@test
def chat_messages_of_every_form(s):
    s.push("The canteen opens at seven in the morning.", collection="chatforms", source="canteen")
    ask, url = "When does the canteen open?", "/v1/chat/completions?collection=chatforms"
    def chat(messages, **more):
        return s.post(url, {"model": "footnote", "messages": messages, **more})
    user = {"role": "user", "content": ask}
    assert "seven" in chat([user]).json["choices"][0]["message"]["content"]
    parts = [{"type": "text", "text": "Good morning."}] * 20000 + [{"type": "text", "text": ask}]
    r = chat([user, {"role": "assistant", "content": parts}, user])
    assert r.status == 200 and "seven" in r.json["choices"][0]["message"]["content"], r.body
    assert chat([user, {"role": "assistant", "content": None}, user]).status == 200
    for messages in ([{}], [{"role": 5, "content": "x"}], ["x"], [{"role": "user", "content": None}], [{"role": "user"}]):
        r = chat(messages)
        assert r.status == 400 and r.error["param"] == "messages" and "messages[0]" in r.error["message"], (messages, r.body)
    for options in ("x", [], 1, {"include_usage": "yes"}):
        r = chat([user], stream_options=options)
        assert r.status == 400 and r.error["param"] == "stream_options", (options, r.body)
    assert chat([user], stream_options=None).status == 200


@test(generate__model="small", answers__cache_bytes=0)
def no_probability_mass_is_greedy(s):
    name = next(m["id"] for m in s.get("/v1/models").json["data"] if m["id"].startswith("smollm2"))
    def chat(**more):
        r = s.post("/v1/chat/completions", {"model": name, "messages": [{"role": "user", "content": "Tell me a story."}], "max_tokens": 24, **more})
        return r.json["choices"][0]["message"]["content"]
    greedy = chat()
    assert {chat(temperature=1.5, top_p=0, seed=i) for i in range(4)} == {greedy}


@test(generate__model="small", answers__cache_bytes=0, generate__kv_bytes="5m")
def what_does_not_fit_the_memory_for_keys(s):
    """That is a context of 224 tokens then. A longer conversation is refused as what it is, not as a queue that may empty."""
    name = next(m["id"] for m in s.get("/v1/models").json["data"] if m["id"].startswith("smollm2"))
    def chat(words):
        return s.post("/v1/chat/completions", {"model": name, "messages": [{"role": "user", "content": "tree " * words}], "max_tokens": 1000})
    r = chat(300)
    assert r.status == 400 and r.error["param"] == "messages" and "224" in r.error["message"] and "Retry-After" not in r.headers, r.body
    r = chat(20)
    assert r.status == 200 and r.json["usage"]["total_tokens"] <= 224, r.body


@test
def follow_ups_and_parts(s):
    fill(s, "understood")
    talk = [{"role": "user", "content": "How many days of paid leave do employees of Alder receive?"}, {"role": "assistant", "content": "They receive 27 days. [1]"}]

    def ask(question, history=()):
        a = s.post("/v1/answers", {"question": question, "history": list(history), "style": "extractive", "collection": "understood"}).json
        check_answer(s, a)
        assert a["question"] == question and 1 <= len(a["plan"]["queries"]) <= 3 and 1 <= len(a["plan"]["parts"]) <= 3, a["plan"]
        return a

    a = ask("And until when may they be carried over?", talk)
    assert a["plan"]["rewritten"] == "rules" and "paid leave" in a["plan"]["question"] and a["plan"]["language"] == "en", a["plan"]
    assert a["passages"][0]["source"] == "leave.txt"
    a = ask("What is the limit for a hotel night?", talk)
    assert a["plan"]["question"] == a["question"] and a["plan"]["rewritten"] == "none" and a["plan"]["queries"] == [a["question"]], a["plan"]
    a = ask("What is the limit for a hotel night, and when is the on-call phone passed on?")
    assert len(a["plan"]["parts"]) == 2 and {h["source"] for h in a["passages"][:2]} == {"travel.txt", "oncall.txt"}, a["plan"]
    a = ask("What is the limitt for a hotle nihgt?")
    assert a["plan"]["read_as"] == "What is the limit for a hotel night?" and a["passages"][0]["source"] == "travel.txt", a["plan"]
    big = "x " * 5000
    a = ask("And then?", [{"role": "user", "content": big}, {"role": "assistant", "content": ""}] * 32)
    assert all(len(q) < 1000 for q in a["plan"]["queries"])
    assert s.post("/v1/answers", {"question": "And then?", "history": [{"role": "system", "content": "x"}]}).status == 400
