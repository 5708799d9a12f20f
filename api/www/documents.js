/* documents.js: what is kept: the list and its verdicts, uploads of files and folders, deleting. */
import { call, document_url, get_json, upload, url } from "./calls.js";
import { $, bytes, count, dialog_open, make, named, path_make, tell } from "./parts.js";
import { source_link } from "./place.js";

const PAGE = 50, TRIES_MAX = 8;
const VERDICTS = [["", "With text"], ["partial", "Partial"], ["skipped", "Skipped"], ["failed", "Failed"],
	["duplicate", "Duplicates"]];
const list = { verdict: "", cursor: null, abort: null, asked: false };
const uploads = { queue: [], running: false, done: 0, bad: 0 };
let on_change = () => {};

/* ---- who sees what ---- */
const sharing = { groups: null };    /* those of the key, "*", or null: there are no keys, and nothing to choose */

const readers = acl => acl.length ? acl.join(", ") : "everyone";

/* What an upload may be given: groups of the key, ticked; of a key that has every group, written. */
export function documents_caller(caller, keyed) {
	const writes = keyed && caller && caller.acl_default, box = $("upload-groups");
	sharing.groups = keyed && caller ? caller.groups : null;
	box.hidden = !writes || !sharing.groups.length;
	const is = JSON.stringify(caller);
	if (box.dataset.of === is) return;       /* what was chosen stays */
	box.dataset.of = is;
	if (box.hidden) return box.replaceChildren();
	const rest = readers(caller.acl_default), all = sharing.groups === "*";
	const fields = all ? [make("input", { type: "text", "aria-label": "Groups, with commas between", autocomplete: "off",
		placeholder: "groups, with commas between; none: " + rest })]
		: sharing.groups.map(g => make("label", { className: "check" },
			make("input", { type: "checkbox", value: g }), g));
	box.replaceChildren(make("legend", {}, "Who sees it"), ...fields, all ? ""
		: make("span", { className: "facts" }, "None ticked: new files " + rest));
}

const upload_groups = () => Array.from($("upload-groups").querySelectorAll("input:checked, input[type=text]"),
	x => x.value.trim()).filter(Boolean);

export function verdict_make(verdict) {
	return make("span", { className: "verdict " + verdict }, verdict);
}

/* ---- the list ---- */
function document_item(d) {
	const facts = [d.type, bytes(d.bytes), d.chars ? count(d.chars, "character") : "", d.updated.slice(0, 10)];
	const seen = d.acl.length || sharing.groups ? " · seen by " + readers(d.acl) : "";
	const name = d.chunks ? source_link(make("a", { className: "hit-link" }, named(d)), d, () => ({})) : named(d);
	const remove = make("button", { type: "button", className: "quiet small", "aria-label": "Delete " + named(d) },
		"Delete");
	const item = make("li", { className: "doc" },
		make("div", {}, make("h4", {}, name), make("p", { className: "facts" }, path_make(d.source)),
		make("p", { className: "facts" }, ...facts.filter(Boolean).flatMap((f, i) => [i ? " · " : "",
			make("span", { className: "fact" }, f)]), seen),
			d.reason ? make("p", { className: "reason" }, verdict_make(d.verdict), " ", d.reason) : null), remove);
	remove.addEventListener("click", () => document_delete(d, item));
	return item;
}

export async function documents_load(fresh) {
	if (list.abort) list.abort.abort();
	const mine = list.abort = new AbortController(), query = { limit: PAGE };
	list.asked = true;
	if (list.verdict) query.verdict = list.verdict;
	if (!fresh && list.cursor) query.cursor = list.cursor;
	try {
		const page = await get_json("/v1/documents", query, mine.signal), items = page.documents.map(document_item);
		if (fresh) $("documents-list").replaceChildren(...items);
		else $("documents-list").append(...items);
		list.cursor = page.next_cursor;
		$("documents-more").hidden = !page.next_cursor;
		tell($("documents-status"), $("documents-list").children.length ? "" : list.verdict ? "None."
			: "Nothing is kept yet. Drop a file above.");
	} catch (e) {
		if (!mine.signal.aborted) tell($("documents-status"), e.message, true);
	}
}

function verdicts_show() {
	$("verdicts").replaceChildren(...VERDICTS.map(([verdict, text]) => {
		const b = make("button", { type: "button", "aria-pressed": String(verdict === list.verdict) }, text);
		b.addEventListener("click", () => {
			list.verdict = verdict;
			for (const x of $("verdicts").children) x.setAttribute("aria-pressed", String(x === b));
			documents_load(true);
		});
		return b;
	}));
}

/* ---- deleting ---- */
const deleting = { run: null };

/* What an erasure left behind, in words; the receipt itself, whatever the service has put in it, can be unfolded. */
function receipt_show(receipt) {
	const pairs = Object.entries(receipt).filter(([, v]) => v !== null && typeof v !== "object");
	const also = [receipt.duplicates_removed ? count(receipt.duplicates_removed, "duplicate") : "",
		receipt.notes_removed ? count(receipt.notes_removed, "note") + " of its file" : ""].filter(Boolean);
	$("delete-h").textContent = "Erased";
	$("delete-go").hidden = $("delete-facts").hidden = $("delete-choice").hidden = true;
	$("delete-receipt").hidden = false;
	$("delete-cancel").textContent = "Close";
	tell($("delete-status"), "");
	$("delete-receipt").replaceChildren(...[receipt.verified ? "The store was rewritten and searched: nothing of it is left."
		: "The store was rewritten, but was not found free of it.",
		receipt.samples_of_others ? "Passages that other documents have too stay with those." : "",
		also.length ? "Removed with it: " + also.join(", ") + "." : "",
		receipt.note].filter(Boolean).map(t => make("p", {}, t)),
		make("details", { className: "looked" }, make("summary", {}, "Receipt for the records"),
			make("dl", { className: "receipt" }, ...pairs.flatMap(([k, v]) => [make("dt", {}, k.replaceAll("_", " ")),
				make("dd", {}, String(v))]))));
	$("delete-cancel").focus({ preventScroll: true });
	$("delete-dialog").scrollTop = 0;
}

async function document_delete(d, item) {
	$("delete-h").textContent = "Delete this document?";
	$("delete-what").replaceChildren(make("b", {}, named(d)), make("br"), path_make(d.source));
	$("delete-receipt").hidden = true;
	$("delete-erase").checked = false;
	$("delete-erase").disabled = false;
	$("delete-go").hidden = $("delete-facts").hidden = $("delete-choice").hidden = false;
	$("delete-go").disabled = false;
	$("delete-cancel").textContent = "Cancel";
	tell($("delete-status"), "");
	deleting.run = async () => {
		const erase = $("delete-erase").checked;
		$("delete-go").disabled = $("delete-erase").disabled = true;
		tell($("delete-status"), erase ? "Erasing: the store is rewritten…" : "Deleting…");
		try {
			const reply = await (await call(url(document_url(d.id), erase ? { erase: "true" } : {}),
				{ method: "DELETE" })).json();
			const next = item.nextElementSibling || item.previousElementSibling;
			item.remove();
			on_change();
			deleting.next = next ? next.querySelector("button") : $("files-pick");
			if (erase) receipt_show(reply);
			else $("delete-dialog").close();
		} catch (e) {
			$("delete-go").disabled = $("delete-erase").disabled = false;
			tell($("delete-status"), e.message, true);
		}
	};
	deleting.next = null;
	await dialog_open($("delete-dialog"));
	if (deleting.next) deleting.next.focus();
}

/* ---- uploads ---- */
function upload_row(file, name) {
	const bar = make("progress", { max: 1, value: 0, "aria-label": "Progress of " + name }),
		word = make("span", { className: "facts" }, "waiting");
	const label = make("span", { className: "name" }, name);
	$("uploads").append(make("li", { className: "upload" }, label, word, bar));
	return { file, name, bar, word, label, groups: upload_groups() };
}

async function upload_run(u) {
	for (let tries = 1; ; tries++) {
		const form = new FormData();
		if (u.name !== u.file.name) form.append("source", u.name);
		for (const g of u.groups) form.append("acl", g);
		form.append("file", u.file, u.file.name);
		try {
			return (await upload(form, share => {
				u.bar.value = share * 0.8;
				u.word.textContent = share < 1 ? "sending" : "reading";
			})).documents[0];
		} catch (e) {
			if (e.status !== 429 || tries === TRIES_MAX) throw e;
			u.word.textContent = "waiting: the service is busy";
			await new Promise(r => setTimeout(r, (e.after || tries) * 1000));
		}
	}
}

function uploads_tell() {
	const left = uploads.queue.length, bad = uploads.bad ? ", " + count(uploads.bad, "problem") : "";
	tell($("uploads-sum"), left ? count(uploads.done, "file") + " done, " + left.toLocaleString("en") + " to go" +
		bad : count(uploads.done, "file") + " read" + bad);
}

async function uploads_run() {
	if (uploads.running) return;
	uploads.running = true;
	while (uploads.queue.length) {
		const u = uploads.queue[0];
		uploads_tell();
		try {
			const d = await upload_run(u), good = !["failed", "skipped"].includes(d.verdict);
			u.word.replaceChildren(verdict_make(d.verdict), d.reason ? " " + d.reason : "");
			uploads.bad += !good;
			if (d.document && d.document.chunks)
				u.label.replaceChildren(source_link(make("a", {}, u.name), d.document, () => ({})));
		} catch (e) {
			u.word.replaceChildren(verdict_make("failed"), " " + e.message);
			uploads.bad++;
		}
		u.bar.remove();
		uploads.queue.shift();
		uploads.done++;
	}
	uploads.running = false;
	uploads_tell();
	on_change();
	documents_load(true);
}

/* files: [File, name] pairs; names of files inside a folder are paths. */
function uploads_add(files) {
	if (!files.length) return;
	if (!uploads.running) Object.assign(uploads, { done: 0, bad: 0 });
	$("uploads-box").hidden = false;
	for (const [file, name] of files) uploads.queue.push(upload_row(file, name));
	uploads_run();
}

/* Everything below a dropped entry, hidden files left out as `ingest` leaves them out. */
async function entry_files(entry, before, out) {
	if (entry.name.startsWith(".")) return;
	if (entry.isFile) {
		out.push([await new Promise((ok, no) => entry.file(ok, no)), before + entry.name]);
		return;
	}
	const reader = entry.createReader();
	for (;;) {
		const some = await new Promise((ok, no) => reader.readEntries(ok, no));
		if (!some.length) return;
		for (const x of some) await entry_files(x, before + entry.name + "/", out);
	}
}

async function on_drop(e) {
	const entries = Array.from(e.dataTransfer.items || [], i => i.webkitGetAsEntry &&
		i.webkitGetAsEntry()).filter(Boolean), out = [];
	const files = Array.from(e.dataTransfer.files, f => [f, f.name]);
	e.preventDefault();
	$("drop").classList.remove("over");
	try {
		for (const entry of entries) await entry_files(entry, "", out);
	} catch (error) {
		tell($("documents-status"), "A dropped folder could not be read: " + error.message, true);
	}
	uploads_add(entries.length ? out : files);
}

function drop_begin() {
	let depth = 0;
	const drop = $("drop"), files = e => Array.from(e.dataTransfer.types).includes("Files");
	addEventListener("dragenter", e => { if (files(e) && ++depth) drop.classList.add("over"); });
	addEventListener("dragleave", e => { if (files(e) && --depth <= 0) drop.classList.remove("over"); });
	addEventListener("dragover", e => { if (files(e)) e.preventDefault(); });
	addEventListener("drop", e => {
		depth = 0;
		if (!files(e)) return;
		if ($("view-documents").hidden) {
			e.preventDefault();
			drop.classList.remove("over");
		} else {
			on_drop(e);
		}
	});
}

export function documents_begin(changed) {
	on_change = changed;
	verdicts_show();
	drop_begin();
	$("documents-more").addEventListener("click", () => documents_load(false));
	$("files-pick").addEventListener("click", () => $("files").click());
	$("folder-pick").addEventListener("click", () => $("folder").click());
	for (const id of ["files", "folder"])
		$(id).addEventListener("change", () => {
			uploads_add(Array.from($(id).files, f => [f, f.webkitRelativePath || f.name]).filter(([, name]) =>
				!/(^|\/)\./.test(name)));
			$(id).value = "";
		});
	$("delete-form").addEventListener("submit", e => {
		e.preventDefault();
		deleting.run();
	});
	$("delete-cancel").addEventListener("click", () => $("delete-dialog").close());
}
