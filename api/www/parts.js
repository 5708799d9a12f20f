/* parts.js: what every view is made of: elements, words for figures, marked text, the clipboard.
 *
 * Text that came from documents, questions or models only ever enters the page as text: make() knows no markup.
 * Offsets are code points, so texts are cut as arrays of code points. */

export const $ = id => document.getElementById(id);

/* An element; a name with a dash or "role" is an attribute, every other a property. Children are nodes or text. */
export function make(tag, props, ...children) {
	const e = document.createElement(tag);
	for (const [k, v] of Object.entries(props || {})) {
		if (k.includes("-") || k === "role") e.setAttribute(k, v);
		else e[k] = v;
	}
	e.append(...children.filter(c => c !== null && c !== undefined && c !== ""));
	return e;
}

export function tell(element, text, bad) {
	element.textContent = text;
	element.classList.toggle("bad", !!bad);
}

export const count = (n, one, many) => n.toLocaleString("en") + " " + (n === 1 ? one : many || one + "s");

export function bytes(n) {
	for (const [unit, size] of [["GB", 1e9], ["MB", 1e6], ["kB", 1e3]])
		if (n >= size) return (n / size).toFixed(n < size * 10 ? 1 : 0) + " " + unit;
	return n + " B";
}

export const named = x => x.title || (x.source || "").split("/").pop() || x.document_id || x.id;

/* The end of a path, which is what tells one from another; the whole is in the tooltip. */
export function path_make(source) {
	const parts = source.split("/");
	const short = source.startsWith("/") && parts.length > 4 ? "…/" + parts.slice(-3).join("/") : source;
	return make("span", { className: "path", title: source }, short);
}

/* Where something stands, as nodes with dots between: heading, page, path. */
export function where_make(x) {
	const out = [], put = node => out.push(...(out.length ? [" · ", node] : [node]));
	const crumbs = (x.heading || "").split(" > ").filter((c, i) => c && (i || c !== x.title));   /* title: told above */
	if (crumbs.length) put(make("span", { className: "crumbs" }, crumbs.join(" › ")));
	if (x.page) put(make("span", { className: "page" }, "page " + x.page));
	if (x.source) put(path_make(x.source));
	return out;
}

/* Nodes with <mark> where ranges lie. chars stand at code point `at`; ranges: [start, end, class], ascending, apart. */
export function marked(chars, at, ranges) {
	const out = [];
	let from = 0;
	for (const [start, end, name] of ranges) {
		const s = Math.max(start - at, from), e = Math.min(end - at, chars.length);
		if (e <= s) continue;
		if (s > from) out.push(chars.slice(from, s).join(""));
		out.push(make("mark", { className: name || "" }, chars.slice(s, e).join("")));
		from = e;
	}
	if (from < chars.length) out.push(chars.slice(from).join(""));
	return out;
}

/* A hit's text without the heading it begins with, which is told above, and from shortly before its first highlight, so
 * that what matters shows first. */
export function snippet(h) {
	const LEAD = 120, chars = Array.from(h.text), head = Array.from((h.heading || "").split(" > ").pop());
	const headed = head.length > 0 && head.every((c, i) => c === chars[i]) && chars[head.length] === "\n";
	const body = headed ? head.length : 0, marks = (h.highlights || []).filter(m => m[0] >= h.start + body);
	let from = body;
	while (/\s/.test(chars[from] || "x")) from++;
	const start = from;
	if (marks.length && marks[0][0] - h.start > from + 2 * LEAD) {
		from = marks[0][0] - h.start - LEAD;
		while (from > start && !/\s/.test(chars[from - 1])) from--;
	}
	const nodes = marked(chars.slice(from), h.start + from, marks);
	return (from > start ? ["… "] : []).concat(nodes.map(n => typeof n === "string" ? n.replace(/\n{2,}/g, "\n")
		: n));
}

let told_timer = 0;
export function toast(text) {
	const e = $("told");
	clearTimeout(told_timer);
	e.textContent = text;
	e.classList.add("shown");
	told_timer = setTimeout(() => e.classList.remove("shown"), 2500);
}

/* The clipboard; over plain HTTP from another machine browsers only have the old way. */
export async function copy(text, what) {
	try {
		await navigator.clipboard.writeText(text);
	} catch {
		const area = make("textarea", { value: text, className: "hidden" }), before = document.activeElement;
		document.body.append(area);
		area.select();
		const done = document.execCommand("copy");
		area.remove();
		if (before) before.focus();
		if (!done) return toast("The browser does not let this page copy.");
	}
	toast(what + " copied");
}

/* A modal dialog that resolves when it is closed; the browser keeps the focus inside and gives it back. */
export function dialog_open(dialog) {
	dialog.showModal();
	return new Promise(resolve => dialog.addEventListener("close", () => resolve(dialog.returnValue),
		{ once: true }));
}
