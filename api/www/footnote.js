/* footnote.js: the page's beginning: which view the address asks for, keys that work everywhere, the state of the
 * service, the access key. */
import { collection, events, key_ask, key_asker, key_get, key_set, state_get } from "./calls.js";
import { $, count, dialog_open, tell } from "./parts.js";
import { place_go, place_href, place_read } from "./place.js";
import { ask_begin, ask_show } from "./ask.js";
import { assist_begin } from "./assist.js";
import { documents_begin, documents_caller, documents_load } from "./documents.js";
import { folders_begin, folders_load } from "./folders.js";
import { search_begin, search_show, search_store } from "./search.js";
import { source_begin, source_is_open, source_leave, source_show } from "./source.js";

const VIEWS = { search: "Search", ask: "Ask", assist: "Assist", documents: "Documents" };
const FIELDS = { search: "query", ask: "question", assist: "thread" };
const STATE_MS = 1500;
let shown = "";

/* ---- places ---- */
function place_show() {
	const place = place_read(), fresh = place.view !== shown;
	for (const name of Object.keys(VIEWS)) $("view-" + name).hidden = name !== place.view;
	for (const a of document.querySelectorAll(".top nav a")) {
		if (a.dataset.view === place.view) a.setAttribute("aria-current", "page");
		else a.removeAttribute("aria-current");
	}
	document.title = (place.view === "search" && place.q ? place.q : VIEWS[place.view]) + " · Footnote";
	if (place.view === "search") search_show(place);
	if (place.view === "ask") ask_show(place, fresh);
	if (place.view === "documents" && fresh) {
		documents_load(true);
		folders_load();
	}
	if (fresh) {
		shown = place.view;
		scrollTo(0, 0);
		if (FIELDS[place.view] && !place.doc) $(FIELDS[place.view]).focus({ preventScroll: true });
	}
	source_show(place);
}

/* Views keep what they hold: a link to a view goes back to its words. */
function on_nav(e) {
	const a = e.target.closest("a[data-view]");
	if (!a || e.ctrlKey || e.metaKey || e.shiftKey || e.button) return;
	e.preventDefault();
	const view = a.dataset.view;
	place_go({ view, q: view === "search" ? $("query").value : "", ask: "", doc: "" });
	if (FIELDS[view]) $(FIELDS[view]).focus({ preventScroll: true });
}

function on_key(e) {
	const editing = e.target.closest("input:not([type=checkbox]), textarea, select, dialog");
	if (e.defaultPrevented || e.isComposing || document.querySelector("dialog[open]")) return;
	if (e.key === "/" && !editing && !e.ctrlKey && !e.metaKey && !e.altKey) {
		e.preventDefault();
		if (source_is_open() && $("main").inert) source_leave();
		if (!FIELDS[shown]) place_go({ view: "search", q: $("query").value, doc: "" });
		$(FIELDS[shown]).focus();
		$(FIELDS[shown]).select();
	} else if (e.key === "Escape" && source_is_open()) {
		e.preventDefault();
		source_leave();
	} else if (e.key === "Escape" && document.activeElement === $("query")) {
		e.preventDefault();
		place_go({ view: "search", q: "" });
	}
}

/* ---- the service ---- */
let looking = 0, away = false;       /* away: what is shown may be from before it went, or before a key was known */

/* Who the page is for decides what it shows; how many documents there are, the service tells those who see all. */
async function state_show() {
	clearTimeout(looking);
	const key = key_get();
	let s;
	try {
		s = await state_get();
	} catch (e) {
		return lost_tell(e.message);
	}
	if (key !== key_get()) return state_show();
	const back = away;
	away = !s.caller;
	$("lost").hidden = true;
	$("key-needed").hidden = !!s.caller;
	$("key-forget").hidden = !key;
	$("state").textContent = [typeof s.documents === "number" ? count(s.documents, "document") : "",
		s.caller ? s.generator || "quotes only" : "", collection].filter(Boolean).join(" · ");
	documents_caller(s.caller, !!key);
	search_store(typeof s.documents === "number" ? s.documents : null);
	if (!s.caller) return void key_ask();
	if (back && shown === "search") search_show(place_read(), true);
	if (back && shown === "documents") {
		documents_load(true);
		folders_load();
	}
}

function lost_tell(text) {
	away = true;
	tell($("lost"), text.charAt(0).toUpperCase() + text.slice(1));
	$("lost").hidden = false;
	$("state").textContent = "";
	clearTimeout(looking);
	looking = setTimeout(state_show, STATE_MS);
}

/* ---- the key ---- */
function key_begin() {
	const dialog = $("key-dialog");
	key_asker(async () => {
		tell($("key-why"), key_get() ? "This key is not known here, or it has expired."
			: "An access key is needed. Whoever runs this service hands them out.", !!key_get());
		$("key").value = "";
		dialog.returnValue = "";
		return await dialog_open(dialog) || null;
	});
	$("key-form").addEventListener("submit", e => {
		e.preventDefault();
		dialog.close($("key").value.trim());
	});
	$("key-cancel").addEventListener("click", () => dialog.close(""));
	$("key-enter").addEventListener("click", () => key_ask());
	$("key-forget").addEventListener("click", () => {
		key_set(null);
		location.reload();
	});
	events.addEventListener("key", state_show);
}

function changed() {
	state_show();
	documents_load(true);
}

search_begin();
ask_begin();
assist_begin();
source_begin();
documents_begin(state_show);
folders_begin(changed);
key_begin();
addEventListener("place", place_show);
addEventListener("popstate", place_show);
addEventListener("keydown", on_key);
$("skip").addEventListener("click", e => {      /* its address would be no place */
	e.preventDefault();
	$("main").focus();
});
document.querySelector(".top nav").addEventListener("click", on_nav);
events.addEventListener("lost", () => lost_tell("The service does not answer. This page waits for it."));
addEventListener("offline", state_show);
addEventListener("online", state_show);
if (!location.hash) history.replaceState(null, "", place_href({ ...place_read(), view: "search" }));
place_show();
state_show();
