"""Start, refusal to start, and the end."""
import subprocess, threading, time
from harness import *
from test_answers import fill
from test_load import LONG


def serve(s, *args, ok, **env):
    r = subprocess.run([harness_bin(), "serve", *args], capture_output=True, text=True, timeout=60, cwd=s.top, env={**os.environ, **env})
    assert r.returncode == ok, (args, r.returncode, r.stdout, r.stderr)
    assert r.stdout == "" and r.stderr.strip(), r
    return r.stderr


def harness_bin():
    import harness
    return harness.FOOTNOTE


@test
def a_second_service(s):
    said = serve(s, "-c", s.top + "/service.conf", "--data", s.data, "--listen", "127.0.0.1:0", ok=5)
    assert s.data in said, said
    assert s.get("/readyz").status == 200


@test
def a_taken_port(s):
    said = serve(s, "-c", s.top + "/service.conf", "--data", s.top + "/other", "--listen", f"127.0.0.1:{s.port}", ok=5)
    assert f"127.0.0.1:{s.port}" in said and "in use" in said, said


@test
def addresses(s):
    for address, code in (("0.0.0.0:0", 5), ("[::]:0", 5), ("192.0.2.1:80", 5), ("nonsense", 2), ("127.0.0.1", 2), ("127.0.0.1:99999", 2), ("127.0.0.1:-1", 2), ("127.0.0.1:8x", 2), ("example.org:80", 2)):
        said = serve(s, "-c", s.top + "/service.conf", "--data", s.top + "/other", "--listen", address, ok=code)
        assert address in said, said
    serve(s, "-c", s.top + "/service.conf", "--data", s.top + "/other", "--frobnicate", ok=2)


@test
def without_an_embedder(s):
    os.makedirs(s.top + "/none", exist_ok=True)
    said = serve(s, "-c", "/dev/null", "--models", s.top + "/none", "--data", s.top + "/other", "--listen", "127.0.0.1:0", ok=3, XDG_CACHE_HOME=s.top + "/none")
    assert "models fetch" in said, said


@test(own=True)
def the_first_line(s):
    assert s.first_line == f"listening on http://127.0.0.1:{s.port}\n"
    other = Service(args=("--json",))
    try:
        assert json.loads(other.first_line) == {"listening": f"http://127.0.0.1:{other.port}"}
    finally:
        assert other.close() == 0


@test(own=True)
def ending_at_rest(s):
    kept = s.connect()
    s.get("/healthz", conn=kept)
    began = time.time()
    assert s.stop() == 0 and time.time() - began < 5
    try:
        s.get("/healthz")
        raise AssertionError("still listening")
    except ConnectionError:
        pass


@test(generate__model="small", answers__cache_bytes=0, serve__drain_s=30, serve__answer_threads=1)
def draining(s):
    fill(s)
    kept, streaming, waiting = s.connect(), s.connect(), s.connect()
    s.get("/readyz", conn=kept)
    streaming.request("POST", "/v1/answers", json.dumps(LONG), {"Content-Type": "application/json"})
    r = streaming.getresponse()
    assert r.status == 200
    waiting.request("POST", "/v1/answers", json.dumps({**LONG, "stream": False}), {"Content-Type": "application/json"})
    s.settle('footnote_jobs_waiting{pool="answer"}', 1)
    s.proc.send_signal(signal.SIGTERM)
    end = time.time() + 20
    while True:                  # who comes now is refused at once, while the answer goes on
        try:
            s.socket(5).close()
            assert time.time() < end and s.proc.poll() is None, "still listening"
        except ConnectionResetError:
            continue             # it came in the very moment the socket was shut
        except ConnectionRefusedError:
            break
    w = waiting.getresponse()
    body = json.loads(w.read())
    assert w.status == 503 and "shutting down" in body["error"]["message"], body
    names = [n for n, _ in events(r)]
    assert names[-1] == "done", names
    assert s.proc.wait(40) == 0


@test(generate__model="small", answers__cache_bytes=0, serve__drain_s=0)
def draining_without_patience(s):
    fill(s)
    c = s.connect()
    c.request("POST", "/v1/answers", json.dumps(LONG), {"Content-Type": "application/json"})
    r = c.getresponse()
    began = time.time()
    s.proc.send_signal(signal.SIGTERM)
    names = [n for n, _ in events(r)]
    assert names[-1] in ("done", "error"), names
    assert s.proc.wait(20) == 0 and time.time() - began < 15


@test(generate__model="small", answers__cache_bytes=0, generate__kernel="ref", serve__drain_s=600)
def a_second_signal_ends_the_patience(s):
    fill(s)
    c = s.connect()
    c.request("POST", "/v1/answers", json.dumps(LONG), {"Content-Type": "application/json"})
    r = c.getresponse()
    s.proc.send_signal(signal.SIGTERM)
    s.proc.send_signal(signal.SIGINT)
    got = list(events(r))
    assert got[-1][0] == "error" and "shutting down" in got[-1][1]["error"]["message"], got[-1]
    assert s.proc.wait(60) == 0


@test(own=True)
def what_was_stored_outlives_the_service(s):
    id = s.push("This sentence outlives its service.", source="stays")
    assert s.stop() == 0
    assert "outlives" in s.cli("docs", "text", id).stdout
    s.cli("check")
