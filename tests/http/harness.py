"""A running `footnote serve` with a data folder of its own, and the little HTTP the tests need."""
import http.client, json, os, re, shutil, signal, socket, subprocess, tempfile, time

FOOTNOTE = None      # path of the program; set by run.py
TESTS = []


class Skip(Exception):
    pass


def test(fn=None, *, own=False, **conf):
    """Registers a test. Those without settings share one service; own=True or settings start one for the test."""
    def put(f):
        TESTS.append((f, own or bool(conf), {k.replace("__", "."): v for k, v in conf.items()}))
        return f
    return put(fn) if fn else put


def model(name):
    for d in (os.environ.get("FOOTNOTE_MODELS"), os.path.join(os.environ.get("XDG_CACHE_HOME", os.path.expanduser("~/.cache")), "footnote/models")):
        if d and os.path.exists(os.path.join(d, name)):
            return os.path.join(d, name)
    return None


SMALL = "smollm2-135m-instruct-q4_1.gguf"


def need_generator():
    if not model(SMALL):
        raise Skip("needs " + SMALL)
    return SMALL[:-5]


class Reply:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    @property
    def text(self):
        return self.body.decode()

    @property
    def json(self):
        return json.loads(self.body)

    @property
    def error(self):
        e = self.json["error"]
        assert set(e) == {"type", "code", "message", "param"}, e
        return e


class Service:
    def __init__(self, conf=None, wait=True, args=(), listen="127.0.0.1:0", before=(), data=None):
        """before: commands that are run first; what each says is in self.said. data: a folder that is there."""
        self.top = tempfile.mkdtemp(prefix="footnote-http-")
        self.data = data or self.top + "/data"
        settings = {"generate.model": "none", "log.level": "debug", **(conf or {})}
        if model("") and "models.dir" not in settings:
            settings["models.dir"] = model("")
        with open(self.top + "/service.conf", "w") as f:
            f.write("".join(f"{k} = {v}\n" for k, v in settings.items()))
        self.said = [self.cli(*args).stdout for args in before]
        self.log = open(self.top + "/log", "w+")
        self.proc = subprocess.Popen([FOOTNOTE, "serve", "-c", self.top + "/service.conf", "--data", self.data, "--listen", listen, *args],
                                     stdout=subprocess.PIPE, stderr=self.log, text=True)
        self.first_line = self.proc.stdout.readline()
        m = re.search(r"http://(?:127\.0\.0\.1|0\.0\.0\.0):(\d+)", self.first_line)
        if not m:
            self.proc.wait(30)
            raise AssertionError(f"serve did not start: {self.first_line!r} {self.logged()}")
        self.port = int(m.group(1))
        if wait:
            self.wait_ready()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def logged(self):
        with open(self.top + "/log") as f:
            return f.read()[-3000:]

    def wait_ready(self, seconds=120):
        end = time.time() + seconds
        while time.time() < end:
            r = self.get("/readyz")
            if r.status == 200:
                return r.json
            assert r.status == 503, r.body
            time.sleep(0.05)
        raise AssertionError("not ready: " + self.logged())

    def stop(self, seconds=60):
        """SIGTERM; the exit code."""
        if self.proc.poll() is None:
            self.proc.send_signal(signal.SIGTERM)
        try:
            return self.proc.wait(seconds)
        except subprocess.TimeoutExpired:
            self.proc.kill()
            self.proc.wait()
            raise AssertionError("serve did not stop: " + self.logged())

    def close(self):
        try:
            return self.stop()
        finally:
            self.proc.stdout.close()
            self.log.close()
            shutil.rmtree(self.top, ignore_errors=True)

    def cli(self, *args, ok=(0,)):
        r = subprocess.run([FOOTNOTE, "-c", self.top + "/service.conf", "--data", self.data, *args], capture_output=True, text=True, timeout=120)
        assert r.returncode in ok, (args, r.returncode, r.stdout, r.stderr)
        return r

    # ---- requests ----
    def connect(self, timeout=60):
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)

    def ask(self, method, path, body=None, headers=None, conn=None):
        c = conn or self.connect()
        headers = dict(headers or {})
        if isinstance(body, (dict, list)):
            body = json.dumps(body).encode()
            headers.setdefault("Content-Type", "application/json")
        c.request(method, path, body, headers)
        r = c.getresponse()
        out = Reply(r.status, r.headers, r.read())
        if conn is None:
            c.close()
        assert out.headers["X-Request-Id"], out.headers
        if out.status >= 400:
            out.error
        return out

    def get(self, path, **kw):
        return self.ask("GET", path, **kw)

    def post(self, path, body, **kw):
        return self.ask("POST", path, body, **kw)

    def push(self, text, **fields):
        r = self.post("/v1/documents", {"text": text, **fields})
        assert r.status in (200, 201), r.body
        return r.json["document_id"]

    def socket(self, timeout=30):
        return socket.create_connection(("127.0.0.1", self.port), timeout)

    def metric(self, name):
        """Value of one series, 0 when it is not there."""
        for line in self.get("/metrics").text.splitlines():
            if line.startswith(name + " "):
                return float(line.split()[-1])
        return 0.0

    def settle(self, name, value, seconds=20):
        end = time.time() + seconds
        while self.metric(name) != value:
            assert time.time() < end, f"{name} stays {self.metric(name)}, wanted {value}"
            time.sleep(0.05)


def raw(method, path, body=b"", headers=""):
    return (f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{headers}" + (f"Content-Length: {len(body)}\r\n" if body else "") + "\r\n").encode() + body


def read_reply(f, head=False):
    """One reply from a socket's file: (status, headers, body), or None at its end."""
    line = f.readline()
    if not line:
        return None
    status, headers = int(line.split()[1]), {}
    while (line := f.readline()) not in (b"\r\n", b""):
        k, v = line.decode().split(":", 1)
        headers[k.strip().lower()] = v.strip()
    if headers.get("transfer-encoding") == "chunked":
        body = b""
        while (n := int(f.readline(), 16)):
            body += f.read(n)
            f.readline()
        f.readline()
    else:
        body = b"" if head else f.read(int(headers.get("content-length", 0)))
    return status, headers, body


def events(lines):
    """Server-sent events from an iterable of lines of bytes: (name, data) pairs."""
    name, data = None, []
    for line in lines:
        line = line.decode().rstrip("\n")
        if line.startswith("event: "):
            name = line[7:]
        elif line.startswith("data: "):
            data.append(line[6:])
        elif not line and name:
            yield name, json.loads("\n".join(data))
            name, data = None, []


def pdf(pages):
    """A PDF with a line of Latin letters on each page."""
    n = len(pages)
    objects = ["<< /Type /Catalog /Pages 2 0 R >>",
               f"<< /Type /Pages /Count {n} /Kids [{' '.join(f'{4 + 2 * i} 0 R' for i in range(n))}] >>",
               "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>"]
    for i, line in enumerate(pages):
        draw = f"BT /F1 18 Tf 60 700 Td ({line}) Tj ET"
        objects.append(f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents {5 + 2 * i} 0 R /Resources << /Font << /F1 3 0 R >> >> >>")
        objects.append(f"<< /Length {len(draw)} >>\nstream\n{draw}\nendstream")
    out, at = b"%PDF-1.4\n", []
    for i, body in enumerate(objects):
        at.append(len(out))
        out += f"{i + 1} 0 obj\n{body}\nendobj\n".encode()
    table = "".join(f"{x:010d} 00000 n \n" for x in at)
    return out + (f"xref\n0 {len(at) + 1}\n0000000000 65535 f \n{table}trailer\n<< /Size {len(at) + 1} /Root 1 0 R >>\n"
                  f"startxref\n{len(out)}\n%%EOF\n").encode()


def multipart(parts):
    """Body and content type of a form; parts: (field, file name or None, bytes)."""
    mark = "x-----" + os.urandom(8).hex()
    out = b""
    for field, name, data in parts:
        where = f'form-data; name="{field}"' + (f'; filename="{name}"' if name is not None else "")
        out += f"--{mark}\r\nContent-Disposition: {where}\r\nContent-Type: application/octet-stream\r\n\r\n".encode() + data + b"\r\n"
    return out + f"--{mark}--\r\n".encode(), f"multipart/form-data; boundary={mark}"
