#!/usr/bin/env python3
"""The OpenAI-compatible endpoints as the official client sees them. Usage: openai_client.py FOOTNOTE [NAME...]. Brings
the client's packages into the cache (tools/pypi.sh). Last line: N passed, N failed, N skipped."""
import array, base64, json, math, os, subprocess, sys, traceback

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
root = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, subprocess.run([root + "/tools/pypi.sh", root + "/tests/http/requirements.txt"],
                                  stdout=subprocess.PIPE, text=True, check=True).stdout.strip())
import harness
import openai
from test_answers import DOCS

harness.FOOTNOTE = os.path.abspath(sys.argv[1])
QUESTION = "How many days of paid leave do employees of Alder receive a year?"
FOREIGN = "What is the boiling point of tungsten?"
EMBEDDER = "all-minilm-l6-v2"
TESTS = []


def test(f):
    TESTS.append(f)
    return f


def refused(kind, call):
    try:
        call()
    except kind as e:
        return e
    raise AssertionError(f"{kind.__name__} did not come")


def marks_fit(s, message):
    """Every annotation covers a mark of the text and links to a quote of a document."""
    assert message.annotations
    for a in message.annotations:
        assert a.type == "url_citation"
        c = a.url_citation
        mark = message.content[c.start_index:c.end_index]
        assert mark[0] == "[" and mark[-1] == "]" and mark[1:-1].isdigit(), mark
        at = dict(p.split("=") for p in c.url.removeprefix("/#").split("&"))
        quote = s.get(f"/v1/documents/{at['doc']}/text?start={at['start']}&end={at['end']}").text
        assert quote and c.title


@test
def models(s, c, generator):
    ids = [m.id for m in c.models.list()]
    assert ids == ["footnote"] + ([generator] if generator else []) + [EMBEDDER], ids
    assert c.models.retrieve("footnote").object == "model"
    refused(openai.NotFoundError, lambda: c.models.retrieve("gpt-4o"))


@test
def documents_whole(s, c, generator):
    r = c.chat.completions.create(model="footnote", messages=[{"role": "system", "content": "You are a pirate."},
                                                             {"role": "user", "content": QUESTION}])
    m = r.choices[0].message
    assert r.object == "chat.completion" and r.choices[0].finish_reason == "stop" and m.role == "assistant"
    assert "27" in m.content and "[1]" in m.content, m.content
    marks_fit(s, m)
    assert r.footnote["status"] == "answered" and r.footnote["answer"] == m.content
    assert r.usage.total_tokens == r.usage.prompt_tokens + r.usage.completion_tokens


@test
def documents_streamed(s, c, generator):
    text, annotations, finish, usage, answer, chunks = "", None, None, None, None, 0
    with c.chat.completions.create(model="footnote", stream=True, stream_options={"include_usage": True},
                                   messages=[{"role": "user", "content": [{"type": "text", "text": QUESTION}]}]) as stream:
        for x in stream:
            chunks += 1
            assert x.object == "chat.completion.chunk" and x.model == "footnote"
            if not x.choices:
                usage = x.usage
                continue
            d = x.choices[0].delta
            text += d.content or ""
            annotations = getattr(d, "annotations", None) or annotations
            finish = x.choices[0].finish_reason or finish
            answer = getattr(x, "footnote", None) or answer
    assert chunks >= 3 and finish == "stop" and usage is not None
    assert answer["answer"] == text and "27" in text and annotations


@test
def documents_history(s, c, generator):
    r = c.chat.completions.create(model="footnote", messages=[
        {"role": "user", "content": QUESTION}, {"role": "assistant", "content": "27 days. [1]"},
        {"role": "user", "content": "How many of them may be carried over?"}])
    assert r.footnote["status"] in ("answered", "abstained") and r.footnote["passages"]


@test
def documents_abstain(s, c, generator):
    r = c.chat.completions.create(model="footnote", messages=[{"role": "user", "content": FOREIGN}])
    assert r.footnote["status"] == "abstained" and not r.choices[0].message.annotations, r.footnote["answer"]
    assert r.choices[0].message.content


@test
def plain_model(s, c, generator):
    if not generator:
        raise harness.Skip("needs " + harness.SMALL)
    ask = dict(model=generator, messages=[{"role": "user", "content": "Say hello in one short sentence."}], max_tokens=24)
    r = c.chat.completions.create(**ask)
    assert r.choices[0].message.content.strip() and 0 < r.usage.completion_tokens <= 24
    assert r.choices[0].finish_reason in ("stop", "length")
    again = c.chat.completions.create(**ask)
    assert again.choices[0].message.content == r.choices[0].message.content       # greedy unless told otherwise
    parts = [x.choices[0].delta.content or "" for x in c.chat.completions.create(stream=True, **ask) if x.choices]
    assert "".join(parts) == r.choices[0].message.content and len(parts) > 3
    short = c.chat.completions.create(**{**ask, "max_tokens": 2})
    assert short.choices[0].finish_reason == "length" and short.usage.completion_tokens == 2
    word = r.choices[0].message.content.split()[1]
    cut = c.chat.completions.create(stop=[word], **ask)
    assert word not in cut.choices[0].message.content and r.choices[0].message.content.startswith(cut.choices[0].message.content)
    long = refused(openai.BadRequestError, lambda: c.chat.completions.create(model=generator, messages=[{"role": "user", "content": "one two " * 5000}]))
    assert "context" in str(long), long


@test
def chat_refusals(s, c, generator):
    user = [{"role": "user", "content": QUESTION}]
    e = refused(openai.NotFoundError, lambda: c.chat.completions.create(model="gpt-4o", messages=user))
    assert e.param == "model", e
    assert refused(openai.BadRequestError, lambda: c.chat.completions.create(model="footnote", messages=[])).param == "messages"
    assert refused(openai.BadRequestError, lambda: c.chat.completions.create(model="footnote", messages=user + [{"role": "assistant", "content": "x"}])).param == "messages"
    assert refused(openai.BadRequestError, lambda: c.chat.completions.create(model="footnote", messages=user, temperature=9)).param == "temperature"
    for more in ({"n": 2}, {"logprobs": True}, {"tools": [{"type": "function", "function": {"name": "f"}}]}, {"response_format": {"type": "json_object"}}):
        e = refused(openai.APIStatusError, lambda: c.chat.completions.create(model="footnote", messages=user, **more))
        assert e.status_code in (400, 422) and e.param == list(more)[0], e
    image = [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:,"}}]}]
    assert refused(openai.APIStatusError, lambda: c.chat.completions.create(model="footnote", messages=image)).param == "messages"
    stream = refused(openai.BadRequestError, lambda: c.chat.completions.create(model="footnote", stream=True, messages=[{"role": "user", "content": " "}]))
    assert stream.param == "messages"


def cosine(a, b):
    return sum(x * y for x, y in zip(a, b)) / math.sqrt(sum(x * x for x in a) * sum(y * y for y in b))


@test
def embeddings(s, c, generator):
    texts = ["A cat sleeps on the sofa.", "A kitten is napping on the couch.", "The invoice is due in March."]
    r = c.embeddings.create(model=EMBEDDER, input=texts)                          # the client asks for base64
    v = [d.embedding for d in r.data]
    assert [d.index for d in r.data] == [0, 1, 2] and all(len(x) == 384 for x in v)
    assert cosine(v[0], v[1]) > 0.5 > cosine(v[0], v[2])
    assert all(abs(cosine(x, x) - 1) < 1e-6 and abs(math.sqrt(sum(y * y for y in x)) - 1) < 1e-3 for x in v)
    plain = c.embeddings.create(model=EMBEDDER, input=texts[0], encoding_format="float").data[0].embedding
    assert max(abs(x - y) for x, y in zip(plain, v[0])) < 1e-5
    raw = s.post("/v1/embeddings", {"model": EMBEDDER, "input": texts[0], "encoding_format": "base64"}).json
    assert array.array("f", base64.b64decode(raw["data"][0]["embedding"])).tolist() == v[0] or cosine(array.array("f", base64.b64decode(raw["data"][0]["embedding"])), v[0]) > 0.99999
    assert r.usage.prompt_tokens == r.usage.total_tokens > 10 and r.model == EMBEDDER
    assert c.embeddings.create(model=EMBEDDER, input=texts[0], dimensions=384).data
    for more, kind in (({"input": [[1, 2, 3]]}, openai.APIStatusError), ({"input": []}, openai.BadRequestError), ({"input": "x", "dimensions": 12}, openai.BadRequestError),
                       ({"input": ["x", ""]}, openai.BadRequestError), ({"input": ["x"] * 257}, openai.BadRequestError), ({"input": "x", "model": "ada"}, openai.NotFoundError)):
        e = refused(kind, lambda: c.embeddings.create(**{"model": EMBEDDER, **more}))
        assert e.param == list(more)[-1], (more, e)


def main():
    if not harness.model(EMBEDDER):
        print(f"0 passed, 0 failed, {len(TESTS)} skipped")
        return 0
    generator = harness.SMALL[:-5] if harness.model(harness.SMALL) else None
    count = {"passed": 0, "failed": 0, "skipped": 0}
    s = harness.Service({"generate.model": generator or "none", "answer.refusal": "100"})
    try:
        for name, text in DOCS.items():
            s.push(text, source=name, title=name[:-4])
        c = openai.OpenAI(base_url=f"http://127.0.0.1:{s.port}/v1", api_key="none", max_retries=0, timeout=300)
        for f in TESTS:
            if sys.argv[2:] and f.__name__ not in sys.argv[2:]:
                continue
            try:
                f(s, c, generator)
                count["passed"] += 1
            except harness.Skip as e:
                count["skipped"] += 1
                print(f"SKIP {f.__name__}: {e}")
            except Exception:
                count["failed"] += 1
                print(f"FAIL {f.__name__}")
                traceback.print_exc(file=sys.stdout)
    finally:
        assert s.close() == 0
    print(", ".join(f"{n} {what}" for what, n in count.items()))
    return count["failed"] > 0


sys.exit(main())
