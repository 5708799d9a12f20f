/* place.js: where one is, kept in the address: #q=words, #ask=question, #documents, and beside any of them
 * &doc=ID&start=N&end=N (&page=, &rev=): the source that is open.
 *
 * Every change of place goes through the address, so that links, reload, back and forward all work alike. What an
 * address cannot hold (a title known before it is fetched, the neighbours of a footnote) is remembered beside it. */

const number = v => /^\d{1,10}$/.test(v || "") ? Number(v) : 0;

export function place_read() {
	const h = new URLSearchParams(location.hash.slice(1));
	return {
		view: h.has("ask") ? "ask" : h.has("assist") ? "assist" : h.has("documents") ? "documents" : "search",
		q: h.get("q") || "", ask: h.get("ask") || "",
		doc: h.get("doc") || "", start: number(h.get("start")), end: number(h.get("end")),
			page: number(h.get("page")), rev: number(h.get("rev")),
	};
}

export function place_href(p) {
	const h = new URLSearchParams();
	if (p.view === "search" && (p.q || !p.doc)) h.set("q", p.q);
	if (p.view === "ask") h.set("ask", p.ask);
	for (const view of ["documents", "assist"]) if (p.view === view) h.set(view, "");
	if (p.doc) {
		h.set("doc", p.doc);
		for (const k of ["start", "end", "page", "rev"]) if (p[k]) h.set(k, p[k]);
	}
	return "#" + h.toString().replace(/^(ask|assist|documents)=(?=&|$)/, "$1");
}

/* To the place changed by `change`; replace: without a step back to where one was. */
export function place_go(change, replace) {
	const href = place_href({ ...place_read(), ...change });
	if (href === location.hash) return;
	history[replace ? "replaceState" : "pushState"](null, "", href);
	dispatchEvent(new Event("place"));
}

const remembered = new Map();
export const place_name = p => [p.doc, p.start, p.end].join(":");
export const context_of = p => remembered.get(place_name(p));

/* The place of a hit or citation x; context: { x, list, at, what, marks }. */
export function place_of(x) {
	return { doc: x.document_id || x.id, start: x.start || 0, end: x.end || 0, page: x.page || 0,
		rev: x.end ? x.revision || 0 : 0 };
}

export function source_go(x, context, replace) {
	const p = place_of(x);
	if (remembered.size > 500) remembered.clear();
	remembered.set(place_name(p), { x, ...context });
	place_go(p, replace);
}

/* Makes an <a> open the source of x here, and share or open it elsewhere as any link does. */
export function source_link(a, x, context) {
	a.href = place_href({ ...place_read(), ...place_of(x) });
	a.dataset.place = place_name(place_of(x));
	a.addEventListener("click", e => {
		if (e.ctrlKey || e.metaKey || e.shiftKey || e.button) return;
		e.preventDefault();
		source_go(x, context());
	});
	return a;
}
