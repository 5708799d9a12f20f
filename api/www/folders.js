/* folders.js: folders of the service's own machine that are kept in step, and how far reading them is. A service that
 * has no such endpoint (404) has no such part of the page. */
import { call, get_json, post, url } from "./calls.js";
import { $, count, make, path_make, tell } from "./parts.js";
import { verdict_make } from "./documents.js";

const POLL_MS = 1000, PROBLEMS_SHOWN = 20;
const RUNNING = ["queued", "running"];
const followed = new Set();  /* jobs that are being polled */
const begun = new Set();     /* jobs whose end was not seen yet: what they changed is not shown */
let on_change = () => {};

/* "3 added, 1 failed": the verdicts of a summary that are not nought. */
const summary_text = s => Object.entries(s || {}).filter(([k, v]) => typeof v === "number" && v > 0 &&
	!/^(files|chunks|chars|bytes|elapsed_ms)$/.test(k))
	.map(([k, v]) => v.toLocaleString("en") + " " + k.replaceAll("_", " ")).join(", ");

function stop_make(job) {
	const stop = make("button", { type: "button", className: "quiet small" }, "Stop");
	stop.addEventListener("click", () => {
		stop.disabled = true;
		call(url("/v1/jobs/" + encodeURIComponent(job.id)),
			{ method: "DELETE" }).catch(() => { /* it is over already */ });
	});
	return stop;
}

/* What has just been shown of a running job is brought up to date in place: its button may have the focus. */
function running_show(box, job) {
	if (!box.querySelector("progress"))
		box.replaceChildren(make("p", { className: "facts" }), make("progress", { "aria-label": "Progress" }),
			stop_make(job));
	const files = job.files_total ? " of " + job.files_total.toLocaleString("en") : "";
	const words = [job.state, job.files_done || files ? count(job.files_done, "file") + files : "",
		job.chunks ? count(job.chunks, "passage") : ""];
	box.querySelector("p").textContent = words.filter(Boolean).join(" · ");
	if (job.files_total) Object.assign(box.querySelector("progress"),
		{ max: job.files_total, value: job.files_done });
}

function over_show(box, job) {
	const left_out = job.problems_left_out || 0, problems = job.problems || [];
	const words = [job.state, job.files_done === null ? "" : count(job.files_done, "file"), job.chunks ? count(job.chunks, "passage") : "",
		summary_text(job.summary)];
	box.replaceChildren(make("p", { className: "facts" }, words.filter(Boolean).join(" · ")));
	if (job.error) box.append(make("p", { className: "bad" }, job.error.message || job.error.code));
	if (!problems.length) return;
	const more = Math.max(0, problems.length - PROBLEMS_SHOWN) + left_out;
	const rows = problems.slice(0, PROBLEMS_SHOWN).map(p => make("li", {}, verdict_make(p.verdict), " ",
		path_make(p.source), " ", p.reason));
	if (more) rows.push(make("li", {}, "and " + more.toLocaleString("en") + " more"));
	box.append(make("details", { className: "looked" },
		make("summary", {}, count(problems.length + left_out, "file") + " not read"),
		make("ul", { className: "problems" }, ...rows)));
}

async function job_follow(id, box) {
	if (followed.has(id)) return;
	followed.add(id);
	try {
		for (;;) {
			const job = await get_json("/v1/jobs/" + encodeURIComponent(id));
			if (!box.isConnected) break;
			if (!RUNNING.includes(job.state)) {
				over_show(box, job);
				if (begun.delete(id)) {
					on_change();
					folders_load();
				}
				break;
			}
			running_show(box, job);
			begun.add(id);
			await new Promise(r => setTimeout(r, POLL_MS));
		}
	} catch (e) {
		if (e.status !== 404) box.replaceChildren(make("p", { className: "bad" }, e.message));
	}
	followed.delete(id);
}

function source_item(s) {
	const again = make("button", { type: "button", className: "quiet small", "aria-label": "Read " + s.path +
		" again" }, "Read again");
	const remove = make("button", { type: "button", className: "quiet small", "aria-label": "Forget " + s.path },
		"Forget");
	const box = make("div", { className: "job" });
	const facts = [typeof s.documents === "number" ? count(s.documents, "document") : "", s.last_synced ? "read " +
		s.last_synced.slice(0, 16).replace("T", " ") : "",
		s.prune ? "removes what is gone" : ""].filter(Boolean).join(" · ");
	const item = make("li", { className: "doc" },
		make("div", {}, make("h4", {}, path_make(s.path)), make("p", { className: "facts" }, facts), box),
		make("div", { className: "row" }, again, remove));
	again.addEventListener("click", () => folder_read(s.path, s.prune));
	remove.addEventListener("click", async () => {
		try {
			await call(url("/v1/sources/" + encodeURIComponent(s.id)), { method: "DELETE" });
			item.remove();
			tell($("folders-status"), "Forgotten: it is not kept in step any more. Its documents stay.");
			$("folders-path").focus();
		} catch (e) {
			tell($("folders-status"), e.message, true);
		}
	});
	if (s.last_job) job_follow(s.last_job, box);
	return item;
}

export async function folders_load() {
	try {
		const { sources } = await get_json("/v1/sources");
		$("folders-box").hidden = false;
		$("folders-list").replaceChildren(...sources.map(source_item));
	} catch (e) {
		if (e.status !== 404) tell($("folders-status"), e.message, true);
		$("folders-box").hidden = e.status === 404 || e.status === 403;
	}
}

async function folder_read(path, prune) {
	try {
		tell($("folders-status"), "");
		begun.add((await (await post("/v1/sources", { path, prune })).json()).job_id);
		followed.clear();
		await folders_load();
		return true;
	} catch (e) {
		tell($("folders-status"), e.message, true);
		return false;
	}
}

export function folders_begin(changed) {
	on_change = changed;
	$("folders-form").addEventListener("submit", async e => {
		e.preventDefault();
		if (await folder_read($("folders-path").value.trim(),
			$("folders-prune").checked)) $("folders-form").reset();
	});
}
