/* assist.js: a customer's thread to a suggested reply with footnotes, what to ask next, and similar tickets. The thread is
 * typed or pasted, a message a paragraph; "Agent:" before one says that it was ours. One reply is under way at a time. */
import { answer_finish, answer_on, turn_make } from "./ask.js";
import { events_read, post } from "./calls.js";
import { $, copy, make, tell } from "./parts.js";
import { hit_make } from "./search.js";

let replying = null;         /* AbortController of the reply under way */

/* Paragraphs to messages; a paragraph without a name goes on where the one before was. */
function thread_read(text) {
	const messages = [];
	for (const part of text.split(/\n\s*\n/)) {
		const m = part.trim().match(/^(?:(agent|customer)\s*:\s*)?([^]*)$/i);
		if (!m[2]) continue;
		const role = (m[1] || (messages.length ? messages.at(-1).role : "customer")).toLowerCase();
		messages.push({ role, text: m[2] });
	}
	return messages;
}

function beside_show(out) {
	const next = out.next_questions.map(q => {
		const b = make("button", { type: "button", className: "quiet small", title: "Copy" }, q);
		b.addEventListener("click", () => copy(q, "Question"));
		return make("li", {}, b);
	});
	$("assist-next").replaceChildren(...next);
	$("assist-next-box").hidden = !next.length;
	$("assist-similar").replaceChildren(...out.similar.map(h => hit_make(h, () => out.similar)));
	$("assist-similar-box").hidden = !out.similar.length;
	for (const name of ["greeting", "closing"]) {
		$("assist-" + name).textContent = out[name];
		$("assist-" + name).hidden = !out[name];
	}
}

async function reply_run() {
	const messages = thread_read($("thread").value), turn = turn_make("Suggested reply", reply_run);
	if (!messages.length) return;
	if (replying) replying.abort();
	const mine = replying = new AbortController();
	$("assist-reply").replaceChildren(turn.element);
	beside_show({ next_questions: [], similar: [], greeting: "", closing: "" });
	tell(turn.parts.status, "Looking for passages…");
	turn.element.classList.add("busy");
	try {
		const body = { messages, stream: true, tone: $("tone").value.trim() || undefined };
		const reply = await post("/v1/assist", body, mine.signal);
		await events_read(reply.body, (name, data) => {
			if (name === "done") beside_show(data);
			answer_on(turn, name, name === "done" ? data.reply : data);
		});
		if (!turn.answer && !turn.failed) tell(turn.parts.status, "The reply was cut off.", true);
	} catch (e) {
		if (!mine.signal.aborted) tell(turn.parts.status, e.status === undefined ? "The reply was cut off." : e.message, true);
	}
	answer_finish(turn);
	if (replying === mine) replying = null;
}

export function assist_begin() {
	$("assist-form").addEventListener("submit", e => {
		e.preventDefault();
		reply_run();
	});
}
