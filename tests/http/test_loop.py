"""The loop: a thumb down with what would have been right becomes a line of a question set, and that a gate of `footnote eval`."""
from harness import *

LEAVE = "Leave\n\nEmployees of Alder receive 27 days of paid leave a year. Leave is requested from the team lead two weeks ahead.\n"
GATE = {"contains": 1, "answered_correct": 1, "citation_recall": 1}


def gate(s, folder, floors):
    with open(folder + "/gate.json", "w") as f:
        json.dump(floors, f)
    return s.cli("eval", folder, "--answers", "--extractive", "--gate", folder + "/gate.json", "--json", ok=(0, 1))


@test(answer__confidence=0)
def a_thumb_down_becomes_a_question_of_a_gate(s):
    folder = s.top + "/set"
    os.makedirs(folder + "/articles")
    with open(folder + "/articles/leave.txt", "w") as f:
        f.write(LEAVE)
    s.push(LEAVE, source="leave.txt", title="leave", collection="loop")
    question = "How many days of paid leave do employees of Alder receive?"
    for expected in ("27 days", None):
        a = s.post("/v1/answers", {"question": question if expected else "Who is asked for leave?", "style": "extractive", "collection": "loop"}).json
        down = {"answer_id": a["id"], "rating": -1, "question": a["question"], "comment": "not what I meant", **({"expected": expected} if expected else {})}
        r = s.post("/v1/feedback", down)
        assert r.status == 201, r.body
    lines = [json.loads(x) for x in s.get("/v1/feedback?export=questions").text.splitlines()]
    assert len(lines) == 2 and sorted(x.get("needs_answer", False) for x in lines) == [False, True], lines
    gold = [x for x in lines if not x.get("needs_answer")]
    assert [(x["question"], x["answers"], x["answerable"]) for x in gold] == [(question, ["27 days"], True)], gold
    with open(folder + "/questions.jsonl", "w") as f:
        f.writelines(json.dumps(x) + "\n" for x in gold)
    kept = gate(s, folder, GATE)
    assert kept.returncode == 0 and json.loads(kept.stdout.splitlines()[-1])["questions_asked"] == 1, (kept.stdout, kept.stderr)
    gold[0]["answers"] = ["31 days"]
    with open(folder + "/questions.jsonl", "w") as f:
        f.write(json.dumps(gold[0]) + "\n")
    missed = gate(s, folder, GATE)
    assert missed.returncode == 1 and "gate: contains is 0" in missed.stderr, (missed.returncode, missed.stderr)
