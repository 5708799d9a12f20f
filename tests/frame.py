"""What the scripts that try the program on folders of their own share: a folder with settings and the command line run on
it, tests by name, and the count at the end. Usage of each: SCRIPT FOOTNOTE [PART OF A NAME...]; 2: no test has that name.
FOOTNOTE_TALK=1 tells the seconds of each."""
import json, os, shutil, subprocess, sys, tempfile, time, traceback

FOOTNOTE = os.path.abspath(sys.argv[1])
TESTS = []


class Skip(Exception):
    pass


def test(fn):
    TESTS.append(fn)
    return fn


class Box:
    """A folder of files, a data folder, and the program run on them; with settings of its own where fixed is not None."""
    fixed = None                         # lines of service.conf that every test of the script has

    def __init__(self):
        self.top = os.path.realpath(tempfile.mkdtemp(prefix="footnote-test-"))
        self.docs, self.data, self.conf = f"{self.top}/docs", f"{self.top}/data", f"{self.top}/service.conf"
        os.makedirs(self.docs)
        if self.fixed is not None:
            self.settings()

    def settings(self, **kv):
        with open(self.conf, "w") as f:
            f.write(self.fixed + "".join(f"{k.replace('__', '.')} = {v}\n" for k, v in kv.items()))

    def write(self, name, text):
        path = f"{self.docs}/{name}"
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as f:
            f.write(text if isinstance(text, bytes) else text.encode())
        return path

    def run(self, *args, ok=(0,), cwd=None, env=None):
        conf = ("-c", self.conf) if self.fixed is not None else ()
        r = subprocess.run([FOOTNOTE, *conf, "--data", self.data, *args], capture_output=True, text=True, timeout=300, cwd=cwd or self.top,
                           env={**os.environ, **(env or {})})
        if ok is not None and r.returncode not in ok:
            raise AssertionError(f"{args} exits {r.returncode}, wanted {ok}\n{r.stdout[-4000:]}{r.stderr[-4000:]}")
        return r

    def json(self, *args, ok=(0,), env=None):
        return [json.loads(line) for line in self.run("--json", *args, ok=ok, env=env).stdout.splitlines()]


def main(box=Box):
    """Runs the tests that the command line asks for, each with a box of its own. Does not return."""
    passed = failed = skipped = 0
    wanted = sys.argv[2:]
    unknown = [w for w in wanted if not any(w in fn.__name__ for fn in TESTS)]
    if unknown:
        print("no test is called " + ", ".join(unknown), file=sys.stderr)
        sys.exit(2)
    for fn in TESTS:
        if wanted and not any(w in fn.__name__ for w in wanted):
            continue
        b, began = box(), time.monotonic()
        try:
            fn(b)
            passed += 1
        except Skip as why:
            skipped += 1
            print(f"skip {fn.__name__}: {why}")
        except Exception:
            failed += 1
            print(f"FAIL {fn.__name__}")
            traceback.print_exc(file=sys.stdout)
        finally:
            shutil.rmtree(b.top, ignore_errors=True)
        if os.environ.get("FOOTNOTE_TALK"):
            print(f"{fn.__name__}: {time.monotonic() - began:.1f} s", flush=True)
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    sys.exit(failed > 0)
