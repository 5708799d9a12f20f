"""Thumbs under answers and footnotes, as tests."""
import json
from flows import CHECKS, EVIL, WAIT, flow
from playwright.sync_api import expect


def ratings_of(p, answer_id):
    """What the service holds of an answer, by the citation it is about; 0: the answer."""
    return {x.get("citation", 0): x for x in p.service.get("/v1/feedback?limit=1000").json["feedback"] if x["answer_id"] == answer_id}


@flow(schemes=("light", "dark"))
def an_answer_is_rated(p):
    p.open("#ask")
    p.ask("How long must a password be?")
    good, bad = (p.page.get_by_role("button", name=name) for name in ("Good answer", "Bad answer"))
    pressed = lambda b, is_: expect(b).to_have_attribute("aria-pressed", is_, timeout=WAIT)
    good.focus()
    p.press("Enter")
    pressed(good, "true")
    p.see(".turn", "Rated as a good answer")
    answer = next(json.loads(r.post_data)["answer_id"] for r in p.requests if r.url.endswith("/v1/feedback"))
    assert ratings_of(p, answer)[0]["rating"] == 1 and not p.all(".said:visible").count()
    p.press("Tab")
    p.press(" ")
    pressed(bad, "true")
    pressed(good, "false")
    p.page.wait_for_timeout(100)
    assert "question" not in ratings_of(p, answer)[0]                    # a thumb alone gives nothing away
    p.press("Tab")
    p.page.keyboard.type("Too short " + EVIL)
    p.press("Tab")
    p.page.keyboard.type("Sixteen characters")
    expect(p.page.get_by_label("Keep the question")).not_to_be_checked() # nobody gives it away by not looking
    p.page.get_by_label("Keep the question").check()
    p.no_overflow()
    p.shot("rate")
    found = p.page.evaluate(CHECKS)
    assert not found, found
    p.page.get_by_role("button", name="Send").click()
    p.see(".said-sent", "Sixteen characters")
    p.see(".said-sent", EVIL)
    p.shot("rated")
    x = ratings_of(p, answer)[0]
    assert (x["rating"], x["comment"], x["expected"], x["question"]) == (-1, "Too short " + EVIL, "Sixteen characters", "How long must a password be?"), x
    p.page.get_by_role("button", name="Change").click()
    p.page.get_by_label("Nothing: the documents do not answer this").check()
    p.page.get_by_label("Keep the question").uncheck()
    p.page.get_by_role("button", name="Send").click()
    p.see(".said-sent", "The documents do not answer this")
    x = ratings_of(p, answer)[0]
    assert x["answerable"] is False and "expected" not in x and "question" not in x, x
    p.page.get_by_role("button", name="Footnote 1 does not fit").click()
    pressed(p.page.get_by_role("button", name="Footnote 1 does not fit"), "true")
    assert {n: x["rating"] for n, x in ratings_of(p, answer).items()} == {0: -1, 1: -1}
    p.page.get_by_role("button", name="Footnote 1 fits").click()
    pressed(p.page.get_by_role("button", name="Footnote 1 fits"), "true")
    good.click()
    pressed(good, "true")
    assert {n: x["rating"] for n, x in ratings_of(p, answer).items()} == {0: 1, 1: 1} and not p.all(".said:visible").count()
    p.no_overflow()


@flow("desktop")
def a_rating_that_fails_is_told(p):
    p.allow("/v1/feedback")
    p.open("#ask")
    p.ask("Who won the football world cup of 1998?")
    p.page.route("**/v1/feedback", lambda r: r.fulfill(status=429, headers={"Retry-After": "1"}, content_type="application/json",
                 body='{"error":{"type":"rate_limit_error","code":"limit","message":"too many requests wait","param":null}}'))
    bad = p.page.get_by_role("button", name="Bad answer")
    bad.click()
    p.see(".turn .status.bad", "Too many requests wait")
    expect(bad).to_have_attribute("aria-pressed", "false", timeout=WAIT)
    p.page.unroute("**/v1/feedback")
    bad.click()
    p.see(".said")                                                       # a refusal may have been wrong; that it should refuse is not asked
    assert not p.page.get_by_label("Nothing: the documents do not answer this").count()
    p.page.get_by_role("button", name="Close").click()
    p.gone(".said")
