#!/usr/bin/env python3
"""GET /openapi.json against the OpenAPI 3.1 specification, and replies of the service against the shapes it names. Usage:
openapi_check.py FOOTNOTE. Needs the embedder; fetches the validator's packages into the cache (tools/pypi.sh). Last line:
N passed, N failed, N skipped."""
import json, os, subprocess, sys, traceback

here = os.path.dirname(os.path.abspath(__file__))
root = os.path.dirname(os.path.dirname(here))
sys.path.insert(0, here)
import harness

harness.FOOTNOTE = os.path.abspath(sys.argv[1])
if not harness.model("all-minilm-l6-v2"):
    print("0 passed, 0 failed, 1 skipped")
    sys.exit(0)
try:
    sys.path.insert(0, subprocess.run([root + "/tools/pypi.sh", here + "/openapi.txt"], stdout=subprocess.PIPE, text=True, check=True).stdout.strip())
    import jsonschema, openapi_spec_validator
except (subprocess.CalledProcessError, ImportError) as e:
    print(f"skip: the validator is not to be had: {e}\n0 passed, 0 failed, 1 skipped")
    sys.exit(0)

QUESTION = "How many days of paid leave do employees of Alder receive?"
count = {"passed": 0, "failed": 0, "skipped": 0}


def check(what, fn):
    try:
        fn()
        count["passed"] += 1
    except Exception:
        count["failed"] += 1
        print(f"FAIL {what}")
        traceback.print_exc(limit=1, file=sys.stdout)


s = harness.Service()
spec = s.get("/openapi.json").json


def fits(method, path, body=None, template=None):
    """The reply has a status and a shape that the document names."""
    def run():
        r = s.ask(method, path, body)
        told = spec["paths"][template or path][method.lower()]["responses"]
        here = told.get(str(r.status)) if r.status < 300 else told["default"]
        assert here, f"status {r.status} is not told of: {r.body[:300]}"
        (kind, content), = here["content"].items()
        assert r.headers["Content-Type"].startswith(kind), r.headers["Content-Type"]
        if kind == "application/json":
            jsonschema.Draft202012Validator({**content["schema"], "components": spec["components"]}).validate(r.json)
    check(f"{method} {path}", run)


def known(method, body, name):
    """What the tests send is what the document says may be sent."""
    schema = spec["paths"][name][method]["requestBody"]["content"]["application/json"]["schema"]
    jsonschema.Draft202012Validator({**schema, "components": spec["components"]}).validate(body)


try:
    check("the document is OpenAPI 3.1", lambda: openapi_spec_validator.validate(spec))
    ids = [op["operationId"] for p in spec["paths"].values() for op in p.values()]
    check("every operation has an id of its own", lambda: None if len(ids) == len(set(ids)) > 30 else 1 / 0)
    shape = jsonschema.Draft202012Validator({"$ref": "#/components/schemas/Answer", "components": spec["components"]})
    check("an empty object is no answer", lambda: None if list(shape.iter_errors({})) else 1 / 0)
    fits("POST", "/v1/documents", {"text": "Employees of Alder receive 27 days of paid leave a year.", "title": "Leave", "source": "leave.txt", "meta": {"year": 2026}})
    doc = s.get("/v1/documents").json["documents"][0]["id"]
    for path in ("/healthz", "/readyz", "/metrics", "/openapi.json", "/v1/documents", "/v1/models", "/v1/keys", "/v1/prompts", "/v1/experiments", "/v1/stats",
                 "/v1/sources", "/v1/jobs", "/v1/gaps"):
        fits("GET", path)
    fits("GET", f"/v1/documents/{doc}", template="/v1/documents/{id}")
    fits("GET", f"/v1/documents/{doc}/text", template="/v1/documents/{id}/text")
    fits("GET", "/v1/documents/nosuch", template="/v1/documents/{id}")
    fits("GET", "/v1/suggest?q=lea", template="/v1/suggest")
    fits("POST", "/v1/search", {"query": "paid leave", "explain": True, "facets": ["meta.year"]})
    fits("POST", "/v1/search", {"query": ""})
    fits("POST", "/v1/answers", {"question": QUESTION})
    fits("POST", "/v1/answers", {"question": "Which colour has the harbour of Valparaiso at noon?"})
    fits("POST", "/v1/answers", {"question": QUESTION, "history": [{"role": "user", "content": "And leave?"}]})
    fits("POST", "/v1/assist", {"messages": [{"role": "customer", "text": QUESTION}]})
    fits("POST", "/v1/chat/completions", {"model": "footnote", "messages": [{"role": "user", "content": QUESTION}]})
    fits("POST", "/v1/embeddings", {"input": ["one", "two"]})
    fits("POST", "/v1/rerank", {"query": "leave", "documents": ["paid leave", "a train"]})
    fits("POST", "/v1/summaries", {"document_id": doc})
    fits("POST", "/v1/prompts", {"name": "answer", "text": "[user]\n{{passages}} {{question}} {{refusal}}\n"})
    fits("GET", "/v1/prompts/answer@2", template="/v1/prompts/{name}")
    fits("POST", "/v1/prompts/answer@2/use", {}, template="/v1/prompts/{name}/use")
    fits("GET", "/v1/prompts/answer@1/diff?with=answer@2", template="/v1/prompts/{name}/diff")
    fits("POST", "/v1/prompts", {"name": "nix", "text": ""})
    split = {"name": "split", "arms": [{"name": "a", "share": 50, "prompt": "answer@1", "settings": {"answer.passages": 3}}, {"name": "b", "share": 50, "style": "extractive"}]}
    check("the body of an experiment", lambda: known("post", split, "/v1/experiments"))
    fits("POST", "/v1/experiments", split)
    fits("POST", "/v1/answers", {"question": QUESTION, "user": "u"})
    fits("GET", "/v1/experiments")
    fits("GET", "/v1/experiments/split", template="/v1/experiments/{name}")
    fits("POST", "/v1/experiments/split/stop", {}, template="/v1/experiments/{name}/stop")
    fits("GET", "/v1/experiments/split/export", template="/v1/experiments/{name}/export")
    fits("DELETE", "/v1/experiments/split", template="/v1/experiments/{name}")
    answer = s.post("/v1/answers", {"question": QUESTION}).json["id"]
    fits("POST", "/v1/feedback", {"answer_id": answer, "rating": 1})
    fits("GET", f"/v1/answers/{answer}", template="/v1/answers/{id}")
    fits("POST", f"/v1/answers/{answer}/replay", {}, template="/v1/answers/{id}/replay")
    for path in ("/v1/feedback", "/v1/usage", "/v1/batches", "/v1/stats"):
        fits("GET", path)
    fits("POST", "/v1/backup", {"file": s.top + "/copy"})
    fits("DELETE", f"/v1/documents/{doc}", template="/v1/documents/{id}")
finally:
    code = s.close()
    count["failed"] += code != 0
print(", ".join(f"{n} {what}" for what, n in count.items()))
sys.exit(count["failed"] > 0)
