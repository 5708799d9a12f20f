"""What people do with the page, as tests: each takes a Page. @flow() runs it at both sizes."""
import json, os, re, time
import harness
from playwright.sync_api import expect

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SIZES = {"desktop": (1280, 800), "phone": (360, 740)}
TESTS = []
QUOTE = "The blue kiln opens at 7:45 on Fridays."
EVIL = "<img src=x onerror=\"document.title='owned'\">"
LONG = 1_000_000
WAIT = 20_000                  # ms that anything may take on a busy machine


def flow(*sizes, schemes=("light",)):
    def put(fn):
        for size in sizes or SIZES:
            for scheme in schemes:
                TESTS.append((fn, size, scheme))
        return fn
    return put


def fill(s, handbook):
    """The corpus: the handbook, a text with emoji before what is asked, one with markup everywhere, one of a megabyte."""
    s.cli("ingest", handbook, "-q")
    s.push("\U0001f525\U0001f9f1 Kiln times \U0001f468\u200d\U0001f469\u200d\U0001f467\n\n" + "\U0001f525 " * 40 + "\n\nThe red kiln is never used. " +
           QUOTE + " Glaze orders close at noon.", id="emoji", title="Kiln times \U0001f525", source="kiln.txt")
    s.push("The zebra password is " + EVIL + " and <script>document.title='owned'</script> stays text.", id="evil", title=EVIL, source=EVIL)
    lines, n = [], 0
    while n < LONG:
        lines.append("Shuttle " + "\u00e4\u2500" * 150 + ".")        # one long word: little to embed
        n += len(lines[-1]) + 1
    lines[len(lines) // 2] = "The walrus ledger is kept in the north attic."
    s.push("\n".join(lines), id="long", title="A long ledger", source="long.txt")


class Page:
    """A browser page in a context of its own, with what went wrong in it."""

    def __init__(self, browser, service, size, scheme, pictures):
        w, h = SIZES[size]
        self.service, self.size, self.scheme, self.pictures = service, size, scheme, pictures
        self.base = f"http://127.0.0.1:{service.port}/"
        self.context = browser.new_context(viewport={"width": w, "height": h}, color_scheme=scheme, reduced_motion="reduce", base_url=self.base)
        self.context.set_default_timeout(WAIT)
        self.context.grant_permissions(["clipboard-read", "clipboard-write"])
        self.trouble, self.allowed, self.requests = [], [], []
        self.page = self.context.new_page()
        self.page.on("console", lambda m: m.type in ("error", "warning") and self.trouble.append(f"console: {m.text} {m.location}"))
        self.page.on("pageerror", lambda e: self.trouble.append(f"script: {e}"))
        self.context.on("request", lambda r: self.requests.append(r))

    def allow(self, pattern):
        """What the test itself provokes is no trouble."""
        self.allowed.append(pattern)

    def check_clean(self):
        trouble = [t for t in self.trouble if not any(re.search(a, t) for a in self.allowed)]
        assert not trouble, trouble
        foreign = [r.url for r in self.requests if not r.url.startswith((self.base, "blob:" + self.base))]
        assert not foreign, foreign
        assert self.page.title().endswith("Footnote"), self.page.title()   # the markup in the corpus never ran

    def close(self):
        self.context.close()

    def picture(self, name):
        self.page.screenshot(path=os.path.join(self.pictures, f"{name}.png"))

    def shot(self, name):
        self.page.wait_for_timeout(150)
        self.picture(f"{self.size}-{self.scheme}-{name}")

    def open(self, place=""):
        self.page.goto(self.base + place)
        self.page.wait_for_load_state("networkidle")

    def all(self, css, **which):
        return self.page.locator(css, **which)

    def see(self, css, text=None):
        e = self.page.locator(css)
        expect(e.first).to_be_visible(timeout=WAIT)
        if text is not None:
            expect(e.first).to_contain_text(text, timeout=WAIT)
        return e.first

    def gone(self, css):
        expect(self.page.locator(css)).to_have_count(0, timeout=WAIT) if css.endswith(":visible") else expect(self.page.locator(css)).to_be_hidden(timeout=WAIT)

    def until(self, script, arg=None):
        """Waits until an expression holds. (Playwright's own way evaluates in the page, which its policy forbids.)"""
        end = time.time() + WAIT / 1000
        while not self.page.evaluate(script, arg):
            assert time.time() < end, "never: " + script
            self.page.wait_for_timeout(30)

    def press(self, key):
        self.page.keyboard.press(key)

    def search(self, words):
        self.page.fill("#query", words)
        self.see(".hit mark")
        self.until("!document.querySelector('.hits.stale')")

    def ask(self, question):
        self.page.fill("#question", question)
        self.press("Enter")
        self.see(".turn:last-child .acts")

    def focused(self):
        return self.page.evaluate("document.activeElement.id || document.activeElement.className")

    def copied(self):
        return self.page.evaluate("navigator.clipboard.readText()")

    def marked(self, css="#source-text mark.quote"):
        return "".join(self.all(css).all_text_contents())

    def no_overflow(self):
        wide = self.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert wide <= 0, f"the page is {wide} px wider than its window"


# ---- search ----
@flow(schemes=("light", "dark"))
def search_as_you_type(p):
    p.open()
    assert p.focused() == "query"
    p.shot("start")
    p.page.keyboard.type("how many days of leave carry over", delay=15)
    p.see(".hit mark")
    p.see("#search-status", "ms")
    p.until("location.hash === '#q=how+many+days+of+leave+carry+over'")
    p.until("!document.querySelector('.hits.stale')")
    assert p.all(".hit").count() >= 3
    hit = p.service.post("/v1/search", {"query": "how many days of leave carry over", "k": 10}).json["hits"][0]
    assert p.all(".hit .hit-link").first.text_content() == hit["title"]
    marks = [hit["text"][a - hit["start"]:b - hit["start"]] for a, b in hit["highlights"]]
    shown = p.all(".hit").first.locator("mark").all_text_contents()
    assert shown and shown == marks[-len(shown):], (shown, marks)
    p.no_overflow()
    p.shot("search")
    p.page.fill("#query", "")
    p.see("#search-empty")
    assert p.all(".hit").count() == 0


@flow("desktop")
def typing_sends_few_requests(p):
    p.open()
    words = "travel expenses in the first class"
    whole = lambda r: r.url.endswith("/v1/search") and json.loads(r.request.post_data)["query"] == words
    with p.page.expect_response(whole, timeout=3 * WAIT):                # it counts from the first key
        began = time.monotonic()
        p.page.keyboard.type(words, delay=8)
        took_ms = (time.monotonic() - began) * 1000
    p.see(".hit")
    p.until("!document.querySelector('.hits.stale')")
    sent = [r for r in p.requests if r.url.endswith("/v1/search")]
    assert 1 <= len(sent) <= took_ms / 90 + 2, (len(sent), took_ms)  # a pause between two, however slow the machine types
    assert json.loads(sent[-1].post_data)["query"] == words
    before = p.page.evaluate("window.kept = document.querySelector('.hit'), 1")
    p.page.keyboard.type(" ")                                            # the same words: nothing is asked, nothing flickers
    p.page.wait_for_timeout(300)
    assert before and p.page.evaluate("window.kept.isConnected")


@flow("desktop")
def keys_lead_through_search(p):
    p.open("#documents")
    p.see(".doc")
    p.press("/")
    assert p.focused() == "query"
    p.page.keyboard.type("laptop password")
    p.see(".hit mark")
    p.until("!document.querySelector('.hits.stale')")
    for _ in range(2):
        p.press("ArrowDown")
    assert p.page.evaluate("[...document.querySelectorAll('.hit-link')].indexOf(document.activeElement)") == 1
    p.press("ArrowUp")
    p.press("ArrowUp")
    assert p.focused() == "query"
    p.press("ArrowDown")
    p.press("Enter")
    p.see("#source-text mark")
    assert p.focused() == "source-h"
    p.press("Escape")
    p.gone("#source")
    assert p.focused() == "hit-link"
    p.press("/")
    p.press("Enter")                                                     # opens the best hit
    p.see("#source-text mark")
    p.press("Escape")
    p.press("/")
    p.press("Escape")
    assert p.page.input_value("#query") == ""


@flow("desktop")
def the_address_is_the_place(p):
    p.open("#q=remote+work")
    p.see(".hit mark")
    assert p.page.input_value("#query") == "remote work"
    p.all(".hit-link").first.click()
    p.see("#source-text mark")
    shared = p.page.url
    title = p.all("#source-h").text_content()
    p.page.go_back()
    p.gone("#source")
    p.page.go_forward()
    p.see("#source-text mark")
    p.page.click("nav a[data-view=documents]")
    p.see(".doc")
    p.gone("#source")
    p.page.go_back()
    p.see("#source-text mark")
    assert p.page.input_value("#query") == "remote work"
    other = p.context.new_page()                                         # somebody else follows the link
    other.goto(shared)
    expect(other.locator("#source-text mark").first).to_be_visible(timeout=WAIT)
    assert other.locator("#source-h").text_content() == title
    other.close()
    p.page.click("#source-link")
    p.see("#told", "Link copied")
    assert p.copied().startswith(p.base + "#doc=")


@flow("desktop")
def nothing_found_and_errors_are_told(p):
    p.allow("/v1/search")
    p.open()
    p.page.route("**/v1/search", lambda r: r.fulfill(status=429, headers={"Retry-After": "1"}, content_type="application/json",
                 body='{"error":{"type":"rate_limit_error","code":"limit","message":"too many requests wait","param":null}}'))
    p.page.fill("#query", "leave")
    p.see("#search-status.bad", "Too many requests wait")
    p.page.unroute("**/v1/search")
    empty = {"hits": [], "facets": {}, "total": 0, "next_cursor": None, "timings_ms": {"embed": 1, "search": 1, "total": 2}}
    p.page.route("**/v1/search", lambda r: r.fulfill(json=empty))
    p.page.fill("#query", "nowhere")
    p.see("#search-empty", "Nothing found for")
    p.shot("nothing")


@flow("desktop")
def a_lost_service_is_waited_for(p):
    p.allow("ERR_|Failed to load")
    p.open()
    for path in ("**/v1/**", "**/readyz"):
        p.page.route(path, lambda r: r.abort())
    p.page.fill("#query", "leave")
    p.see("#lost", "does not answer")
    for path in ("**/v1/**", "**/readyz"):
        p.page.unroute(path)
    p.gone("#lost")
    p.see(".hit mark")


# ---- ask ----
@flow(schemes=("light", "dark"))
def an_answer_with_footnotes(p):
    p.open("#ask")
    p.shot("ask")
    p.ask("How many days of leave can be carried over into the next year?")
    assert p.all("a.fn").count() >= 1
    p.see(".turn .sure")
    note = p.all(".notes q").first.text_content()
    p.no_overflow()
    p.shot("answer")
    p.page.click(".turn .acts button")
    p.see("#told", "Answer copied")
    text = p.copied()
    assert "[1]" in text and "[1] \u201c" + note + "\u201d" in text, text
    p.page.click("a.fn")
    p.see("#source-text mark.quote")
    assert p.marked() == note
    p.until("(() => { const m = document.querySelector('mark.quote').getBoundingClientRect(), b = document.querySelector('#source-body')"
            ".getBoundingClientRect(); return m.top >= b.top && m.bottom <= b.bottom; })()")
    assert p.all("a.fn[aria-current]").count() == 1
    p.no_overflow()
    p.shot("source")
    p.page.click("#source-quote")
    p.see("#told", "Quote copied")
    assert note in p.copied()
    p.press("Escape")
    p.gone("#source")
    assert p.focused() == "fn"


@flow()
def a_reply_to_a_customer(p):
    p.open("#assist")
    p.page.fill("#thread", "Hello!\n\nAgent: How can I help?\n\nCustomer: How many days of leave can be carried over into the next year?")
    p.page.click("#assist-go")
    p.see("#assist-reply .turn .sure")
    assert p.all("#assist-reply a.fn").count() >= 1
    for q in p.all("#assist-next button").all_text_contents():
        assert q.endswith("?"), q
    p.no_overflow()
    p.shot("assist")
    p.page.get_by_role("button", name="Good answer").click()
    p.see("#assist-reply", "Rated as a good answer")
    note = p.all("#assist-reply .notes q").first.text_content()
    p.page.click("#assist-reply a.fn")
    p.see("#source-text mark.quote")
    assert p.marked() == note


@flow("desktop")
def code_points_before_a_quote(p):
    p.open("#ask")
    p.ask("When does the blue kiln open?")
    p.page.click("a.fn")
    p.see("#source-text mark.quote")
    assert p.marked() == QUOTE, p.marked()
    p.page.goto(p.base + "#doc=emoji&start=2&end=13")                     # nine letters and two emoji before
    p.until("document.querySelector('mark.quote') && document.querySelector('mark.quote').textContent === ' Kiln times'")


@flow("desktop")
def an_abstention_is_told_plainly(p):
    p.open("#ask")
    p.ask("Who won the football world cup of 1998?")
    p.see(".turn.abstained .prose", "do not answer")
    assert p.all("a.fn").count() == 0 and p.all(".turn .sure").count() == 0
    p.see(".looked summary", "looked at")
    assert not p.all(".looked .hit").first.is_visible()                  # what did not answer is not in the way
    assert not p.page.get_by_role("button", name="Only quote").count()   # nothing would come of it
    p.shot("abstained")
    p.page.click(".looked summary")
    p.see(".looked .hit")


@flow()
def a_refusal_of_the_model_offers_quotes(p):
    done = {"id": "a1", "question": "?", "answer": "The documents do not answer this.", "status": "abstained", "reason": "the model finds no answer in the passages",
            "style": "extractive", "short": None, "sentences": [], "citations": [], "confidence": 0, "passages": [], "model": "m", "timings_ms": {"total": 5}}
    styles = []

    def answer(r):
        styles.append(json.loads(r.request.post_data)["style"])
        r.fulfill(content_type="text/event-stream", body=SSE + f"event: done\ndata: {json.dumps(done)}\n\n")
    p.page.route("**/v1/answers", answer)
    p.open("#ask")
    p.ask("Is it in there?")
    p.shot("refused")
    p.page.get_by_role("button", name="Only quote").click()
    p.until("!document.querySelector('.turn.busy') && document.querySelector('.turn .acts')")
    assert styles == ["generate", "extractive"], styles
    expect(p.page.get_by_role("button", name="Only quote")).to_have_count(0, timeout=WAIT)


IN_SIGHT = """(() => { const t = document.querySelector('.turn:last-child'), form = document.querySelector('#ask-form').getBoundingClientRect(),
    top = document.querySelector('#top').getBoundingClientRect(), q = t.querySelector('.question').getBoundingClientRect(),
    all = ['.answer-facts', '.acts', '.looked summary'].map(c => t.querySelector(c).getBoundingClientRect());
    return q.top >= top.bottom && all.every(r => r.bottom <= form.top) && form.bottom <= innerHeight; })()"""


@flow(schemes=("light", "dark"))
def the_end_of_an_answer_is_in_sight(p):
    p.open("#ask")
    for i, question in enumerate(("Who won the football world cup of 1998?", "How long must a password be?", "When does the blue kiln open?",
                                  "Where is the walrus ledger kept?")):
        p.ask(question)
        p.until(IN_SIGHT)
        p.shot(f"follow-up-{i}")


@flow()
def a_reader_who_went_elsewhere_is_left_there(p):
    p.page.add_init_script(STREAM_JS)
    p.open("#ask")
    p.page.fill("#question", "What is streamed?")
    p.press("Enter")
    p.until("!!window.stream_put")
    put = lambda text: p.page.evaluate("t => window.stream_put(t)", "event: delta\ndata: " + json.dumps({"text": text}) + "\n\n")
    for n in range(40):
        put(f"Sentence {n} says that much is to be told of this and that. ")
    p.see(".prose", "Sentence 39 ")
    assert p.page.evaluate("document.querySelector('.question').getBoundingClientRect().top >= document.querySelector('#top').getBoundingClientRect().bottom")
    assert p.page.evaluate("document.querySelector('.prose').getBoundingClientRect().bottom > innerHeight")     # longer than the window
    p.page.evaluate("scrollTo(0, document.body.scrollHeight)")           # the reader goes on by themselves, and is left there
    before = p.page.evaluate("scrollY")
    put("And one more. " * 40)
    p.see(".prose", "And one more.")
    p.page.wait_for_timeout(100)
    assert p.page.evaluate("scrollY") == before


@flow("desktop")
def a_conversation(p):
    p.open("#ask")
    p.page.keyboard.type("How long must a password be?")
    p.press("Enter")
    p.see(".turn .acts")
    p.ask("And when does it expire?")
    assert p.all(".turn").count() == 2
    body = json.loads([r for r in p.requests if r.url.endswith("/v1/answers")][-1].post_data)
    assert [h["role"] for h in body["history"]] == ["user", "assistant"] and body["history"][0]["content"] == "How long must a password be?"
    p.page.locator(".turn").first.get_by_role("button", name="Ask again").click()
    p.until("document.querySelectorAll('.turn .acts:not([hidden])').length === 2")
    assert json.loads([r for r in p.requests if r.url.endswith("/v1/answers")][-1].post_data)["history"] == []
    p.page.click("#ask-new")
    assert p.all(".turn").count() == 0
    p.see("#ask-empty")


@flow("desktop")
def a_question_in_the_address_is_not_asked_yet(p):
    p.open("#ask=Is+it+so%3F")
    assert p.page.input_value("#question") == "Is it so?"
    assert not [r for r in p.requests if r.url.endswith("/v1/answers")]


SSE = """event: passages
data: {"passages":[]}

"""
STREAM_JS = """
(() => { const real = window.fetch; window.fetch = (url, o) => {
  if (!String(url).includes('/v1/answers')) return real(url, o);
  const enc = new TextEncoder();
  let put;
  const body = new ReadableStream({ start(c) { put = c; window.stream_put = text => c.enqueue(enc.encode(text)); window.stream_end = () => c.close(); } });
  o.signal.addEventListener('abort', () => put.error(new DOMException('stop', 'AbortError')));
  return Promise.resolve(new Response(body, { status: 200 })); }; })()
"""


@flow("desktop")
def sentences_appear_as_they_come(p):
    p.page.add_init_script(STREAM_JS)
    p.open("#ask")
    p.page.fill("#question", "What is streamed?")
    p.press("Enter")
    p.until("!!window.stream_put")
    put = lambda text: p.page.evaluate("t => window.stream_put(t)", text)
    event = lambda name, data: f"event: {name}\ndata: {json.dumps(data)}\n\n"
    cite = {"n": 1, "document_id": "emoji", "revision": 1, "title": "Kiln", "source": "k", "page": 3, "start": 2, "end": 13, "quote": EVIL}
    put(SSE + event("citation", cite))
    put(event("delta", {"text": "One [1]."})[:20])                       # an event in pieces
    put(event("delta", {"text": "One [1]."})[20:])
    p.see(".prose", "One")
    p.see("#stop")
    assert p.all("a.fn").count() == 1 and p.all(".notes q").first.text_content() == EVIL
    p.see(".notes", "page 3")
    put(event("delta", {"text": " Two [2], not a mark."}))
    p.see(".prose", "Two [2], not a mark.")
    p.page.click("#stop")
    p.see(".turn .status", "Stopped")
    p.gone("#stop")
    p.page.get_by_role("button", name="Ask again").click()
    put(SSE + event("delta", {"text": "Half"}))
    p.page.evaluate("window.stream_end()")
    p.see(".turn .status.bad", "cut off")
    p.page.get_by_role("button", name="Ask again").click()
    put(event("error", {"error": {"type": "server_error", "code": "busy", "message": "the service is shutting down", "param": None}}))
    p.page.evaluate("window.stream_end()")
    p.see(".turn .status.bad", "shutting down")


@flow("desktop")
def a_written_answer(p):
    name = "qwen2.5-coder-0.5b-instruct-q4_k_m"
    if not harness.model(name + ".gguf"):
        raise harness.Skip("needs " + name)
    other = harness.Service({"generate.model": name})
    try:
        other.cli("ingest", os.path.join(ROOT, "corpora/handbook/leave.md"), "-q")
        p.page.goto(f"http://127.0.0.1:{other.port}/#ask")
        p.page.fill("#question", "How many days of paid leave do full-time employees have?")
        p.press("Enter")
        expect(p.all(".turn .acts")).to_be_visible(timeout=180_000)
        assert "27" in p.all(".prose").text_content() and p.all("a.fn").count() >= 1
        p.page.click("a.fn >> nth=0")
        p.see("#source-text mark.quote")
        p.shot("written")
        p.page.goto(p.base)
        p.requests[:] = [r for r in p.requests if f":{other.port}/" not in r.url]
    finally:
        other.close()


# ---- the source ----
@flow()
def a_long_document_is_read_in_pieces(p):
    p.open("#ask")
    p.ask("Where is the walrus ledger kept?")
    p.page.click("a.fn")
    p.see("#source-text mark.quote", "north attic")
    p.see("#source-place", "At 50 %")
    there = p.page.evaluate("document.querySelector('#source-text').textContent.length")
    assert there < 60_000, there
    texts = lambda: [r for r in p.requests if "/documents/long/text" in r.url]
    before = len(texts())
    for end in ("scrollHeight", "0"):
        for _ in range(3):
            n = len(texts())
            p.page.evaluate(f"document.querySelector('#source-body').scrollTop = document.querySelector('#source-body').{end}" if end != "0" else
                            "document.querySelector('#source-body').scrollTop = 0")
            p.until("n => performance.getEntriesByType('resource').filter(r => r.name.includes('/documents/long/text')).length > n", n)
    assert len(texts()) >= before + 6
    p.page.wait_for_timeout(300)
    shown = p.page.evaluate("[...document.querySelectorAll('#source-text p')].map(p => p.textContent).join('\\n')")
    whole = p.service.get("/v1/documents/long/text").text
    assert len(shown) > there and shown in whole                         # pieces are joined without a seam
    assert p.marked() == "The walrus ledger is kept in the north attic."


@flow("desktop")
def steps_through_footnotes_and_hits(p):
    p.open("#q=password")
    p.see(".hit mark")
    p.all(".hit-link").first.click()
    p.see("#source-step", "Passage 1 of")
    assert p.page.is_disabled("#source-prev")
    first = p.page.url
    p.page.click("#source-next")
    p.see("#source-step", "Passage 2 of")
    assert p.page.url != first
    p.page.click("#source-prev")
    p.see("#source-step", "Passage 1 of")
    assert p.all(".hit-link[aria-current]").count() == 1
    assert p.marked("#source-text mark.word")


@flow("desktop")
def a_changed_or_missing_document_is_told(p):
    p.allow("status of 404")
    p.service.push("Old words of the tide table.", id="tide", title="Tide")
    p.service.push("New words of the tide table, longer.", id="tide", title="Tide")
    p.open("#doc=tide&start=0&end=9&rev=1")
    p.see("#source-note", "has changed since it was cited")
    p.open("#doc=no-such-document&start=0&end=9")
    p.page.reload()
    p.see("#source-note.bad", "not here any more")


@flow("desktop")
def the_original(p):
    p.allow("status of 409")
    path = os.path.join(p.service.top, "heron.html")
    with open(path, "w") as f:
        f.write("<title>Heron</title><p>The heron desk is on floor nine.</p><script>document.title = 'owned'</script>")
    p.service.cli("ingest", path, "-q")
    p.open("#q=heron+desk")
    p.see(".hit mark")
    p.page.get_by_role("link", name="Heron", exact=True).click()
    p.see("#source-original")
    with p.page.expect_download() as got:
        p.page.click("#source-original")
    assert got.value.suggested_filename == "heron.html" and open(got.value.path()).read() == open(path).read()
    with open(path, "a") as f:
        f.write("more")
    p.page.click("#source-original")
    p.see("#source-note.bad", "has changed")
    p.page.goto(p.base + "#doc=emoji")
    p.see("#source-h", "Kiln times")
    p.gone("#source-original")


@flow()
def a_pdf_is_shown_as_its_page(p):
    p.allow("status of 404.*pages/3.png")
    name = {"desktop": "grey", "phone": "black"}[p.size]
    path = os.path.join(p.service.top, f"cormorant-{name}.pdf")
    with open(path, "wb") as f:
        f.write(harness.pdf(["A first page without much.", f"The {name} cormorant is fed at half past six."]))
    p.service.cli("ingest", path, "-q")
    p.open("#ask")
    p.ask(f"When is the {name} cormorant fed?")
    p.see(".notes", "page 2")
    p.page.click("a.fn")
    p.see("#source-text mark.quote", "half past six")
    p.see("#source-where .page", "page 2")
    p.page.click("#view-page")
    p.see("#page-picture")
    p.until("document.querySelector('#page-picture').naturalHeight === 1600")
    p.see("#page-number", "Page 2")
    p.see("#source-place", "This is the page that was cited")
    p.no_overflow()
    p.shot("page")
    p.page.click("#page-after")
    p.until("document.querySelector('#page-after').disabled")
    p.see("#page-number", "Page 2")
    p.page.click("#page-before")
    p.see("#page-number", "Page 1")
    p.see("#source-place", "Cited: page 2")
    p.page.click("#view-text")
    p.see("#source-place", "%")
    p.see("#source-text mark.quote")


@flow("desktop")
def markup_stays_text(p):
    p.open("#q=zebra+password")
    p.see(".hit mark")
    p.page.get_by_role("link", name=EVIL).click()
    p.see("#source-h", EVIL)
    p.see("#source-text", "<script>document.title='owned'</script>")
    p.open("#ask")
    p.ask("What is the zebra password?")
    p.open("#documents")
    p.see(".doc", None)
    p.page.get_by_role("button", name="Delete " + EVIL).click()
    p.see("#delete-what", EVIL)
    p.press("Escape")
    assert p.all("img:not(#page-picture), #main script").count() == 0


# ---- documents ----
@flow(schemes=("light", "dark"))
def uploads_and_verdicts(p):
    p.open("#documents")
    p.see(".doc")
    tag = f"{p.size}{p.scheme}"
    p.page.set_input_files("#files", [
        {"name": f"osprey-{tag}.txt", "mimeType": "text/plain", "buffer": f"The osprey log {tag} is read aloud at dusk.".encode()},
        {"name": f"blank-{tag}.txt", "mimeType": "text/plain", "buffer": b""}])
    p.see("#uploads .verdict.added")
    p.see("#uploads .verdict.skipped")
    p.see("#uploads-sum", "2 files read, 1 problem")
    p.no_overflow()
    tops = p.page.evaluate("[...new Set([...document.querySelectorAll('#verdicts button')].map(b => b.getBoundingClientRect().top))].length")
    assert tops == 1 and p.page.evaluate("[...document.querySelectorAll('.fact')].every(f => f.getClientRects().length === 1)"), tops
    p.gone("#upload-groups")                                             # without keys there is nobody to hide from
    p.shot("documents")
    p.page.get_by_role("button", name="Skipped").click()
    expect(p.all("#documents-list .doc", has_text=f"blank-{tag}").locator(".reason")).to_contain_text("empty", timeout=WAIT)
    assert p.page.get_by_role("button", name="Skipped").get_attribute("aria-pressed") == "true"
    p.page.get_by_role("button", name="With text").click()
    p.page.get_by_role("link", name=f"osprey-{tag}").first.click()
    p.see("#source-text", "read aloud at dusk")


@flow("desktop")
def a_folder_is_uploaded_with_its_paths(p):
    top = os.path.join(p.service.top, "up")
    os.makedirs(top + "/inner", exist_ok=True)
    for name, text in (("a.txt", "The pelican form has two sides."), ("inner/b.txt", "The grebe form has three."), (".hidden", "never")):
        with open(os.path.join(top, name), "w") as f:
            f.write(text)
    p.open("#documents")
    p.page.set_input_files("#folder", top)
    p.see("#uploads-sum", "2 files read")
    names = [d["source"] for d in p.service.get("/v1/documents?limit=1000").json["documents"]]
    assert "up/a.txt" in names and "up/inner/b.txt" in names, names


@flow("desktop")
def files_are_dropped(p):
    p.open("#documents")
    p.see(".doc")
    data = p.page.evaluate_handle("""() => { const d = new DataTransfer();
        d.items.add(new File(["The bittern rota changes in May."], "bittern.txt", { type: "text/plain" })); return d; }""")
    p.page.dispatch_event("#drop", "dragenter", {"dataTransfer": data})
    p.see("#drop.over")
    p.page.dispatch_event("#drop", "drop", {"dataTransfer": data})
    p.see("#uploads .verdict.added")
    p.see("#uploads", "bittern.txt")
    assert p.all("#drop.over").count() == 0


@flow()
def a_document_is_deleted_after_a_word(p):
    name = "Ibis " + p.size
    p.service.push(f"The ibis file {p.size} is to be deleted.", title=name)
    p.open("#documents")
    more = p.all("#documents-more")
    while not p.page.get_by_role("button", name="Delete " + name).count() and more.is_visible():
        more.click()
        p.page.wait_for_timeout(200)
    remove = p.page.get_by_role("button", name="Delete " + name)
    remove.click()
    p.see("#delete-what", name)
    p.shot("delete")
    for _ in range(8):                                                   # the focus stays in the dialog (or the browser's own bar)
        p.press("Tab")
        assert p.page.evaluate("document.activeElement === document.body || !!document.activeElement.closest('#delete-dialog')")
    p.press("Escape")
    p.gone("#delete-dialog")
    assert p.page.evaluate("document.activeElement.getAttribute('aria-label')") == "Delete " + name
    remove.click()
    p.page.click("#delete-go")
    p.gone("#delete-dialog")
    expect(p.page.get_by_role("button", name="Delete " + name)).to_have_count(0, timeout=WAIT)
    assert not any(d["title"] == name for d in p.service.get("/v1/documents?limit=1000").json["documents"])


@flow(schemes=("light", "dark"))
def an_erasure_shows_its_receipt(p):
    name = f"Curlew {p.size} {p.scheme}"
    p.service.push(f"The {name} file is to be erased.", title=name)
    p.open("#documents")
    p.page.get_by_role("button", name="Delete " + name).click()
    p.page.check("#delete-erase")
    p.page.click("#delete-go")
    p.see("#delete-receipt", "nothing of it is left")
    p.see("#delete-h", "Erased")
    p.until("document.querySelector('#delete-h').getBoundingClientRect().top > document.querySelector('#delete-dialog').getBoundingClientRect().top")
    assert not p.all("#delete-receipt dl").is_visible()
    p.shot("receipt")
    p.page.click("#delete-receipt summary")
    p.see("#delete-receipt dl", "source sha256")
    p.page.click("#delete-cancel")
    p.gone("#delete-dialog")


@flow()
def folders_of_the_machine(p):
    source = {"id": "s1", "path": "/srv/papers/2025", "collection": "default", "prune": True, "added": "2026-01-01T00:00:00Z", "last_job": "j1",
              "last_synced": "2026-01-02T10:00:00Z", "documents": 12}
    state = {"posts": [], "polls": 0}

    def sources(r):
        if r.request.method == "POST":
            state["posts"].append(json.loads(r.request.post_data))
            r.fulfill(status=202, json={"job_id": "j1", "source": source})
        else:
            r.fulfill(json={"sources": [source] if state["posts"] else []})

    def job(r):
        state["polls"] += 1
        done = state["polls"] >= 3
        r.fulfill(json={"id": "j1", "kind": "ingest", "state": "done" if done else "running", "files_done": 12 if done else 5, "files_total": 12,
                        "chunks": 80, "bytes_done": 1, "bytes_total": 2, "summary": {"added": 11, "failed": 1} if done else None, "error": None,
                        "problems": [{"source": "/srv/papers/2025/x.pdf", "verdict": "failed", "reason": "not a PDF"}] if done else [],
                        "created": "", "finished": None})
    p.page.route("**/v1/sources", sources)
    p.page.route("**/v1/jobs/*", job)
    p.open("#documents")
    p.see("#folders-box")
    p.page.fill("#folders-path", "/srv/papers/2025")
    p.page.check("#folders-prune")
    p.press("Enter") if p.focused() == "folders-path" else p.page.click("#folders-form button")
    p.see("#folders-list progress")
    p.see("#folders-list", "5 files of 12")
    p.see("#folders-list", "11 added")
    p.see("#folders-list summary", "1 file not read")
    assert state["posts"] == [{"path": "/srv/papers/2025", "prune": True}], state
    p.no_overflow()
    p.shot("folders")


@flow("desktop")
def a_folder_is_kept_in_step(p):
    p.allow("status of 404.*/v1/sources")                                # the folder that is not there
    folder = os.path.join(p.service.top, "step")
    os.makedirs(folder, exist_ok=True)
    for name, text in (("a.txt", "The avocet board meets in the long room."), ("b.txt", "The avocet board has nine members."), ("c.txt", "")):
        with open(os.path.join(folder, name), "w") as f:
            f.write(text)
    p.open("#documents")
    p.page.fill("#folders-path", folder)
    p.press("Enter")
    p.see("#folders-list", "2 added, 1 skipped")
    p.see("#folders-list", "2 documents")
    p.see("#folders-list summary", "1 file not read")
    os.unlink(os.path.join(folder, "b.txt"))
    p.page.fill("#folders-path", folder)
    p.page.check("#folders-prune")
    p.press("Enter") if p.focused() == "folders-path" else p.page.click("#folders-form button")
    p.see("#folders-list", "1 removed")
    p.page.get_by_role("button", name="Forget " + folder).click()
    p.see("#folders-status", "Its documents stay")
    assert p.service.get("/v1/sources").json["sources"] == []
    p.page.fill("#folders-path", "/no/such/folder")
    p.press("Enter")
    p.see("#folders-status.bad", "/no/such/folder")


# ---- for everybody ----
CHECKS = open(os.path.join(ROOT, "tests/browser/checks.js")).read()


@flow(schemes=("light", "dark"))
def names_and_contrast(p):
    p.open("#q=leave")
    p.see(".hit mark")

    def check(what):
        p.page.mouse.move(0, 0)
        found = p.page.evaluate(CHECKS)
        assert not found, (what, found)
    check("search")
    p.all(".hit-link").first.click()
    p.see("#source-text mark")
    check("source")
    p.press("Escape")
    p.open("#ask")
    check("ask")
    p.ask("How many days of leave can be carried over into the next year?")
    check("answer")
    p.ask("Who won the football world cup of 1998?")
    check("abstention")
    p.open("#assist")
    p.page.fill("#thread", "How long must a password be?")
    p.page.click("#assist-go")
    p.see("#assist-reply .thumbs")
    check("assist")
    p.open("#documents")
    p.see(".doc")
    check("documents")
    p.page.get_by_role("button", name="Skipped").click()
    check("skipped")
    p.page.get_by_role("button", name="With text").click()
    p.page.locator(".doc button").first.click()
    p.see("#delete-dialog")
    check("dialog")


@flow("phone")
def a_pane_that_covers_keeps_the_focus(p):
    p.open("#q=leave")
    p.see(".hit mark")
    p.all(".hit-link").first.click()
    p.see("#source-text mark")
    for _ in range(12):
        p.press("Tab")
        assert p.page.evaluate("document.activeElement === document.body || !!document.activeElement.closest('#source')"), p.focused()
    p.page.click("#source-close")
    p.gone("#source")
    assert p.page.evaluate("!document.querySelector('#main').inert")


@flow("desktop")
def the_whole_way_by_keyboard(p):
    p.open("#documents")
    p.see(".doc")
    p.press("Tab")
    assert p.focused() == "skip"
    p.press("Enter")
    assert p.focused() == "main"
    p.press("Shift+Tab")
    order = []
    p.page.evaluate("document.querySelector('.top a').focus()")
    for _ in range(5):
        order.append(p.page.evaluate("document.activeElement.textContent"))
        p.press("Tab")
    assert order == ["Footnote1", "Search", "Ask", "Assist", "Documents"], order
    p.page.evaluate("document.querySelector('[data-view=ask]').focus()")
    p.press("Enter")
    assert p.focused() == "question"
    p.page.keyboard.type("How long must a password be?")
    p.press("Enter")
    p.see(".turn .acts")
    p.page.evaluate("document.querySelector('a.fn').focus()")
    ring = p.page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert ring != "none", ring
    p.press("Enter")
    p.see("#source-text mark.quote")
    p.press("Escape")
    assert p.focused() == "fn"


@flow("desktop")
def twice_as_large(p):
    p.page.set_viewport_size({"width": 640, "height": 400})              # 200 % of 1280 x 800
    for place in ("#q=leave", "#ask", "#documents", "#doc=emoji&start=2&end=13"):
        p.open(place)
        p.page.wait_for_timeout(200)
        p.no_overflow()
    p.page.set_viewport_size({"width": 320, "height": 600})
    for place in ("#q=leave", "#ask", "#documents"):
        p.open(place)
        p.no_overflow()


@flow("desktop")
def the_policy_forbids_what_it_should(p):
    r = p.service.get("/")
    policy = r.headers["Content-Security-Policy"]
    for part in ("default-src 'self'", "object-src 'none'", "base-uri 'none'", "frame-ancestors 'none'"):
        assert part in policy, policy
    assert "unsafe" not in policy
    p.allow("Content Security Policy|inline script")
    p.open()
    p.page.evaluate("""() => { const s = document.createElement("script"); s.textContent = "window.ran = 1"; document.body.append(s); }""")
    assert p.page.evaluate("window.ran") is None
