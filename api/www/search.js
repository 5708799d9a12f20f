/* search.js: search as you type. At most one request is under way; a newer one aborts it, and what is shown stays until
 * its successor is there. The words live in the address (#q=). */
import { post } from "./calls.js";
import { $, count, make, named, snippet, tell, where_make } from "./parts.js";
import { place_go, place_href, place_read, source_link } from "./place.js";

const WAIT_MS = 90;          /* after the last key */
const STEP_MS = 2500;        /* words that stood this long are a step back in the browser's history */
const find = { timer: 0, abort: null, shown: null, cursor: null, hits: [], typed: 0 };

/* One passage; `hits` is the list it stands in, so that the source can go on to the next. */
export function hit_make(h, hits) {
	const link = source_link(make("a", { className: "hit-link" }, named(h)), h,
		() => ({ list: hits(), at: hits().indexOf(h), what: "Passage" }));
	return make("li", { className: "hit" }, make("h3", {}, link), make("p", { className: "facts" }, ...where_make(h)),
		make("p", { className: "text" }, ...snippet(h)));
}

function empty_show(kind, words) {
	const box = $("search-empty");
	box.hidden = !kind;
	if (kind === "none")
		box.replaceChildren(make("p", { className: "lead" }, "Nothing found for “" + words + "”."),
			make("p", {}, "Try other or fewer words, or ask a question."));
	else if (kind === "store")
		box.replaceChildren(make("p", { className: "lead" }, "Nothing to search yet."),
			make("p", {}, make("a", { href: "#documents" }, "Add documents"),
				" and they can be searched seconds later."));
	else if (kind === "start")
		box.replaceChildren(make("p", { className: "lead" }, "Find the passage, read it in its place."),
			make("p", {}, "Type a few words or a whole question. Each hit opens the document where it stands."));
}

let documents = null;        /* how many there are; null: not known */
export function search_store(n) {
	documents = n;
	if (!place_read().q) empty_show(n === 0 ? "store" : "start");
}

function none_show() {
	find.hits = [];
	find.shown = "";
	$("results").replaceChildren();
	$("results").classList.remove("stale");
	$("results-more").hidden = $("search-ask").hidden = true;
	tell($("search-status"), "");
	empty_show(documents === 0 ? "store" : "start");
}

function found_show(words, found, more) {
	const items = found.hits.map(h => hit_make(h, () => find.hits));
	const ms = Math.max(1, Math.round(found.timings_ms.total)), places = [...$("results").children];
	const at = places.findIndex(li => li.contains(document.activeElement));
	find.hits = more ? find.hits.concat(found.hits) : found.hits;
	find.cursor = found.next_cursor;
	find.shown = words;
	if (more) {
		$("results").append(...items);
		if (items.length) items[0].querySelector("a").focus();
	} else {
		$("results").replaceChildren(...items);
		if (at >= 0 && items.length) items[Math.min(at, items.length - 1)].querySelector("a").focus();
	}
	$("results-more").hidden = !found.next_cursor;
	$("search-ask").hidden = false;
	$("search-ask").href = place_href({ view: "ask", ask: words });
	empty_show(find.hits.length ? "" : documents === 0 ? "store" : "none", words);
	tell($("search-status"), find.hits.length ? count(found.total, "result") + " in " + ms + " ms"
		: "No results in " + ms + " ms");
}

async function search_run(more) {
	const words = place_read().q.trim();
	clearTimeout(find.timer);
	if (find.abort) find.abort.abort();
	if (!words) return none_show();
	const mine = find.abort = new AbortController(), body = { query: words, k: 10 };
	if (more) body.cursor = find.cursor;
	$("results").classList.add("stale");
	$("view-search").setAttribute("aria-busy", "true");
	if (find.shown === null || find.shown === "") tell($("search-status"), "Searching…");
	try {
		found_show(words, await (await post("/v1/search", body, mine.signal)).json(), more);
	} catch (e) {
		if (mine.signal.aborted) return;
		tell($("search-status"), e.message, true);
	}
	if (find.abort === mine) {
		$("results").classList.remove("stale");
		$("view-search").removeAttribute("aria-busy");
	}
}

/* The address says what is searched for; called whenever it changed, and when the service is back. */
export function search_show(place, again) {
	if ($("query").value.trim() !== place.q.trim()) $("query").value = place.q;
	if (again || find.shown !== place.q.trim()) {
		clearTimeout(find.timer);
		find.timer = setTimeout(() => search_run(false), Date.now() - find.typed < WAIT_MS ? WAIT_MS : 0);
	}
}

function on_type() {
	const now = Date.now(), before = place_read().q;
	place_go({ view: "search", q: $("query").value }, !before || now - find.typed < STEP_MS);
	find.typed = now;
}

/* ↓ and ↑ go from the words through the hits and back. */
function on_key(e) {
	const links = [...$("results").querySelectorAll(".hit-link")], at = links.indexOf(document.activeElement);
	const inside = at >= 0 || document.activeElement === $("query");
	let to = null;
	if (!inside || e.ctrlKey || e.metaKey || e.altKey) return;
	if (e.key === "ArrowDown") to = links[at + 1] || $("results-more");
	else if (e.key === "ArrowUp" && at >= 0) to = links[at - 1] || $("query");
	else if (e.key === "Home" && at >= 0) to = links[0];
	else if (e.key === "End" && at >= 0) to = links[links.length - 1];
	if (!to || to.hidden) return;
	e.preventDefault();
	to.focus();
	to.scrollIntoView({ block: "nearest" });
}

export function search_begin() {
	$("query").addEventListener("input", on_type);
	$("view-search").addEventListener("keydown", on_key);
	$("search-form").addEventListener("submit", e => {
		const first = $("results").querySelector(".hit-link");
		e.preventDefault();
		if (find.shown === place_read().q.trim() && first) first.click();
		else search_run(false);
	});
	$("results-more").addEventListener("click", () => search_run(true));
}
