/* source.js: the document beside the answer, opened at the quoted words.
 *
 * Only what is near the quote is fetched; scrolling near an end fetches on. The text is kept as it is: a paragraph a
 * line, an empty one for an empty line, so that pieces can be joined at any code point. On narrow screens the pane
 * covers the page and what lies below is inert. */
import { call, collection, document_url, get_json, text_get, url } from "./calls.js";
import { $, copy, count, make, marked, named, tell, where_make } from "./parts.js";
import { context_of, place_go, place_name, place_read, source_go } from "./place.js";

const BEFORE = 3000, AFTER = 6000;   /* code points shown around the quote at first */
const MORE = 12000;                  /* and fetched at a time */
const NEAR_PX = 900;                 /* from an end: fetch on */
const WIDE = matchMedia("(min-width: 64rem)");
const SHOWN = { pdf: "application/pdf", txt: "text/plain", md: "text/plain" };   /* shown, never run */

/* What is open: the place, its context, the document once known, the code points [from, to) that are on the page. */
let open = null;
let opener = null;

/* ---- text ---- */
/* Paragraphs of a piece: a list of lists of nodes, one for each line. */
function lines_make(chars, at) {
	const out = [];
	for (let i = 0; i <= chars.length;) {
		let end = chars.indexOf("\n", i);
		if (end < 0) end = chars.length;
		out.push(marked(chars.slice(i, end), at + i, open.marks));
		i = end + 1;
	}
	return out;
}

/* A short line alone, with a longer paragraph after it: a heading, to the eye. It changes nothing but the letter. */
function heads_mark(paragraphs) {
	for (const p of paragraphs) {
		const text = p.textContent, before = p.previousElementSibling, gap = p.nextElementSibling,
			next = gap && gap.nextElementSibling;
		if (text && text.length <= 70 && (!before || !before.textContent) && next && !gap.textContent &&
			next.textContent.length > 30 &&
			/[\p{L}\p{N})?]$/u.test(text) && !/^[-•*–]|\|/.test(text) &&
				!/^\p{Ll}/u.test(text)) p.classList.add("head");
	}
}

function piece_put(chars, at, forward) {
	const body = $("source-text"), lines = lines_make(chars, at), edge = forward ? body.lastElementChild
		: body.firstElementChild;
	const added = [];
	if (edge) {
		const joined = forward ? lines.shift() : lines.pop();
		if (forward) edge.append(...joined);
		else edge.prepend(...joined);
		added.push(edge);
	}
	const made = lines.map(nodes => make("p", {}, ...nodes));
	if (forward) body.append(...made);
	else body.prepend(...made);
	heads_mark(added.concat(made));
}

function place_tell() {
	const o = open, total = o.doc ? o.doc.chars : 0;
	let text = total ? count(total, "character") : "";
	if (!$("source-page").hidden)
		text = !o.place.page || !picture.page ? "" : picture.page === o.place.page ? "This is the page that was cited"
			: "Cited: page " + o.place.page;
	else if (o.place.end > o.place.start && total)
		text = "At " + Math.min(100, Math.round(o.place.start / total * 100)) + " % of " + text;
	$("source-place").textContent = text;
}

async function grow(forward) {
	const mine = open, scroller = $("source-body");
	if (!mine || mine.busy || (forward ? mine.at_end : mine.from === 0)) return;
	const from = forward ? mine.to : Math.max(0, mine.from - MORE), to = forward ? mine.to + MORE : mine.from;
	mine.busy = true;
	try {
		const chars = await text_get(mine.place.doc, from, to, mine.abort.signal);
		if (mine !== open) return;
		const height = scroller.scrollHeight, top = scroller.scrollTop;
		if (chars.length) piece_put(chars, from, forward);
		if (forward) {
			mine.to += chars.length;
			mine.at_end = chars.length < to - from;
		} else {
			mine.from = from;
			scroller.scrollTop = top + scroller.scrollHeight - height;
		}
	} catch (e) {
		if (mine === open) note_tell(e.message, true);
	}
	mine.busy = false;
	near_check();
}

/* Fetches on where an end of what is there is in sight. */
function near_check() {
	const s = $("source-body");
	if (!open || open.busy || !open.ready) return;
	if (s.scrollHeight - s.scrollTop - s.clientHeight < NEAR_PX && !open.at_end) grow(true);
	else if (s.scrollTop < NEAR_PX && open.from > 0) grow(false);
}

/* ---- head ---- */
function note_tell(text, bad) {
	$("source-note").hidden = !text;
	tell($("source-note"), text, bad);
}

function head_show() {
	const x = { ...(open.doc || {}), ...open.context.x }, list = open.context.list || [];
	if (open.place.page) x.page = open.place.page;
	$("source-h").textContent = open.doc || open.context.x ? named(x) : "…";
	$("source-where").replaceChildren(...where_make(x));
	$("source-steps").hidden = !list.length;
	$("source-prev").hidden = $("source-next").hidden = list.length < 2;
	if (list.length) {
		tell($("source-step"), open.context.what + " " + (open.context.at + 1) +
			(list.length > 1 ? " of " + list.length : ""));
		$("source-prev").disabled = open.context.at === 0;
		$("source-next").disabled = open.context.at === list.length - 1;
	}
	$("source-quote").hidden = open.place.end <= open.place.start;
	const here = !!open.doc && open.doc.source.startsWith("/");
	$("source-original").hidden = !here;
	$("view-page").textContent = open.place.page ? "Page " + open.place.page + ", as printed" : "As printed";
	$("source-views").hidden = !here || open.doc.type !== "pdf";
	if (open.doc && open.place.rev && open.doc.revision !== open.place.rev)
		note_tell("This document has changed since it was cited: the marked place may not be the one that was meant.");
}

/* What is marked: the quote, and more faintly the others of the same answer; in a hit the words that were found. */
function marks_make(place, context) {
	if (place.end <= place.start) return [];
	const x = context.x || {}, words = (x.highlights || []).map(([s, e]) => [s, e, "word"]);
	if (words.length) {
		const out = [];
		let at = place.start;
		for (const [s, e, name] of words) {
			if (s > at) out.push([at, s, "passage"]);
			out.push([s, e, name]);
			at = e;
		}
		return at < place.end ? out.concat([[at, place.end, "passage"]]) : out;
	}
	const rest = (context.list || []).filter(c => c.document_id === place.doc &&
		(c.end <= place.start || c.start >= place.end));
	return rest.map(c => [c.start, c.end, "other"]).concat([[place.start, place.end, "quote"]]).sort((a, b) =>
		a[0] - b[0]);
}

/* To the first found word of a hit when it stands far down in its passage, else to the beginning. */
function mark_show() {
	const body = $("source-body"), mark = body.querySelector("mark.quote, mark.word, mark.passage");
	body.scrollTop = 0;
	if (!mark) return;
	body.scrollTop = mark.getBoundingClientRect().top - body.getBoundingClientRect().top - body.clientHeight / 3;
}

function cover_set() {
	const covered = !!open && !WIDE.matches;
	for (const e of [$("main"), $("top"), $("skip"), $("foot")]) e.inert = covered;
	document.body.classList.toggle("with-source", !!open);
	document.body.classList.toggle("covered", covered);
}

/* ---- the page as it was printed ---- */
const picture = { page: 0, last: 0, abort: null };

async function page_show(page) {
	const mine = open;
	if (picture.abort) picture.abort.abort();
	picture.abort = new AbortController();
	tell($("page-number"), "Drawing page " + page + "…");
	try {
		const reply = await call(url(document_url(mine.place.doc, "/pages/" + page + ".png")),
			{ signal: picture.abort.signal });
		const data = await reply.blob();
		if (mine !== open) return;
		URL.revokeObjectURL($("page-picture").src);
		$("page-picture").src = URL.createObjectURL(data);
		$("page-picture").alt = "Page " + page + " of " + named(mine.doc);
		picture.page = page;
		$("source-page").scrollTop = 0;
	} catch (e) {
		if (mine !== open || e.name === "AbortError") return;
		if (e.status === 404 && picture.page) picture.last = picture.page;
		else note_tell(e.message, true);
	}
	tell($("page-number"), picture.page ? "Page " + picture.page : "");
	place_tell();
	$("page-before").disabled = picture.page <= 1;
	$("page-after").disabled = !picture.page || picture.page === picture.last;
}

/* Text, or the picture of its page: only files of this machine that have pages have both. */
function view_show(as_page) {
	$("view-text").setAttribute("aria-pressed", String(!as_page));
	$("view-page").setAttribute("aria-pressed", String(as_page));
	$("source-page").hidden = !as_page;
	$("source-body").hidden = as_page;
	place_tell();
	if (as_page && !picture.page) page_show(open.place.page || 1);
	if (!as_page && picture.abort) picture.abort.abort();
}

function views_begin() {
	if (picture.abort) picture.abort.abort();
	Object.assign(picture, { page: 0, last: 0, abort: null });
	URL.revokeObjectURL($("page-picture").src);
	$("page-picture").removeAttribute("src");
	$("source-views").hidden = true;
	view_show(false);
}

/* ---- open and close ---- */
async function source_open(place) {
	const context = context_of(place) || {}, first = !open;
	if (open) open.abort.abort();
	else opener = document.activeElement;
	const from = Math.max(0, place.start - BEFORE), to = Math.max(place.end, place.start) + AFTER;
	const mine = open = { place, context, marks: marks_make(place, context), doc: null, from, to, busy: false,
		ready: false, at_end: false,
		abort: new AbortController() };
	$("source").hidden = false;
	cover_set();
	note_tell("");
	views_begin();
	head_show();
	place_tell();
	if (first) $("source-h").focus({ preventScroll: true });
	try {
		const [doc, chars] = await Promise.all([get_json(document_url(place.doc), {}, mine.abort.signal),
			text_get(place.doc, from, to, mine.abort.signal)]);
		if (mine !== open) return;
		Object.assign(mine, { doc, to: from + chars.length, at_end: chars.length < to - from, ready: true });
		$("source-text").replaceChildren();
		piece_put(chars, from, true);
		head_show();
		place_tell();
		mark_show();
		near_check();
	} catch (e) {
		if (mine !== open || mine.abort.signal.aborted) return;
		$("source-text").replaceChildren();
		if (!context.x) $("source-h").textContent = "Not found";
		note_tell(e.status === 404 ? "This document is not here any more." : e.message, true);
	}
}

function source_close() {
	if (!open) return;
	open.abort.abort();
	open = null;
	$("source").hidden = true;
	$("source-text").replaceChildren();
	cover_set();
	if (opener && opener.isConnected && opener !== document.body) opener.focus();
}

export function source_show(place) {
	const same = open && place_name(open.place) === place_name(place);
	if (!place.doc) source_close();
	else if (!same) source_open(place);
	for (const a of document.querySelectorAll("a[data-place]")) {
		if (place.doc && a.dataset.place === place_name(place)) a.setAttribute("aria-current", "true");
		else a.removeAttribute("aria-current");
	}
}

export const source_is_open = () => !!open;
export const source_leave = () => place_go({ doc: "", start: 0, end: 0, page: 0, rev: 0 });

function step(by) {
	const { list, at, what } = open.context;
	if (list && list[at + by]) source_go(list[at + by], { list, at: at + by, what }, true);
}

async function quote_copy() {
	const { place, doc, context } = open;
	const quote = (await text_get(place.doc, place.start, place.end)).join("").trim(),
		page = place.page ? ", page " + place.page : "";
	const source = doc && doc.source ? " (" + doc.source + ")" : "";
	copy("“" + quote + "” — " + named(doc || context.x) + page + source, "Quote");
}

/* The file itself, through fetch because a link carries no key; what a browser could run is saved, not shown. */
async function original_open() {
	const mine = open, type = SHOWN[mine.doc.type];
	try {
		const data = await (await call(url(document_url(mine.place.doc, "/original")))).blob();
		const address = URL.createObjectURL(new Blob([data], { type: type || "application/octet-stream" }));
		if (type) open_tab(address + (mine.doc.type === "pdf" && mine.place.page ? "#page=" + mine.place.page : ""));
		else make("a", { href: address, download: mine.doc.source.split("/").pop() }).click();
		setTimeout(() => URL.revokeObjectURL(address), 60000);
	} catch (e) {
		if (mine === open) note_tell(e.message, true);
	}
}

const open_tab = address => make("a", { href: address, target: "_blank", rel: "noopener" }).click();

export function source_begin() {
	$("source-close").addEventListener("click", source_leave);
	$("view-text").addEventListener("click", () => view_show(false));
	$("view-page").addEventListener("click", () => view_show(true));
	$("page-before").addEventListener("click", () => page_show(picture.page - 1));
	$("page-after").addEventListener("click", () => page_show(picture.page + 1));
	$("source-prev").addEventListener("click", () => step(-1));
	$("source-next").addEventListener("click", () => step(1));
	$("source-quote").addEventListener("click", () => quote_copy().catch(e => note_tell(e.message, true)));
	$("source-link").addEventListener("click", () => {
		const { doc, start, end, page, rev } = place_read(), h = new URLSearchParams({ doc });
		for (const [k, v] of Object.entries({ start, end, page, rev })) if (v) h.set(k, v);
		copy(location.origin + location.pathname + (collection ? "?" + new URLSearchParams({ collection }) : "") +
			"#" + h, "Link");
	});
	$("source-original").addEventListener("click", original_open);
	$("source-body").addEventListener("scroll", near_check, { passive: true });
	WIDE.addEventListener("change", cover_set);
}
