/* ask.js: questions and their answers, a conversation of them. Sentences appear as the service has verified them; their
 * marks open the source. One question is under way at a time. */
import { events_read, post } from "./calls.js";
import { $, copy, count, make, named, tell, where_make } from "./parts.js";
import { place_go, source_link } from "./place.js";
import { rate_clear, rate_show } from "./rate.js";
import { hit_make } from "./search.js";

const TURNS_SENT = 10;       /* questions and answers of the conversation that go along with the next */
const turns = [];            /* { question, answer: object of the contract or null, parts } */
let asking = null;           /* AbortController of the question under way */

/* ---- what an answer is made of ---- */
function mark_make(c, turn) {
	const a = make("a", { className: "fn", title: c.quote, "aria-label": "Footnote " + c.n + ", " + named(c) },
		String(c.n));
	return source_link(a, c, () => ({ list: turn.citations, at: turn.citations.indexOf(c), what: "Footnote" }));
}

/* A sentence with its marks as links; only numbers that have a citation are marks. */
function sentence_make(text, turn) {
	const out = make("span", { className: "sentence" });
	let at = 0;
	for (const m of text.matchAll(/\[(\d+)\]/g)) {
		const c = turn.citations.find(x => x.n === Number(m[1]));
		if (!c) continue;
		out.append(text.slice(at, m.index).trimEnd(), mark_make(c, turn));
		at = m.index + m[0].length;
	}
	out.append(text.slice(at));
	return out;
}

function note_make(c, turn) {
	const open = source_link(make("a", { className: "note-link" }, make("q", {}, c.quote)), c,
		() => ({ list: turn.citations, at: turn.citations.indexOf(c), what: "Footnote" }));
	return make("li", {}, make("span", { className: "n", "aria-hidden": "true" }, String(c.n)),
		make("span", {}, open, make("span", { className: "facts" }, make("b", {}, named(c)), " · ",
			...where_make(c))));
}

/* Words for the probability: what a reader should do with it. */
function confidence(a) {
	if (a.status === "abstained") return null;
	const [name, text] = a.confidence >= 0.8 ? ["high", "Well supported"] : a.confidence >= 0.5
		? ["middle", "Probably right: look at the footnotes"]
		: ["low", "Uncertain: read the sources first"];
	return make("span", { className: "sure " + name, title: "How probable it is that this answer is right" },
		text + " (" + Math.min(99, Math.max(1, Math.round(a.confidence * 100))) + " %)");
}

function facts_show(turn) {
	const a = turn.answer, t = a.timings_ms || {}, facts = [];
	const by = a.style === "extractive" ? "quoted, not written" : a.model ? "written by " + a.model : "";
	if (a.status === "partial") facts.push("incomplete");
	if (a.reason) facts.push(a.reason.charAt(0).toUpperCase() + a.reason.slice(1));
	else if (a.status !== "abstained" && by) facts.push(by);
	if (t.total) facts.push((t.total / 1000).toFixed(1) + " s");
	turn.parts.facts.replaceChildren(...[confidence(a), facts.length ? make("span", {}, facts.join(" · "))
		: null].filter(Boolean));
}

/* Sentences that no quoted one carries are told apart once the whole answer is there. */
function unverified_show(turn) {
	const a = turn.answer, chars = Array.from(a.answer);
	if (a.status === "abstained" || a.sentences.every(s => s.support === "verified")) return;
	const out = [];
	let at = 0;
	for (const s of a.sentences) {
		const e = sentence_make(chars.slice(at, s.end).join(""), turn);
		if (s.support !== "verified") {
			e.classList.add("unverified");
			e.title = "No quoted sentence carries this";
		}
		out.push(e);
		at = s.end;
	}
	turn.parts.text.replaceChildren(...out, chars.slice(at).join(""));
}

function answer_copy(turn) {
	const notes = turn.citations.map(c => "[" + c.n + "] “" + c.quote + "” — " + named(c) +
		(c.page ? ", page " + c.page : "") +
		(c.source ? " (" + c.source + ")" : ""));
	copy(turn.words.trim() + (notes.length ? "\n\n" + notes.join("\n") : ""), "Answer");
}

/* again(turn, quote): what its buttons ask for. */
export function turn_make(question, again = turn_run) {
	const parts = {
		status: make("p", { className: "status", role: "status" }),
		text: make("div", { className: "prose", "aria-live": "polite", "aria-relevant": "additions" }),
		notes: make("ol", { className: "notes", "aria-label": "Footnotes", hidden: true }),
		facts: make("p", { className: "facts answer-facts" }),
		acts: make("div", { className: "row acts", hidden: true }),
		thumbs: make("span", { className: "rate" }),
		said: make("div"),
		looked: make("details", { className: "looked", hidden: true }),
	};
	const turn = { question, answer: null, citations: [], passages: [], words: "", parts };
	const act = (text, f) => {
		const b = make("button", { type: "button", className: "quiet small" }, text);
		b.addEventListener("click", f);
		parts.acts.append(b);
		return b;
	};
	parts.take = act("Copy with footnotes", () => answer_copy(turn));
	parts.quote = act("Only quote", () => again(turn, true));
	act("Ask again", () => again(turn));
	parts.acts.append(parts.thumbs);
	turn.element = make("article", { className: "turn", "aria-label": "Answer to: " + question },
		make("h3", { className: "question" }, question),
		parts.status, parts.text, parts.notes, parts.facts, parts.acts, parts.said, parts.looked);
	return turn;
}

function looked_show(turn) {
	const n = turn.passages.length, list = make("ol", { className: "hits" },
		...turn.passages.map(h => hit_make(h, () => turn.passages)));
	turn.parts.looked.replaceChildren(make("summary", {}, count(n, "passage") + " looked at"), list);
	turn.parts.looked.hidden = !n;
}

function turn_clear(turn) {
	Object.assign(turn, { answer: null, citations: [], passages: [], words: "" });
	for (const name of ["text", "notes", "facts", "looked"]) turn.parts[name].replaceChildren();
	turn.parts.notes.hidden = turn.parts.acts.hidden = turn.parts.looked.hidden = true;
	turn.parts.looked.open = false;
	rate_clear(turn);
	turn.element.classList.remove("abstained");
}

/* ---- what is in sight ---- */
const GAP_PX = 14;
let left_at = 0;             /* where the page was scrolled to last; further up: the reader has gone elsewhere */

/* The end of an answer stays above the field, as far as its question stays below the top. */
function turn_follow(turn) {
	const box = turn.element.getBoundingClientRect(), last = turn.element.lastElementChild;
	const end = (last.hidden ? turn.parts.acts.hidden ? turn.parts.facts : turn.parts.acts : last)
		.getBoundingClientRect().bottom;
	const by = Math.min(end + GAP_PX - $("ask-form").getBoundingClientRect().top,
		box.top - GAP_PX - $("top").getBoundingClientRect().bottom);
	if ($("view-ask").hidden || scrollY < left_at - GAP_PX) return;
	if (by > 0) scrollBy(0, by);
	left_at = scrollY;
}

/* ---- asking ---- */
export function answer_on(turn, name, data) {
	const parts = turn.parts;
	if (name === "passages") {
		turn.passages = data.passages;
		looked_show(turn);
		tell(parts.status, data.passages.length ? "Reading " + count(data.passages.length, "passage") + "…" : "");
	} else if (name === "citation") {
		turn.citations.push(data);
	} else if (name === "delta") {
		turn.words += data.text;
		parts.text.append(sentence_make(data.text, turn));
		parts.notes.replaceChildren(...turn.citations.map(c => note_make(c, turn)));
		parts.notes.hidden = !turn.citations.length;
		tell(parts.status, "");
	} else if (name === "done") {
		turn.answer = data;
		turn.element.classList.toggle("abstained", data.status === "abstained");
		if (!turn.words) parts.text.append(make("span", { className: "sentence" }, data.answer));
		turn.words = data.answer;
		unverified_show(turn);
		facts_show(turn);
		tell(parts.status, "");
	} else if (name === "error") {
		turn.failed = true;
		tell(parts.status, data.error.message, true);
	}
	turn_follow(turn);
}

/* What was said before this turn. */
function history_make(turn) {
	const before = turns.slice(0, turns.indexOf(turn)).filter(t => t.answer).slice(-TURNS_SENT);
	return before.flatMap(t => [{ role: "user", content: t.question },
		{ role: "assistant", content: t.answer.answer }]);
}

/* What can be done with it once nothing more comes. */
export function answer_finish(turn, style = "extractive") {
	const silent = turn.element.classList.contains("abstained");
	turn.element.classList.remove("busy");
	turn.parts.acts.hidden = false;
	turn.parts.take.hidden = !turn.words || silent;
	turn.parts.quote.hidden = !silent || style === "extractive" || !turn.answer.model;
	if (turn.answer) rate_show(turn);
}

/* quote: only quote, whatever the box under the question says. */
async function turn_run(turn, quote) {
	const style = quote || $("extractive").checked ? "extractive" : "generate";
	if (asking) asking.abort();
	const mine = asking = new AbortController();
	turn_clear(turn);
	turn.failed = false;
	tell(turn.parts.status, "Looking for passages…");
	turn.element.classList.add("busy");
	busy_show(true);
	turn.element.scrollIntoView({ block: "start" });
	left_at = scrollY;
	try {
		const body = { question: turn.question, stream: true, style, history: history_make(turn) };
		const reply = await post("/v1/answers", body, mine.signal);
		await events_read(reply.body, (name, data) => answer_on(turn, name, data));
		if (!turn.answer && !turn.failed) tell(turn.parts.status, "The answer was cut off.", true);
	} catch (e) {
		if (mine.signal.aborted) tell(turn.parts.status, turn.words ? "Stopped: this is not the whole answer."
			: "Stopped.");
		else tell(turn.parts.status, e.status === undefined ? "The answer was cut off." : e.message, true);
	}
	answer_finish(turn, style);
	turn_follow(turn);
	if (asking === mine) {
		asking = null;
		busy_show(false);
	}
}

function busy_show(busy) {
	$("stop").hidden = !busy;
	$("ask-go").hidden = busy;
	$("ask-new").hidden = !turns.length;
	$("ask-empty").hidden = turns.length > 0;
	$("question").placeholder = turns.length ? "Ask a follow-up" : "Ask a question";
	$("view-ask").classList.toggle("talking", turns.length > 0);
}

function ask(question) {
	const turn = turn_make(question);
	turns.push(turn);
	$("turns").append(turn.element);
	$("question").value = "";
	question_fit();
	place_go({ view: "ask", ask: question, doc: "" });
	turn_run(turn);
}

/* The field grows with what is written in it. */
function question_fit() {
	const q = $("question");
	q.style.height = "auto";
	q.style.height = Math.min(q.scrollHeight + 2, innerHeight / 3) + "px";
}

function conversation_new() {
	if (asking) asking.abort();
	asking = null;
	turns.length = 0;
	$("turns").replaceChildren();
	busy_show(false);
	place_go({ view: "ask", ask: "", doc: "" });
	$("question").focus();
}

/* An address with a question in it fills the field; asking costs the machine something and is left to the reader. */
export function ask_show(place, fresh) {
	if (fresh && place.ask && !turns.some(t => t.question === place.ask)) {
		$("question").value = place.ask;
		question_fit();
	}
}

export function ask_begin() {
	$("ask-form").addEventListener("submit", e => {
		const question = $("question").value.trim();
		e.preventDefault();
		if (question) ask(question);
	});
	$("question").addEventListener("keydown", e => {
		if (e.key !== "Enter" || e.shiftKey || e.isComposing) return;
		e.preventDefault();
		$("ask-form").requestSubmit();
	});
	$("question").addEventListener("input", question_fit);
	$("stop").addEventListener("click", () => {
		if (asking) asking.abort();
		$("question").focus();
	});
	$("ask-new").addEventListener("click", conversation_new);
}
