"""llama.cpp's server with slots: texts written together. Usage: peer_llama.py LLAMA_SERVER MODEL.gguf PROMPT_TOKENS WRITTEN THREADS SLOTS REPEAT. One JSON line.

As `footnote bench generate --parallel` counts: tokens that come between the last text's first token and the first text's last one, over all
texts. Prompts are tokens drawn at random, so that nothing is served from a cache."""
import http.client, json, random, socket, statistics, subprocess, sys, threading, time

server, model, prompt, written, threads, slots, repeat = sys.argv[1], sys.argv[2], *map(int, sys.argv[3:])
PROMPT_BATCH, START_S, VOCAB = 512, 120, 30000
with socket.socket() as s:
    s.bind(("127.0.0.1", 0))
    port = s.getsockname()[1]
context = slots * (prompt + written + 32)
process = subprocess.Popen([server, "-m", model, "-t", str(threads), "-tb", str(threads), "-np", str(slots), "-c", str(context), "-b", str(PROMPT_BATCH),
                            "--host", "127.0.0.1", "--port", str(port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def ready():
    for _ in range(START_S * 4):
        if process.poll() is not None:
            return False
        try:
            c = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
            c.request("GET", "/health")
            if c.getresponse().status == 200:
                return True
        except OSError:
            pass
        time.sleep(0.25)
    return False


def ask(seed, times):
    """The time of each token, as it comes."""
    draw = random.Random(seed)
    body = {"prompt": [draw.randrange(1000, VOCAB) for _ in range(prompt)], "n_predict": written, "ignore_eos": True, "temperature": 0,
            "stream": True, "cache_prompt": False}
    c = http.client.HTTPConnection("127.0.0.1", port, timeout=600)
    c.request("POST", "/completion", json.dumps(body), {"Content-Type": "application/json"})
    r = c.getresponse()
    if r.status != 200:
        raise SystemExit(f"/completion answers {r.status}: {r.read(200)!r}")
    for line in r:
        if line.startswith(b"data: {"):
            event = json.loads(line[6:])
            if event.get("stop"):
                break
            # Half a character waits for its other half: an event may bring several tokens.
            times.extend([time.perf_counter()] * (event["tokens_predicted"] - len(times)))


def run(number):
    all_times = [[] for _ in range(slots)]
    began = time.perf_counter()
    workers = [threading.Thread(target=ask, args=(number * slots + i, all_times[i])) for i in range(slots)]
    for w in workers:
        w.start()
    for w in workers:
        w.join()
    if min(map(len, all_times)) < 2:
        raise SystemExit("a text of fewer than two tokens came back")
    start, end = max(t[0] for t in all_times), min(t[-1] for t in all_times)
    if end <= start:
        raise SystemExit("the first text was done before the last one began")
    return sum(start < x <= end for t in all_times for x in t) / (end - start), statistics.median(t[0] - began for t in all_times) * 1000


try:
    if not ready():
        raise SystemExit("llama-server does not start")
    run(0)
    runs = [run(1 + i) for i in range(repeat)]
    print(json.dumps({"parallel": slots, "decode_tps": statistics.median(r[0] for r in runs), "first_token_ms": statistics.median(r[1] for r in runs)}))
finally:
    process.terminate()
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()
