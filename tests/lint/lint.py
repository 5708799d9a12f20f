#!/usr/bin/env python3
"""The rules of the house, checked. Usage: lint.py [ROOT]

Each rule is a function from the tree to its violations; a rule counts as one test, and so does the proof that it
fails when it should: every rule is run over a small tree that breaks just it. Only the standard library is used.
The last line is "N passed, N failed, N skipped"."""

import os
import re
import sys
import tempfile

ROOMS = ["base", "nn", "index", "embed", "generate", "ingest", "api"]

# Who may include whom: a folder of its own or one below it, or single public headers.
MAY_INCLUDE = {
    "base": ["base/"],
    "nn": ["base/", "nn/"],
    "index": ["base/", "index/"],
    "embed": ["base/", "nn/", "embed/"],
    "generate": ["base/", "nn/", "generate/"],
    "ingest": ["base/", "ingest/", "index/index.h", "embed/embed.h"],
    "api": ["base/", "api/", "index/index.h", "index/filter.h", "index/phrase.h", "embed/embed.h", "embed/reader.h", "embed/scan.h", "generate/generate.h", "generate/constrain.h", "generate/prompt.h", "ingest/ingest.h", "ingest/tool.h", "ingest/watch.h"],
}

# Headers that come neither from the C library nor from Linux, and the files that own them.
FOREIGN = [
    (r"utf8proc\.h", ["base/unicode.c"]),
    (r"openssl/.*", ["base/hash.c"]),
    (r"libstemmer\.h", ["base/words.c"]),
    (r"cjson/cJSON\.h", ["base/json.h"]),
    (r"cblas\.h", ["nn/"]),
    (r"(cuda|cublas)\w*\.h", ["nn/cuda.h"]),
    (r"lmdb\.h", ["index/store"]),
    (r"faiss/.*", ["index/faissx"]),
    (r"omp\.h", ["index/faissx"]),
    (r"md4c(-html)?\.h", ["ingest/extract_md.c"]),
    (r"gumbo\.h", ["ingest/extract_html.c"]),
    (r"seccomp\.h", ["ingest/sandbox.c"]),
    (r"archive(_entry)?\.h", ["base/zip.c"]),
    (r"libxml/.*", ["ingest/xml.c"]),
    (r"magic\.h", ["ingest/sniff.c"]),
    (r"uchardet/.*", ["ingest/charset.c"]),
    (r"gmime/.*", ["ingest/extract_eml.c"]),
    (r"csv\.h", ["ingest/extract_csv.c"]),
    (r"microhttpd\.h", ["api/server.c", "api/job.c", "api/sse.c"]),
]

SYSTEM = re.compile(r"(sys|linux|netinet|arpa|net|asm)/\w+\.h|(immintrin|cpuid|pthread|unistd|fcntl|dirent|poll|sched|signal|spawn|ftw|fnmatch"
                    r"|glob|iconv|langinfo|libgen|netdb|pwd|grp|regex|semaphore|strings|syslog|termios|dlfcn|execinfo|malloc|alloca|getopt"
                    r"|assert|complex|ctype|errno|fenv|float|inttypes|iso646|limits|locale|math|setjmp|signal|stdalign|stdarg|stdatomic"
                    r"|stdbool|stddef|stdint|stdio|stdlib|stdnoreturn|string|tgmath|threads|time|uchar|wchar|wctype)\.h|[a-z_]+")

BANNED = {
    "strcpy": "snprintf or a struct buf", "strcat": "a struct buf", "sprintf": "snprintf", "vsprintf": "vsnprintf", "gets": "read",
    "atoi": "strtol with its checks", "atol": "strtol with its checks", "atof": "strtod with its checks", "strtok": "strtok_r",
    "system": "posix_spawn", "popen": "posix_spawn", "fork": "posix_spawn: a fork of a threaded process inherits locks",
    "vfork": "posix_spawn", "alloca": "the arena", "abort": "an error", "assert": "an error",
}
HEAP = ["malloc", "calloc", "realloc", "free", "strdup", "strndup", "aligned_alloc", "posix_memalign", "asprintf", "vasprintf"]

LINES_MAX = 900
SOURCE = (".c", ".cc", ".h", ".cu", ".sh", ".py", ".js", ".html", ".css")
TEXT = SOURCE + (".md", ".conf", ".supp")
NOT_OURS = {".git", "data", "models", "corpora", "__pycache__", ".venv"}
DATA = ("tests/fixtures/", "tests/golden/", "tests/fuzz/")
# Put together here so that this file does not hold them.
HOSTS = re.compile("|".join(a + r"\." + b for a, b in [
    ("pypi", "org"), ("pythonhosted", "org"), ("debian", "org/debian"), ("deb", "debian"), ("security", "debian"),
    ("snapshot", "debian"), ("registry", "npmjs"), ("proxy", "golang"), ("crates", "io")]))
MACHINE = re.compile(r"(?<![\w./-])/(root|work|home)" + r"/[A-Za-z]")


class Tree:
    """The files of the project: paths from the root, with slashes, and their text."""

    def __init__(self, root):
        self.root, self.files, self.texts = root, [], {}
        for folder, names, files in os.walk(root):
            names[:] = sorted(n for n in names if n not in NOT_OURS and n != "build" and not n.startswith("build-"))
            for name in sorted(files):
                self.files.append(os.path.relpath(os.path.join(folder, name), root).replace(os.sep, "/"))

    def text(self, path):
        if path not in self.texts:
            with open(os.path.join(self.root, path), encoding="utf-8", errors="replace", newline="") as f:
                self.texts[path] = f.read()
        return self.texts[path]

    def ending(self, *endings):
        return [p for p in self.files if p.endswith(endings) and not p.startswith(DATA)]

    def code(self):
        """C and C++ of the rooms."""
        return [p for p in self.ending(".c", ".cc", ".h", ".cu") if p.split("/")[0] in ROOMS]


def bare(text):
    """C without comments and without what stands in quotes; lines stay where they are."""
    def blank(m):
        s = m.group(0)
        return (s[0] + s[-1] if s[0] in "\"'" else " ") + "\n" * s.count("\n")
    return re.sub(r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', blank, text, flags=re.S)


def includes(tree, path):
    for n, line in enumerate(tree.text(path).splitlines(), 1):
        m = re.match(r'\s*#\s*include\s*([<"])([^>"]+)[>"]', line)
        if m:
            yield n, m.group(1), m.group(2)


def rule_rooms(tree):
    """rooms include only what lies below them"""
    for path in tree.code():
        room = path.split("/")[0]
        for n, kind, name in includes(tree, path):
            if kind != '"':
                continue
            if name not in tree.files:
                yield f"{path}:{n}: no file {name} (paths are from the root)"
            elif not any(name.startswith(p) if p.endswith("/") else name == p for p in MAY_INCLUDE[room]):
                yield f"{path}:{n}: {room} may not include {name}"


def rule_foreign(tree):
    """foreign headers stay in the file that owns them"""
    for path in tree.code():
        for n, kind, name in includes(tree, path):
            if kind != "<":
                continue
            owners = next((o for p, o in FOREIGN if re.fullmatch(p, name)), None)
            if owners is not None:
                if not path.startswith(tuple(owners)):
                    yield f"{path}:{n}: <{name}> belongs to {', '.join(owners)}"
            elif not SYSTEM.fullmatch(name) or ("." not in name and not path.endswith(".cc")):
                yield f"{path}:{n}: <{name}> is no header that lint.py knows an owner of"


def calls(tree, paths, names):
    pattern = re.compile(r"(?<![\w.>])(" + "|".join(names) + r")\s*\(")
    for path in paths:
        for n, line in enumerate(bare(tree.text(path)).splitlines(), 1):
            for m in pattern.finditer(line):
                yield path, n, m.group(1)


def rule_banned(tree):
    """no banned function is called"""
    for path, n, name in calls(tree, tree.code(), list(BANNED)):
        yield f"{path}:{n}: {name}: use {BANNED[name]}"
    for path, n, name in calls(tree, [p for p in tree.code() if p != "api/main.c"], ["exit"]):
        yield f"{path}:{n}: {name}: return an error"


def rule_heap(tree):
    """the heap is reached through base/mem.h alone"""
    for path, n, name in calls(tree, [p for p in tree.code() if p != "base/mem.c"], HEAP):
        yield f"{path}:{n}: {name}: use base/mem.h"


def rule_length(tree):
    """no file is longer than can be read"""
    for path in tree.ending(*SOURCE):
        n = tree.text(path).count("\n")
        if n > LINES_MAX:
            yield f"{path}: {n} lines, at most {LINES_MAX}"


def rule_white_space(tree):
    """no line ends in white space or a carriage return, every file ends in a line end"""
    for path in tree.ending(*TEXT) + [p for p in ("Makefile", ".ci/run") if p in tree.files]:
        text = tree.text(path)
        for n, line in enumerate(text.split("\n"), 1):
            if line != line.rstrip():
                yield f"{path}:{n}: white space at the end of the line"
        if text and not text.endswith("\n"):
            yield f"{path}: no line end at the end of the file"


def rule_opening(tree):
    """every .c, .cc and .h opens with a comment, in the rooms one that names it"""
    for path in tree.ending(".c", ".cc", ".h", ".cu"):
        name = os.path.basename(path)
        if path.startswith("tests/"):
            if not tree.text(path).startswith("/* "):
                yield f"{path}: does not open with a comment"
        elif not re.match(r"/\* " + re.escape(name) + r":? ", tree.text(path)):
            yield f'{path}: does not open with "/* {name}: ..."'


def named_files(tree):
    """What ARCHITECTURE.md must name."""
    return [p for p in tree.files if not p.startswith(("tests/", ".")) and (p.endswith(SOURCE) or p.startswith("generate/prompts/"))]


def rule_architecture(tree):
    """ARCHITECTURE.md names every source file once, and none that is not there"""
    if "ARCHITECTURE.md" not in tree.files:
        yield "ARCHITECTURE.md is missing"
        return
    files, seen = named_files(tree), {}
    text = re.sub(r"([\w./-]+)\.\{(\w+(?:,\w+)*)\}", lambda m: " ".join(f"{m[1]}.{end}" for end in m[2].split(",")), tree.text("ARCHITECTURE.md"))
    endings = "|".join(sorted({re.escape(os.path.splitext(p)[1][1:]) for p in files} | {e[1:] for e in SOURCE}, key=len, reverse=True))
    for n, line in enumerate(text.split("\n"), 1):
        for name in re.findall(r"(?<![\w*<])[\w./-]*\w\.(?:" + endings + r")(?![\w.]*\w)", line):
            name = name.removeprefix("./")
            if name.startswith("tests/"):
                if name not in tree.files:
                    yield f"ARCHITECTURE.md:{n}: there is no {name}"
                continue
            fits = [p for p in files if p == name or p.endswith("/" + name)]
            if not fits and not any(p == name or p.endswith("/" + name) for p in tree.files):
                yield f"ARCHITECTURE.md:{n}: there is no {name}"
            for p in fits:
                seen.setdefault(p, []).append(n)
    for p in files:
        where = seen.get(p, [])
        if len(where) != 1:
            yield f"ARCHITECTURE.md: {p} is named {len(where)} times" + (f" (lines {', '.join(map(str, where))})" if where else "")


def rule_unique(tree):
    """file names are unique in the tree (but for run.py, the start of a suite)"""
    seen = {}
    for path in tree.ending(*SOURCE):
        if re.fullmatch(r"tests/\w+/run\.py", path):
            continue
        other = seen.setdefault(os.path.basename(path), path)
        if other != path:
            yield f"{path}: {other} has the same name"


def rule_places(tree):
    """no host name of a registry and no path of somebody's machine"""
    for path in tree.ending(*TEXT) + [p for p in ("Makefile", ".ci/run", "service.conf") if p in tree.files]:
        for n, line in enumerate(tree.text(path).split("\n"), 1):
            for m in list(HOSTS.finditer(line)) + list(MACHINE.finditer(line)):
                yield f"{path}:{n}: {m.group(0)}"


# What nvcc alone understands, and where it may stand; elsewhere are the words of nn/cuda.h, which the host knows too.
CUDA_ALONE = re.compile(r"<<<|\b__(?:shfl|ballot|any|all|reduce)\w*_sync\b|\bcuda[A-Z]\w*\s*\(|\b__shared__\b")
CUDA_OWNERS = ("nn/cuda.h", "nn/ops_cuda.cu")


def rule_kernels(tree):
    """kernels are written in the words of nn/cuda.h, so that tests can run them on the host"""
    for path in [p for p in tree.code() if p.startswith("nn/") and p.endswith((".cu", ".h")) and p not in CUDA_OWNERS]:
        for n, line in enumerate(bare(tree.text(path)).splitlines(), 1):
            m = CUDA_ALONE.search(line)
            if m:
                yield f"{path}:{n}: {m.group(0)}: say it in the words of nn/cuda.h"


# What answers HTTP gets its reader from request_reader or caller_reader; the command line speaks for the owner.
READER_MAKERS = ("api/auth.", "api/keys.", "api/cmd_", "api/command.", "api/bench_index.", "api/bench_words.")


def rule_reader(tree):
    """whoever answers HTTP takes its reader from its caller, and makes none"""
    for path in [p for p in tree.code() if p.startswith("api/") and not p.startswith(READER_MAKERS)]:
        for n, line in enumerate(bare(tree.text(path)).splitlines(), 1):
            if re.search(r"\.all_groups\s*=|\(\s*struct reader\s*\)|struct reader \w+\s*=|->all_groups\s*=(?!=)|group_n\s*=(?!=)", line) and not (
                    path == "api/server.c" and "struct caller" in line):
                yield f"{path}:{n}: makes a reader of its own: request_reader (api/request.h) or caller_reader (api/auth.h)"


RULES = [rule_rooms, rule_foreign, rule_banned, rule_heap, rule_length, rule_white_space, rule_opening, rule_architecture, rule_unique,
         rule_places, rule_kernels, rule_reader]

# A tree that keeps every rule, and for each rule changes that break it: (rule, file, text).
GOOD = {
    "ARCHITECTURE.md": "base/ `err.{c,h}` `mem.c`, nn/ `ops.h` `cuda.h` `add.cu`, index/ `index.h` `store.c`, api/ `api/main.c`\nshout.sh answer.txt tests/test.h\n",
    "base/err.c": '/* err.c: owns errors. malloc( in words is no call */\n#include "base/err.h"\n#include <stdio.h>\nchar *s = "free(x) strcpy(y)";\n',
    "base/err.h": "/* err.h: errors */\n",
    "base/mem.c": "/* mem.c: owns the heap */\nvoid *f(void) { return malloc(1); }\n",
    "nn/ops.h": '/* ops.h: kernels */\n#include "base/err.h"\n',
    "nn/cuda.h": "/* cuda.h: words */\n#include <cuda_runtime.h>\n#define RUN(k) k<<<1, 32>>>()\n",
    "nn/add.cu": '/* add.cu: adds; k<<<1>>> in words is no launch */\n#include "nn/cuda.h"\nvoid f(void) { RUN(k); }\n',
    "index/index.h": "/* index.h: the store */\n",
    "index/store.c": '/* store.c: owns LMDB */\n#include "index/index.h"\n#include <lmdb.h>\nint g(struct x *p) { return mem_free(p), p->free(p); }\n',
    "api/main.c": '/* main.c: owns the start */\n#include "index/index.h"\nint main(void) { exit(0); }\n',
    "generate/prompts/answer.txt": "Answer.\n",
    "tools/shout.sh": "#!/bin/sh\n# shout.sh: says it\n",
    "tests/test.h": "/* test.h: tests */\n",
    "Makefile": "all:\n",
}
BROKEN = [
    (rule_rooms, "base/err.c", '/* err.c: x */\n#include "index/index.h"\n'),
    (rule_rooms, "index/store.c", '/* store.c: x */\n#include "nn/ops.h"\n'),
    (rule_rooms, "api/main.c", '/* main.c: x */\n#include "nn/ops.h"\n'),
    (rule_rooms, "nn/ops.h", '/* ops.h: x */\n#include "ops2.h"\n'),
    (rule_foreign, "index/index.h", "/* index.h: x */\n#include <lmdb.h>\n"),
    (rule_foreign, "nn/ops.h", "/* ops.h: x */\n#include <magic.h>\n"),
    (rule_foreign, "nn/ops.h", "/* ops.h: x */\n#include <vector>\n"),
    (rule_banned, "base/err.c", "/* err.c: x */\nvoid f(char *s) { strcpy(s, s); }\n"),
    (rule_banned, "base/err.c", "/* err.c: x */\nvoid f(void) { exit(1); }\n"),
    (rule_banned, "base/err.c", "/* err.c: x */\nint f(char *s) { /* a */ return atoi (s); }\n"),
    (rule_heap, "base/err.c", "/* err.c: x */\nvoid f(char *s) { free(s); }\n"),
    (rule_length, "tools/shout.sh", "# x\n" * (LINES_MAX + 1)),
    (rule_white_space, "Makefile", "all: \n"),
    (rule_white_space, "Makefile", "all:\r\n"),
    (rule_white_space, "tools/shout.sh", "x"),
    (rule_opening, "base/err.c", "int x;\n"),
    (rule_opening, "base/err.c", "/* mem.c: x */\n"),
    (rule_opening, "tests/test.h", "int x;\n"),
    (rule_architecture, "base/new.c", "/* new.c: x */\n"),
    (rule_architecture, "generate/prompts/other.txt", "x\n"),
    (rule_architecture, "ARCHITECTURE.md", GOOD["ARCHITECTURE.md"] + "and err.c again\n"),
    (rule_architecture, "ARCHITECTURE.md", GOOD["ARCHITECTURE.md"] + "and gone.c\n"),
    (rule_architecture, "ARCHITECTURE.md", GOOD["ARCHITECTURE.md"].replace("shout.sh", "")),
    (rule_unique, "tests/base/err.c", "/* err.c: x */\n"),
    (rule_places, "tools/shout.sh", "x=https://py" + "pi.org/simple\n"),
    (rule_places, "Makefile", "x = /ro" + "ot/thing\n"),
    (rule_foreign, "nn/add.cu", "/* add.cu: x */\n#include <cuda_fp16.h>\n"),
    (rule_kernels, "nn/add.cu", "/* add.cu: x */\nvoid f(void) { k<<<1, 32>>>(); }\n"),
    (rule_kernels, "nn/add.cu", "/* add.cu: x */\nvoid f(void *p) { cudaFree(p); }\n"),
    (rule_kernels, "nn/add.cu", "/* add.cu: x */\nfloat f(float v) { return __shfl_xor_sync(~0u, v, 1); }\n"),
    (rule_opening, "nn/add.cu", "int x;\n"),
    (rule_reader, "api/main.c", "/* main.c: x */\nvoid f(void) { struct reader r = { 0 }; }\n"),
    (rule_reader, "api/main.c", "/* main.c: x */\nvoid f(struct reader *r) { r->all_groups = 1; }\n"),
    (rule_reader, "api/main.c", "/* main.c: x */\nvoid f(struct request *q) { q->reader.all_groups = 1; }\n"),
    (rule_reader, "api/main.c", "/* main.c: x */\nvoid f(struct reader *r) { *r = (struct reader){ 0 }; }\n"),
]


def tree_of(files, folder):
    for path, text in files.items():
        full = os.path.join(folder, path)
        os.makedirs(os.path.dirname(full), exist_ok=True)
        with open(full, "w", encoding="utf-8", newline="") as f:
            f.write(text)
    return Tree(folder)


def broken_names(files):
    with tempfile.TemporaryDirectory(prefix="footnote-lint-") as folder:
        tree = tree_of(files, folder)
        return [rule.__name__ for rule in RULES if list(rule(tree))]


def self_test():
    """Yields what is wrong with the rules themselves: (name, complaint or None)."""
    got = broken_names(GOOD)
    yield "a good tree keeps every rule", f"broken: {got}" if got else None
    for i, (rule, path, text) in enumerate(BROKEN):
        got = broken_names({**GOOD, path: text})
        yield f"{rule.__name__} sees its case {i} ({path})", None if got == [rule.__name__] else f"broken: {got}"


def main():
    root = sys.argv[1] if len(sys.argv) > 1 else os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
    tree, passed, failed = Tree(root), 0, 0
    for rule in RULES:
        wrong = list(rule(tree))
        passed, failed = passed + (not wrong), failed + bool(wrong)
        for line in wrong:
            print(f"FAIL {line} ({rule.__doc__})")
    for name, complaint in self_test():
        passed, failed = passed + (not complaint), failed + bool(complaint)
        if complaint:
            print(f"FAIL lint.py: {name}: {complaint}")
    print(f"{passed} passed, {failed} failed, 0 skipped")
    sys.exit(1 if failed else 0)


main()
