#!/usr/bin/env python3
"""The same questions in other words: a slip of the keyboard, another case, synonyms, another order. By rules, with the
question's id as the seed, so that the same question always becomes the same variants.
Usage: reword.py SET/questions.jsonl > VARIANTS.jsonl; a line each: {"id": id/kind, "of": id, "kind", "question"}.
A kind whose rule finds nothing to change in a question has no line for it."""
import hashlib, json, random, re, sys

KINDS = ("typos", "case", "synonyms", "order")

KEYS = {"q": "wa", "w": "qes", "e": "wrd", "r": "etf", "t": "ryg", "y": "tuh", "u": "yij", "i": "uok", "o": "ipl", "p": "ol", "a": "qsz", "s": "awdx",
        "d": "sefc", "f": "drgv", "g": "fthb", "h": "gyjn", "j": "hukm", "k": "jil", "l": "kop", "z": "asx", "x": "zsdc", "c": "xdfv", "v": "cfgb",
        "b": "vghn", "n": "bhjm", "m": "njk"}

# Pairs and groups whose members may stand for each other in a question, in the form in which they are written.
GROUPS = """
big|large; biggest|largest; begin|start; began|started; beginning|start; end|finish; ended|finished; main|chief|principal; called|named|known as;
name of|term for; build|construct; built|constructed; building|constructing; buy|purchase; bought|purchased; help|assist; helped|assisted;
show|demonstrate; shown|demonstrated; use|employ; used|employed; uses|employs; make|produce; made|produced; makes|produces; get|obtain; got|obtained;
happen|occur; happened|occurred; happens|occurs; die|pass away; died|passed away; kind of|sort of|type of; type of|kind of; types of|kinds of; many people|people;
important|significant; reason|cause; purpose|aim; goal|aim; located|situated; near|close to; caused|led to; cause|lead to; created|made; create|make;
formed|established; founded|established; established|set up; wrote|authored; written|authored; said|stated; stated|said; believed|thought; believe|think;
claimed|asserted; argued|maintained; wanted|wished; required|needed; require|need; requires|needs; needed|required; allowed|permitted; allow|permit;
allows|permits; gave|provided; given|provided; provide|give; provides|gives; received|got; changed|altered; change|alter; increased|rose; increase|rise;
decreased|fell; decrease|fall; job|occupation; occupation|job; country|nation; countries|nations; city|town; large|big; largest|biggest; small|little;
rich|wealthy; poor|impoverished; fast|quick; old|aged; difficult|hard; different|distinct; another name|an alternative name; other than|besides;
approximately|about|roughly; around|about; usually|typically|normally; often|frequently; mostly|mainly; primarily|mainly; also|additionally;
during|in the course of; after|following; before|prior to; in order to|to; refer to|denote; refers to|denotes; referred to as|called; describe|characterize;
describes|characterizes; described|characterized; attack|assault; attacked|assaulted; killed|slain; war|conflict; fought|battled; defeated|beat; won|gained;
area|region; areas|regions; part of|portion of; entire|whole; method|way; ways|methods; result|outcome; effect|impact; goods|wares; company|firm;
companies|firms; students|pupils; teacher|instructor; teachers|instructors; school|educational institution; famous|well-known; moved|relocated; move|relocate;
lived|resided; live|reside; children|kids; parents|mother and father; leader|head; leaders|heads; ruler|monarch; reject|refuse; rejected|refused;
discovered|found; discover|find; invented|devised; broadcast|aired; television|TV; program|programme; film|movie; amount|quantity; quantity|amount;
how many|what number of; how much|what amount of; how long|for what length of time; when did|in what year did; where is|in what place is; who was|which person was;
who is|which person is; what year|which year; what city|which city; what country|which country; what type|which type; what kind|which kind; why did|for what reason did;
why is|for what reason is
"""
SYNONYMS = {}
for _group in GROUPS.replace("\n", " ").split(";"):
    _words = [w.strip() for w in _group.split("|")]
    if len(_words) > 1:
        SYNONYMS.setdefault(_words[0], _words[1:])

FRAMES = ("Can you tell me: {}", "I would like to know: {}", "Tell me, {}", "Please answer: {}")
CLAUSE = re.compile(r"^(.+?),? ((?:in|on|during|after|before|from|at|by|since|for|under|within|between|as|according to|because of) [^,?]+)\?$", re.I)
# Words before which a preposition belongs to the verb or the noun, not to the whole question.
TIED = {"is", "are", "was", "were", "part", "name", "kind", "type", "used", "known", "based", "of", "came", "come", "result", "died", "lived", "went", "go",
        "located", "referred", "accounted", "responsible", "reason", "such", "well", "same", "interested", "did", "made", "built", "looked"}


def seeded(question, kind):
    return random.Random(int.from_bytes(hashlib.sha256(f"{question['id']}/{kind}".encode()).digest()[:8], "big"))


def slip(word, rng):
    """One slip in a word: two letters changed about, one left out, one doubled, or the key beside. The first letter stays."""
    i = rng.randrange(1, len(word) - 1)
    how = rng.randrange(4)
    if how == 0 and word[i] != word[i + 1]:
        return word[:i] + word[i + 1] + word[i] + word[i + 2:]
    if how == 1:
        return word[:i] + word[i + 1:]
    if how == 2:
        return word[:i] + word[i] + word[i:]
    near = KEYS.get(word[i].lower())
    return word[:i] + rng.choice(near) + word[i + 1:] if near else word[:i] + word[i + 1:]


def typos(text, rng):
    """A slip for every eight words, at least one, each in a word of four letters or more."""
    places = [m for m in re.finditer(r"[A-Za-z]{4,}", text)]
    rng.shuffle(places)
    for m in sorted(places[:max(1, len(text.split()) // 8)], key=lambda m: -m.start()):
        text = text[:m.start()] + slip(m.group(), rng) + text[m.end():]
    return text


def case(text, rng):
    return rng.choice((text.lower(), text.upper(), text.lower().rstrip("?")))


def synonyms(text, rng):
    """Up to two of the words that have a synonym."""
    found = [(m.start(), m.end(), w) for w in SYNONYMS for m in re.finditer(rf"\b{re.escape(w)}\b", text, re.I)]
    rng.shuffle(found)
    taken = []
    for start, end, w in found:
        if len(taken) < 2 and all(end <= a or start >= b for a, b, _ in taken):
            taken.append((start, end, w))
    for start, end, w in sorted(taken, reverse=True):
        new = rng.choice(SYNONYMS[w])
        text = text[:start] + (new[0].upper() + new[1:] if text[start].isupper() else new) + text[end:]
    return text


def order(text, rng):
    """The last clause first, where the question has one that can stand there; else within a frame."""
    m = CLAUSE.match(text)
    if m and m.group(1).split()[-1].lower() not in TIED and len(m.group(1).split()) > 3:
        head, tail = m.groups()
        return f"{tail[0].upper()}{tail[1:]}, {head[0].lower()}{head[1:]}?"
    return rng.choice(FRAMES).format(text[0].lower() + text[1:])


def variants(question):
    """(kind, text) of each kind whose rule changes this question."""
    for kind, rule in (("typos", typos), ("case", case), ("synonyms", synonyms), ("order", order)):
        text = rule(question["question"].strip(), seeded(question, kind))
        if text != question["question"].strip():
            yield kind, text


if __name__ == "__main__":
    for line in open(sys.argv[1], encoding="utf-8"):
        q = json.loads(line)
        for kind, text in variants(q):
            print(json.dumps({"id": f"{q['id']}/{kind}", "of": q["id"], "kind": kind, "question": text}, ensure_ascii=False))
