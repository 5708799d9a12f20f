/* footnote.js: the page. Three views (ask, search, documents) and a pane with the source beside them.
 *
 * Text that came from documents, questions or models only ever enters the page through textContent. Offsets are code
 * points, so texts are cut as arrays of code points. Every view has at most one request under way; a newer one aborts it. */
"use strict";

const $ = id => document.getElementById(id);
const collection = new URLSearchParams(location.search).get("collection");
const WINDOW = 1800;      /* code points of source shown around a quote */
const MORE = 6000;        /* and added by a click */

function make(tag, props, ...children) {
	const e = document.createElement(tag);
	for (const [k, v] of Object.entries(props || {})) {
		if (k.includes("-")) e.setAttribute(k, v);
		else e[k] = v;
	}
	e.append(...children);
	return e;
}

function url(path, query) {
	const q = new URLSearchParams(query || {});
	if (collection) q.set("collection", collection);
	const s = q.toString();
	return s ? path + "?" + s : path;
}

async function failure(reply) {
	try {
		return (await reply.json()).error.message;
	} catch {
		return "the service answered " + reply.status;
	}
}

async function call(path, options) {
	const reply = await fetch(path, options);
	if (!reply.ok) throw new Error(await failure(reply));
	return reply;
}

function post(path, body, signal) {
	if (collection) body.collection = collection;
	return call(path, { method: "POST", signal, headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });
}

function tell(element, text, bad) {
	element.textContent = text;
	element.classList.toggle("bad", !!bad);
}

const where = x => [x.heading, x.page ? "page " + x.page : "", x.source].filter(Boolean).join(" · ");
const named = x => x.title || x.source || x.document_id || x.id;

/* ---- views ---- */
const views = ["ask", "search", "documents"];

function view_show() {
	const wanted = location.hash.slice(1);
	const name = views.includes(wanted) ? wanted : "ask";
	for (const v of views) $("view-" + v).hidden = v !== name;
	for (const a of document.querySelectorAll(".top nav a")) {
		if (a.hash === "#" + name) a.setAttribute("aria-current", "page");
		else a.removeAttribute("aria-current");
	}
	scrollTo(0, 0);
	if (name === "documents") documents_load(true);
	else $(name === "ask" ? "question" : "query").focus({ preventScroll: true });
}

async function state_show() {
	try {
		const reply = await fetch("/readyz");
		const s = await reply.json();
		if (reply.ok) {
			$("state").textContent = s.documents.toLocaleString() + (s.documents === 1 ? " document" : " documents") + " · " +
				(s.generator || "quotes only: no generator") + (collection ? " · collection " + collection : "");
			return;
		}
		$("state").textContent = s.error.message;
	} catch {
		$("state").textContent = "the service does not answer";
	}
	setTimeout(state_show, 1500);
}

/* ---- the source pane ---- */
const pane = { doc: null, from: 0, to: 0, start: 0, end: 0, chars: 0, opener: null, ticket: 0 };

async function text_fetch(id, start, end) {
	const reply = await call(url("/v1/documents/" + encodeURIComponent(id) + "/text", { start, end }));
	return Array.from(await reply.text());
}

/* Opens document x at its code points [start, end); with an empty range, at its beginning. */
async function source_open(x, start, end, opener) {
	const id = x.document_id || x.id, ticket = ++pane.ticket;
	for (const b of document.querySelectorAll(".fn[aria-pressed=true]")) b.setAttribute("aria-pressed", "false");
	if (opener && opener.classList.contains("fn")) opener.setAttribute("aria-pressed", "true");
	const from = Math.max(0, start - WINDOW), to = end > start ? end + WINDOW : start + MORE;
	$("source").hidden = false;
	$("columns").classList.add("open");
	$("source-h").textContent = named(x);
	$("source-where").textContent = where(x);
	const body = $("source-text");
	body.replaceChildren();
	$("source-before").hidden = $("source-after").hidden = true;
	try {
		const chars = await text_fetch(id, from, to);
		if (ticket !== pane.ticket) return;
		Object.assign(pane, { doc: x, id, from, to: from + chars.length, start, end, opener });
		body.append(chars.slice(0, start - from).join(""));
		if (end > start) body.append(make("mark", { id: "quote", tabIndex: -1 }, chars.slice(start - from, end - from).join("")));
		body.append(chars.slice(Math.max(start, end) - from).join(""));
		$("source-before").hidden = from === 0;
		$("source-after").hidden = chars.length < to - from;
		const quote = $("quote");
		if (quote) {
			quote_show(quote);
			quote.focus({ preventScroll: true });
		} else {
			$("source-h").focus();
		}
	} catch (e) {
		if (ticket === pane.ticket) body.append(make("p", { className: "bad" }, e.message));
	}
}

/* Beside the answer the pane scrolls by itself and the page stays; below it the page scrolls. */
function quote_show(quote) {
	const box = $("source-body");
	if (getComputedStyle(box).overflowY === "auto")
		box.scrollTop += quote.getBoundingClientRect().top - box.getBoundingClientRect().top - box.clientHeight / 3;
	else
		quote.scrollIntoView({ block: "center" });
}

async function source_grow(forward) {
	const ticket = pane.ticket, body = $("source-text"), scroller = $("source-body");
	const from = forward ? pane.to : Math.max(0, pane.from - MORE), to = forward ? pane.to + MORE : pane.from;
	try {
		const chars = await text_fetch(pane.id, from, to);
		if (ticket !== pane.ticket) return;
		if (forward) {
			body.append(chars.join(""));
			pane.to += chars.length;
			$("source-after").hidden = chars.length < to - from;
		} else {
			const before = scroller.scrollHeight;
			body.prepend(chars.join(""));
			pane.from = from;
			$("source-before").hidden = from === 0;
			scroller.scrollTop += scroller.scrollHeight - before;
		}
	} catch (e) {
		if (ticket === pane.ticket) body.append(make("p", { className: "bad" }, e.message));
	}
}

function source_close() {
	pane.ticket++;
	$("source").hidden = true;
	$("columns").classList.remove("open");
	for (const b of document.querySelectorAll(".fn[aria-pressed=true]")) b.setAttribute("aria-pressed", "false");
	if (pane.opener && pane.opener.isConnected) pane.opener.focus();
}

/* ---- hits, as search and answers show them ---- */
function hit_text(h) {
	const chars = Array.from(h.text), out = [];
	let at = 0;
	for (const [s, e] of h.highlights || []) {
		const from = s - h.start, to = e - h.start;
		if (from < at || to > chars.length) continue;
		out.push(chars.slice(at, from).join(""), make("mark", {}, chars.slice(from, to).join("")));
		at = to;
	}
	out.push(chars.slice(at).join(""));
	return out;
}

function hit_item(h) {
	const open = make("button", { type: "button", className: "link" }, named(h));
	open.addEventListener("click", () => source_open(h, h.start, h.end, open));
	return make("li", {}, make("h3", {}, open), make("p", { className: "facts" }, where(h)),
		make("p", { className: "text" }, ...hit_text(h)));
}

/* ---- ask ---- */
let asking = null;       /* AbortController of the question under way */

/* Events of a stream: calls on(name, data) for each. */
async function events_read(body, on) {
	const reader = body.pipeThrough(new TextDecoderStream()).getReader();
	let rest = "";
	for (;;) {
		const { value, done } = await reader.read();
		if (done) return;
		rest += value;
		let cut;
		while ((cut = rest.indexOf("\n\n")) >= 0) {
			let name = "message";
			const data = [];
			for (const line of rest.slice(0, cut).split("\n")) {
				if (line.startsWith("event: ")) name = line.slice(7);
				else if (line.startsWith("data: ")) data.push(line.slice(6));
			}
			rest = rest.slice(cut + 2);
			if (data.length) on(name, JSON.parse(data.join("\n")));
		}
	}
}

/* A sentence with its marks as buttons; only numbers that have a citation are marks. */
function sentence_make(text, notes) {
	const out = make("span", { className: "sentence" });
	let at = 0;
	for (const m of text.matchAll(/\[(\d+)\]/g)) {
		const c = notes.get(Number(m[1]));
		if (!c) continue;
		out.append(text.slice(at, m.index), fn_make(c));
		at = m.index + m[0].length;
	}
	out.append(text.slice(at));
	return out;
}

function fn_make(c) {
	const b = make("button", { type: "button", className: "fn", title: c.quote, "aria-pressed": "false",
		"aria-label": "Footnote " + c.n + ", " + named(c) }, String(c.n));
	b.addEventListener("click", () => source_open(c, c.start, c.end, b));
	return b;
}

function note_make(c) {
	const open = make("button", { type: "button", className: "link" }, named(c));
	open.addEventListener("click", () => source_open(c, c.start, c.end, open));
	return make("li", {}, make("span", { className: "n" }, String(c.n)),
		make("span", {}, make("q", {}, c.quote), " — ", open, c.page ? ", page " + c.page : ""));
}

function facts_make(a) {
	const t = a.timings_ms || {}, out = [];
	if (a.status === "partial") out.push("incomplete");
	if (a.reason) out.push(a.reason);
	if (a.status !== "abstained" && a.confidence > 0) out.push("confidence " + Math.round(a.confidence * 100) + " %");
	out.push(a.style === "extractive" ? "quoted" : a.model || "");
	if (t.total) out.push((t.total / 1000).toFixed(1) + " s");
	return out.filter(Boolean).join(" · ");
}

function passages_show(list) {
	$("looked-list").replaceChildren(...list.map(hit_item));
	$("looked-h").textContent = list.length + (list.length === 1 ? " passage" : " passages") + " looked at";
	$("looked").hidden = !list.length;
}

function ask_clear() {
	for (const id of ["answer-text", "notes", "looked-list"]) $(id).replaceChildren();
	$("answer-facts").textContent = "";
	$("answer").hidden = $("looked").hidden = true;
	tell($("ask-status"), "");
}

async function ask_run(question) {
	if (asking) asking.abort();
	const mine = asking = new AbortController(), notes = new Map();
	let ended = false;
	ask_clear();
	tell($("ask-status"), "Looking for passages…");
	$("stop").hidden = false;
	try {
		const reply = await post("/v1/answers", { question, stream: true, style: $("extractive").checked ? "extractive" : "generate" }, mine.signal);
		await events_read(reply.body, (name, data) => {
			if (name === "passages") {
				passages_show(data.passages);
				tell($("ask-status"), "Reading " + data.passages.length + " passages…");
			} else if (name === "citation") {
				notes.set(data.n, data);
				$("notes").append(note_make(data));
			} else if (name === "delta") {
				$("answer").hidden = false;
				$("answer-text").append(sentence_make(data.text, notes));
			} else if (name === "done") {
				ended = true;
				$("answer").hidden = false;
				$("notes").hidden = !data.citations.length;
				$("answer-facts").textContent = facts_make(data);
				if (data.status === "abstained") $("looked").open = true;
				tell($("ask-status"), "");
			} else if (name === "error") {
				ended = true;
				tell($("ask-status"), data.error.message, true);
			}
		});
		if (!ended) tell($("ask-status"), "The answer was cut off.", true);
	} catch (e) {
		if (mine.signal.aborted) {
			if (asking === mine) tell($("ask-status"), "Stopped.");
		} else {
			tell($("ask-status"), e.message, true);
		}
	}
	if (asking === mine) {
		asking = null;
		$("stop").hidden = true;
	}
}

/* ---- search ---- */
const finding = { timer: 0, abort: null, query: "", cursor: null };

async function search_run(more) {
	const query = $("query").value.trim();
	if (finding.abort) finding.abort.abort();
	if (!query) {
		$("results").replaceChildren();
		$("results-more").hidden = true;
		tell($("search-status"), "");
		return;
	}
	const mine = finding.abort = new AbortController(), body = { query, k: 10 };
	if (more) body.cursor = finding.cursor;
	try {
		const found = await (await post("/v1/search", body, mine.signal)).json();
		const items = found.hits.map(hit_item);
		if (more) $("results").append(...items);
		else $("results").replaceChildren(...items);
		finding.cursor = found.next_cursor;
		$("results-more").hidden = !found.next_cursor;
		tell($("search-status"), items.length ? "Best of " + found.total.toLocaleString() + " passages, in " +
			Math.max(1, Math.round(found.timings_ms.total)) + " ms" : "Nothing found.");
	} catch (e) {
		if (!mine.signal.aborted) tell($("search-status"), e.message, true);
	}
}

/* ---- documents ---- */
const listing = { cursor: null, ticket: 0 };

function document_item(d) {
	const open = make("button", { type: "button", className: "link" }, named(d));
	const remove = make("button", { type: "button", className: "quiet", "aria-label": "Delete " + named(d) }, "Delete");
	const facts = [d.source, d.type, d.chars.toLocaleString() + " characters", d.updated.slice(0, 10), d.reason];
	const item = make("li", {}, make("h3", {}, d.chunks ? open : named(d)), make("p", { className: "facts" }, facts.filter(Boolean).join(" · ")), remove);
	open.addEventListener("click", () => source_open(d, 0, 0, open));
	remove.addEventListener("click", async () => {
		if (!confirm("Delete “" + named(d) + "” from the store? The file itself stays.")) return;
		try {
			await call(url("/v1/documents/" + encodeURIComponent(d.id)), { method: "DELETE" });
			const next = item.nextElementSibling || item.previousElementSibling;
			item.remove();
			(next ? next.querySelector("button") : $("files")).focus();
			state_show();
		} catch (e) {
			tell($("documents-status"), e.message, true);
		}
	});
	return item;
}

async function documents_load(fresh) {
	const ticket = ++listing.ticket, query = { limit: 50 };
	if ($("verdict").value) query.verdict = $("verdict").value;
	if (!fresh && listing.cursor) query.cursor = listing.cursor;
	try {
		const page = await (await call(url("/v1/documents", query))).json();
		if (ticket !== listing.ticket) return;
		const items = page.documents.map(document_item);
		if (fresh) $("documents-list").replaceChildren(...items);
		else $("documents-list").append(...items);
		listing.cursor = page.next_cursor;
		$("documents-more").hidden = !page.next_cursor;
		tell($("documents-status"), fresh && !items.length ? "None." : "");
	} catch (e) {
		tell($("documents-status"), e.message, true);
	}
}

function upload_send(file, bar) {
	return new Promise((resolve, reject) => {
		const x = new XMLHttpRequest(), form = new FormData();
		form.append("file", file, file.name);
		x.open("POST", url("/v1/documents"));
		x.responseType = "json";
		x.upload.onprogress = e => { if (e.lengthComputable) bar.value = e.loaded / e.total * 0.9; };
		x.onload = () => x.response && x.response.documents ? resolve(x.response.documents[0])
			: reject(new Error(x.response && x.response.error ? x.response.error.message : "the service answered " + x.status));
		x.onerror = () => reject(new Error("the connection broke"));
		x.send(form);
	});
}

async function upload_all(files) {
	const rows = Array.from(files, file => {
		const bar = make("progress", { max: 1, value: 0, "aria-label": "Progress of " + file.name }), word = make("span", { className: "facts" }, "waiting");
		$("uploads").append(make("li", {}, make("span", {}, file.name), word, bar));
		return { file, bar, word };
	});
	for (const { file, bar, word } of rows) {
		word.textContent = "sending";
		try {
			const x = await upload_send(file, bar);
			tell(word, x.verdict + (x.reason ? ": " + x.reason : ""), x.verdict === "failed" || x.verdict === "skipped");
		} catch (e) {
			tell(word, e.message, true);
		}
		bar.remove();
	}
	documents_load(true);
	state_show();
}

/* ---- wiring ---- */
$("ask-form").addEventListener("submit", e => {
	e.preventDefault();
	const question = $("question").value.trim();
	if (question) ask_run(question);
});
$("question").addEventListener("keydown", e => {
	if (e.key === "Enter" && !e.shiftKey && !e.isComposing) {
		e.preventDefault();
		$("ask-form").requestSubmit();
	}
});
$("stop").addEventListener("click", () => asking && asking.abort());
$("search-form").addEventListener("submit", e => { e.preventDefault(); search_run(false); });
$("query").addEventListener("input", () => {
	clearTimeout(finding.timer);
	finding.timer = setTimeout(search_run, 150, false);
});
$("results-more").addEventListener("click", () => search_run(true));
$("documents-more").addEventListener("click", () => documents_load(false));
$("verdict").addEventListener("change", () => documents_load(true));
$("files").addEventListener("change", e => { upload_all(e.target.files); e.target.value = ""; });
$("drop").addEventListener("dragover", e => { e.preventDefault(); $("drop").classList.add("over"); });
$("drop").addEventListener("dragleave", () => $("drop").classList.remove("over"));
$("drop").addEventListener("drop", e => {
	e.preventDefault();
	$("drop").classList.remove("over");
	upload_all(e.dataTransfer.files);
});
$("source-close").addEventListener("click", source_close);
$("source-before").addEventListener("click", () => source_grow(false));
$("source-after").addEventListener("click", () => source_grow(true));
document.addEventListener("keydown", e => { if (e.key === "Escape" && !$("source").hidden) source_close(); });
window.addEventListener("hashchange", view_show);
view_show();
state_show();
