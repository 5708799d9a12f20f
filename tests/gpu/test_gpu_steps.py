#!/usr/bin/env python3
"""gpu_steps.py without a GPU: how it keeps the time, goes on, counts and judges, with commands that only seem to be checks. The last line is
"N passed, N failed, N skipped"."""
import contextlib, io, json, os, subprocess, sys, tempfile, time, traceback

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import gpu_report, gpu_steps
from gpu_steps import CUT, FAILED, PASSED, SKIPPED, Kept, Rule, Run, Step

HERE = os.path.dirname(os.path.abspath(__file__))
SAID = "1 passed, 0 failed, 0 skipped"


def shell(rule, name, script, key="k", judge=gpu_steps.judge_test):
    return Step(rule, name, ["bash", "-c", script], key, judge)


def run_of(folder, seconds, steps, gone=lambda: False):
    with open(os.path.join(folder, "log"), "w", encoding="utf-8") as log:
        run = Run(Kept(os.path.join(folder, "done.jsonl")), time.monotonic() + seconds, dict(os.environ), log, lambda text: None, gone)
        run.all(steps)
    return run


def results(run):
    return {r["step"]: r["result"] for _, r in run.records}


def test_time_is_kept(folder):
    """what is under way at the end is killed, what does not fit is not begun, and what does is done"""
    first, large, small = Rule("kernels", "first", 0, 20), Rule("models", "large", 0, 20), Rule("time", "small", 0, 20)
    needy = Rule("peers", "needy", 15, 20)
    began = time.monotonic()
    run = run_of(folder, 3, [shell(first, "a", "echo " + SAID), shell(needy, "n", "echo " + SAID), shell(large, "b", "sleep 30; echo " + SAID), shell(small, "c", "sleep 0.1; echo " + SAID)])
    assert time.monotonic() - began < 6, "it ended late"
    assert results(run) == {"a": PASSED, "n": CUT, "b": CUT, "c": CUT}, results(run)
    assert gpu_steps.ended(run) == 4
    assert gpu_steps.tally([r for _, r in run.records]) == "1 passed, 0 failed, 0 skipped, 3 cut off"


def test_children_end_with_it(folder):
    """the children of what is killed are killed"""
    mark = os.path.join(folder, "mark")
    run_of(folder, 1, [shell(Rule("kernels", "r", 0, 20), "a", f"(sleep 3; touch {mark}) & wait")])
    time.sleep(3)
    assert not os.path.exists(mark)


def test_it_goes_on(folder):
    """a later call does what is missing, keeps what was done with its figures, and does again what has changed"""
    rule, count = Rule("kernels", "r", 0, 20), os.path.join(folder, "count")
    script = f'echo x >>{count}; echo \'{{"work": "decode", "n": 1}}\' >>$GPU_FIGURES; echo {SAID}'
    slow = "sleep 5; echo " + SAID
    run = run_of(folder, 3, [shell(rule, "a", script), shell(rule, "b", slow)])
    assert results(run) == {"a": PASSED, "b": CUT}
    run = run_of(folder, 20, [shell(rule, "a", script), shell(rule, "b", slow)])
    assert results(run) == {"a": PASSED, "b": PASSED} and gpu_steps.ended(run) == 0
    assert open(count, encoding="utf-8").read() == "x\n", "what was done was done again"
    assert [r["figures"] for _, r in run.records if r["step"] == "a"] == [[dict(work="decode", n=1)]], "figures of the earlier call are lost"
    run = run_of(folder, 20, [shell(rule, "a", script, key="other")])
    assert open(count, encoding="utf-8").read() == "x\nx\n" and results(run) == {"a": PASSED}


def test_cut_twice_is_not_begun_in_vain(folder):
    """what was killed after so many seconds is begun again only where there are more"""
    rule, count = Rule("kernels", "r", 0, 20), os.path.join(folder, "count")
    steps = [shell(rule, "a", f"echo x >>{count}; sleep 4; echo {SAID}")]
    assert results(run_of(folder, 2, steps)) == {"a": CUT}
    assert results(run_of(folder, 2, steps)) == {"a": CUT}
    assert open(count, encoding="utf-8").read() == "x\n"
    assert results(run_of(folder, 20, steps)) == {"a": PASSED}


def test_failures_stay(folder):
    """a failure is kept and counts in each call; a step over its own limit fails"""
    rule, short = Rule("kernels", "r", 0, 20), Rule("kernels", "short", 0, 1)
    steps = [shell(rule, "a", "echo '  x.c:3: wrong'; echo 0 passed, 1 failed, 0 skipped; exit 1"), shell(short, "b", "sleep 9"), shell(rule, "c", "exit 9"),
             shell(rule, "d", "echo " + SAID + "; exit 1"), shell(rule, "e", "echo 0 passed, 0 failed, 0 skipped"), shell(rule, "f", "echo " + SAID)]
    for _ in range(2):
        run = run_of(folder, 20, steps)
        assert results(run) == dict(a=FAILED, b=FAILED, c=FAILED, d=FAILED, e=FAILED, f=PASSED), results(run)
        assert gpu_steps.ended(run) == 1
    why = {r["step"]: r["why"] for _, r in run.records}
    assert why["a"] == "x.c:3: wrong" and why["b"] == "not over after 1 s" and why["c"] == "exit code 9", why
    assert dict(work="fault", name="a", why="x.c:3: wrong") in gpu_steps.figures_of(run)


def test_skipped_is_asked_again(folder):
    """what it lacked may have come"""
    rule, pack = Rule("kernels", "r", 0, 20), os.path.join(folder, "pack")
    steps = [shell(rule, "a", f"if [ -e {pack} ]; then echo {SAID}; else echo '  skipped: no pack'; echo 0 passed, 0 failed, 1 skipped; fi")]
    assert results(run_of(folder, 20, steps)) == {"a": SKIPPED}
    with open(pack, "w", encoding="utf-8"):
        pass
    assert results(run_of(folder, 20, steps)) == {"a": PASSED}


def test_nothing_passed_is_no_success(folder):
    run = run_of(folder, 20, [shell(Rule("kernels", "r", 0, 20), "a", "echo '  skipped: no model'; echo 0 passed, 0 failed, 1 skipped")])
    assert results(run) == {"a": SKIPPED} and gpu_steps.ended(run) == 1


def test_a_lost_device_ends_it(folder):
    rule = Rule("kernels", "r", 0, 20)
    run = run_of(folder, 20, [shell(rule, "a", "exit 1"), shell(rule, "b", "echo " + SAID)], gone=lambda: True)
    assert results(run) == {"a": FAILED, "b": CUT}, results(run)


def test_full_disks_are_tidied(folder):
    """behind each step that runs alone; models go where the largest would not fit any more"""
    asked = []
    with open(os.path.join(folder, "log"), "w", encoding="utf-8") as log:
        run = Run(Kept(os.path.join(folder, "done.jsonl")), time.monotonic() + 20, dict(os.environ), log, lambda text: None, tidy=lambda: asked.append(1))
        run.all([shell(Rule("time", "alone", 0, 9), "a", "echo " + SAID), shell(Rule("kernels", "beside", 0, 9, jobs=2), "b", "echo " + SAID)])
    assert len(asked) == 1, asked
    path, room = os.path.join(folder, "m.gguf"), gpu_steps.room
    try:
        for left, stays in ((gpu_steps.LARGEST_BYTES, True), (gpu_steps.LARGEST_BYTES - 1, False)):
            with open(path, "w", encoding="utf-8"):
                pass
            gpu_steps.room = lambda _, n=left: n
            gpu_steps.tidy(folder)
            assert os.path.exists(path) == stays, left
    finally:
        gpu_steps.room = room


def test_side_by_side(folder):
    rule = Rule("kernels", "r", 0, 20, jobs=4)
    began = time.monotonic()
    run = run_of(folder, 20, [shell(rule, str(i), f"sleep 1; echo {SAID}") for i in range(4)])
    assert set(results(run).values()) == {PASSED}
    assert (os.cpu_count() or 1) < 2 or time.monotonic() - began < 3.5, "one behind the other"


def test_tools_are_judged(_):
    clean = "========= COMPUTE-SANITIZER\n" + SAID + "\n========= ERROR SUMMARY: 0 errors\n"
    hazards = "========= COMPUTE-SANITIZER\n========= Error: Race reported\n" + SAID + "\n========= RACECHECK SUMMARY: 2 hazards displayed (2 errors, 0 warnings)\n"
    assert gpu_steps.judge_tool(0, clean, 0) == (PASSED, "")
    assert gpu_steps.judge_tool(0, clean.replace("ERROR SUMMARY: 0 errors", "RACECHECK SUMMARY: 0 hazards displayed (0 errors, 0 warnings)"), 0)[0] == PASSED
    result, why = gpu_steps.judge_tool(0, hazards, 0)
    assert result == FAILED and "Race reported" in why, why
    assert gpu_steps.judge_tool(0, hazards, 9)[0] == FAILED, "found before it was cut"
    assert gpu_steps.judge_tool(0, clean.replace("0 errors", "10 errors"), 0)[0] == FAILED
    assert gpu_steps.judge_tool(0, clean, 120)[0] == SKIPPED, "cut off is not passed"
    assert gpu_steps.judge_tool(1, "========= Error: Device not supported", 0) == (SKIPPED, "========= Error: Device not supported")
    assert gpu_steps.judge_tool(1, clean.replace(SAID, "0 passed, 1 failed, 0 skipped"), 0)[0] == FAILED
    assert gpu_steps.judge_tool(1, clean.replace(SAID, "  x.c:1: wrong"), 0) == (FAILED, "under the tool: x.c:1: wrong")
    assert gpu_steps.judge_tool(77, clean.replace(SAID, "  skipped: no pack"), 0) == (SKIPPED, "skipped: no pack")


def test_peers_are_judged(_):
    figure = json.dumps(dict(work="decode", peer="torch", n=1, tokens_per_s=5.0))
    gone = json.dumps(dict(work="missing", peer="torch", why="torch is not installed"))
    assert gpu_steps.judge_peer(0, "some noise\n" + figure + "\n{ no json\n", 0)[0] == PASSED
    assert gpu_steps.judge_peer(0, figure + "\n" + gone, 0)[0] == PASSED
    assert gpu_steps.judge_peer(0, gone, 0) == (SKIPPED, "torch is not installed")
    assert gpu_steps.judge_peer(1, "Traceback\nImportError: no", 0) == (SKIPPED, "ImportError: no")
    assert gpu_steps.judge_peer(0, figure, 150)[0] == SKIPPED


# --- the whole of it over a folder that seems to be built ---
TESTS = {"run-kernels": ["tests/nn/test_gpu_x.c gpu_x", "tests/nn/test_gpu_x.c gpu_linear_fills_device", "tests/gpu/check_device.c device_memory", "tests/gpu/time_kernels.c time_scan", "tests/gpu/time_kernels.c time_small"],
         "run-models": ["tests/gpu/check_models.c packed_qwen", "tests/gpu/check_models.c model_15b_q4_k", "tests/gpu/check_models.c model_8b_q8_0", "tests/gpu/time_models.c time_15b_bf16",
                        "tests/gpu/time_models.c time_135m_q8_0"],
         "run-generate": ["tests/generate/test_gpu_decoder.c gpu_decoder_x", "tests/gpu/time_ready.c time_ready_15b_q4_k"],
         "run-embed": ["tests/embed/test_gpu_embed.c embed_x", "tests/embed/test_scan.c scan_x", "tests/gpu/time_encoder.c time_encoder"]}


def program(path, text):
    with open(path, "w", encoding="utf-8") as f:
        f.write("#!/bin/bash\n" + text)
    os.chmod(path, 0o755)


def seemingly_built(folder, device=0):
    gpu = os.path.join(folder, "gpu")
    os.makedirs(gpu)
    source = os.path.relpath(os.path.join(gpu, "x.c"))
    program(os.path.join(gpu, "ceilings"), f"""
[ {device} = 0 ] || {{ echo 'no GPU was found: there is no NVIDIA driver' >&2; exit {device}; }}
echo '{json.dumps(dict(work="device", name="NVIDIA H200", capability="9.0", sms=132, memory=1 << 37, cache=1 << 26, bus_bytes_per_s=4.8e12, driver=13000, runtime=13000))}'
[ "$1" = device ] || echo '{json.dumps(dict(work="read", bytes=1 << 31, us=500.0))}'
""")
    for name, tests in TESTS.items():
        program(os.path.join(gpu, name), f"""
[ "$1" != --list ] || {{ printf '%s\\n' {' '.join("'" + t + "'" for t in tests)}; exit; }}
echo "$1" >>{gpu}/ran
case $1 in =time_15b_bf16) echo '{json.dumps(dict(work="decode", table="cuda", model="1.5b", type="BF16", n=1, bytes=3e9, kv_bytes=1e6, flops=3e9, step_us=1000.0, tokens_per_s=1000.0))}' >>"$GPU_FIGURES" ;; esac
echo {SAID}
""")
    program(os.path.join(folder, "sanitizer"), f"""
echo ========= COMPUTE-SANITIZER
while [ "$1" != {gpu}/run-kernels ]; do shift; done
[ "$2" = --inside ] || exit 9
"$1" "$3" || exit
echo '========= ERROR SUMMARY: 0 errors'
""")
    program(os.path.join(folder, "python"), f"echo '{json.dumps(dict(work='decode', peer='torch', model='1.5b', how='graph', n=1, tokens_per_s=400.0))}'")
    for name in [*TESTS, "ceilings"]:
        with open(os.path.join(gpu, name + ".from"), "w", encoding="utf-8") as f:
            f.write(source[:-2] + ".o")
    with open(source[:-2] + ".d", "w", encoding="utf-8") as f:
        f.write(f"{source[:-2]}.o: {source} \\\n /usr/include/stdio.h\n{source}:\n")
    with open(source, "w", encoding="utf-8") as f:
        f.write("one")
    return source


def whole(folder, seconds, *more):
    told = io.StringIO()
    gpu_steps.sanitizer = lambda: os.path.join(folder, "sanitizer")
    sys.argv = ["gpu_steps.py", "--build", folder, "--seconds", str(seconds), "--python", os.path.join(folder, "python"), *more]
    with contextlib.redirect_stdout(told):
        rc = gpu_steps.main()
    return rc, told.getvalue()


def ran(folder):
    path = os.path.join(folder, "gpu", "ran")
    if not os.path.exists(path):
        return []
    with open(path, encoding="utf-8") as f:
        return [x.strip()[1:] for x in f]


def test_all_of_it(folder):
    """a short call does what comes first, the next the rest, a third nothing; the report joins them"""
    source = seemingly_built(folder)
    out = os.path.join(folder, "out")
    os.environ["OUT"] = out
    rc, told = whole(folder, gpu_steps.RESERVE + 9)
    assert rc == 4 and "1 skipped" not in told.splitlines()[-1] and told.splitlines()[-1].endswith(" cut off"), told
    first = ran(folder)
    assert "gpu_x" in first and "packed_qwen" in first and "time_15b_bf16" not in first, first
    rc, told = whole(folder, 90)
    assert rc == 0, told
    asked = [t.split()[1] for tests in TESTS.values() for t in tests]
    assert sorted(ran(folder)) == sorted(asked + 3 * ["gpu_x"]), "not each test once, those of kernels again under each tool"
    before = ran(folder)
    rc, told = whole(folder, 90)
    assert ran(folder) == before and not told.splitlines()[-1].endswith(", 0 passed"), "what was done was done again"
    with open(os.path.join(out, "GPU.md"), encoding="utf-8") as f:
        page = f.read()
    assert "| decode, one sequence, 1.5b BF16: share of 4.80 TB/s | 0.625 | ≥ 0.6 | 1.04 | yes |" in page, page
    assert "against torch with CUDA graphs | 2.5x | ≥ 1.5x | 1.67 | yes |" in page, page
    assert sorted(os.listdir(out)) == ["GPU.md", "done.jsonl", "gpu.json", "gpu.jsonl", "log"], os.listdir(out)
    with open(source, "w", encoding="utf-8") as f:
        f.write("two")
    whole(folder, 90, "--only", "kernels")
    assert ran(folder)[len(before):] and set(ran(folder)[len(before):]) == {"gpu_x", "gpu_linear_fills_device", "device_memory"}, ran(folder)[len(before):]


def test_worth(folder):
    """with time enough, in the order of the rules; each test once"""
    seemingly_built(folder)
    whole(folder, 90, "--only", "kernels,models,time")
    order = ["gpu_x", "packed_qwen", "model_15b_q4_k", "time_15b_bf16", "time_ready_15b_q4_k", "time_encoder", "time_scan", "gpu_decoder_x", "embed_x", "model_8b_q8_0", "time_small",
             "time_135m_q8_0"]
    assert [x for x in ran(folder) if x in order] == order, ran(folder)


def test_only_some(folder):
    seemingly_built(folder)
    os.environ.pop("OUT", None)
    rc, told = whole(folder, 90, "--only", "kernels")
    assert rc == 0 and sorted(ran(folder)) == ["device_memory", "gpu_linear_fills_device", "gpu_x"], (rc, ran(folder))
    assert told.splitlines()[-1] == "3 passed, 0 failed, 0 skipped, 0 cut off", told
    try:
        whole(folder, 90, "--only", "kernel")
        assert False, "an unknown part"
    except SystemExit as e:
        assert "kernel" in str(e)


def test_what_is_not_there(folder):
    """no GPU: 3; what was not built is a failure, or skipped where the machine lacks its libraries; a build that failed is one"""
    seemingly_built(os.path.join(folder, "none"), device=3)
    rc, told = whole(os.path.join(folder, "none"), 90)
    assert rc == 3 and "no NVIDIA driver" in told and len(told.splitlines()) == 1, told
    some = os.path.join(folder, "some")
    seemingly_built(some)
    os.remove(os.path.join(some, "gpu", "run-embed"))
    rc, told = whole(some, 90, "--only", "models")
    assert rc == 1 and "failed embedder: run-embed was not built" in told, told
    rc, told = whole(some, 90, "--only", "models", "--lack", "embedder: no libcjson")
    assert rc == 0 and "skipped embedder" in told, told
    rc, told = whole(some, 90, "--only", "models", "--lack", "embedder: no libcjson", "--fault", "build")
    assert rc == 1, told


def test_peers_take_what_they_are_told(_):
    """the real ones, which say here that there is no GPU or no torch"""
    class options:
        build, python = "build", sys.executable
    for rule in gpu_steps.RULES:
        if rule.peer and rule.peer[0] == "torch":
            step = gpu_steps.peer_step(rule, options, "device", "models")
            p = subprocess.run(step.argv, capture_output=True, text=True, env=dict(os.environ, CUDA_VISIBLE_DEVICES=""))
            assert p.returncode == 0 and gpu_steps.judge_peer(p.returncode, p.stdout, 0)[0] == SKIPPED, p.stdout + p.stderr


def test_every_test_has_a_rule(_):
    """what tests/gpu/ and the rooms hold now"""
    names = ["tests/nn/x.c x", "tests/gpu/check_device.c device_x", "tests/gpu/check_models.c model_x", "tests/gpu/check_models.c packed_x", "tests/gpu/time_models.c time_x",
             "tests/gpu/time_kernels.c time_x", "tests/gpu/time_ready.c time_ready_x", "tests/gpu/time_encoder.c time_encoder", "tests/generate/x.c x", "tests/embed/x.c x"]
    for name in names:
        assert any(r.tests and r.tests.search(name) for r in gpu_steps.RULES), name
    for r in gpu_steps.RULES:
        assert r.needs < r.most <= 240 and set(r.part.split()) <= set(gpu_steps.PARTS), r.title


def test_emulated_figures_reach_nothing(_):
    line = dict(work="prompt", table="host", model="1.5b", type="Q4_K", n=2048, bytes=1.0, flops=1.0, ms=1.0, tokens_per_s=1.0)
    page = gpu_report.report(gpu_report.Figures([line]))
    assert "| prompt of 2048 tokens, 1.5b Q4_K: first token | not measured |" in page, page


def main():
    passed = failed = 0
    for name, test in sorted(globals().items()):
        if not name.startswith("test_") or (len(sys.argv) > 1 and sys.argv[1] not in name):
            continue
        argv = sys.argv
        with tempfile.TemporaryDirectory() as folder:
            try:
                test(folder)
                passed += 1
            except Exception:
                failed += 1
                print(f"FAIL {name}")
                traceback.print_exc()
        sys.argv = argv
    print(f"{passed} passed, {failed} failed, 0 skipped")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
