/* rate.js: what a reader says of an answer and of each of its footnotes: a thumb up or down, and after a thumb down what was
 * wrong with it. A thumb is down once the service has it; what was sent with it is shown as it was sent. The service
 * keeps a reader's last word on each, so that another thumb or another text takes the place of the one before. */
import { post } from "./calls.js";
import { make, tell } from "./parts.js";

const TEXT_MAX = 4000;       /* characters of a field: within what the service takes in any script */
const SVG = "http://www.w3.org/2000/svg";
const THUMB = "M7.5 10.5v9.5H4v-9.5zM7.5 10.5l3.9-7.2c1.8-.1 2.8 1.2 2.4 2.9l-.9 3.5h5.2c1.4 0 2.3 1.3 1.9 2.6l-1.9 6.3" +
	"c-.3.9-1 1.4-1.9 1.4H7.5z";

function thumb_make(rating, name) {
	const b = make("button", { type: "button", className: "icon thumb" + (rating < 0 ? " down" : ""), title: name,
		"aria-label": name, "aria-pressed": "false" });
	const svg = document.createElementNS(SVG, "svg"), path = document.createElementNS(SVG, "path");
	for (const [k, v] of [["viewBox", "0 0 24 24"], ["aria-hidden", "true"]]) svg.setAttribute(k, v);
	path.setAttribute("d", THUMB);
	svg.append(path);
	b.append(svg);
	return b;
}

/* Two thumbs. of: what they are about, in the words of the contract; label: of both; names, words: of up and down, and what
 * `status` then tells; after(rating): once the service has it. Returns { element, send }. */
function thumbs_make({ of, label, names, words, status, after }) {
	const buttons = [[1, 0], [-1, 1]].map(([rating, i]) => [rating, thumb_make(rating, names[i])]);
	let sending = false;
	async function send(rating, more) {
		if (sending) return false;
		sending = true;
		try {
			await post("/v1/feedback", { ...of, rating, ...more });
		} catch (e) {
			tell(status, e.message, true);
			return false;
		} finally {
			sending = false;
		}
		for (const [r, b] of buttons) b.setAttribute("aria-pressed", String(r === rating));
		tell(status, words[rating < 0 ? 1 : 0]);
		return true;
	}
	for (const [rating, b] of buttons)
		b.addEventListener("click", async () => {
			if (b.getAttribute("aria-pressed") === "true" || await send(rating)) after(rating);
		});
	const element = make("span", { className: "thumbs", role: "group", "aria-label": label }, ...buttons.map(x => x[1]));
	return { element, send };
}

/* ---- what was wrong ---- */
function field_make(tag, text, props) {
	const input = make(tag, { maxLength: TEXT_MAX, ...props });
	return [make("label", { className: "said-field" }, text, input), input];
}

function check_make(text, checked) {
	const input = make("input", { type: "checkbox", checked });
	return [make("label", { className: "check" }, input, " " + text), input];
}

/* The form, and in its place what it sent. send(more): promise of whether the service has it. */
function wrong_make(turn, send) {
	const a = turn.answer, silent = a.status === "abstained";
	const [comment_box, comment] = field_make("textarea", "What was wrong?", { rows: 2 });
	const [right_box, right] = field_make("textarea", "What would have been right?", { rows: 1 });
	const [none_box, none] = check_make("Nothing: the documents do not answer this", false);
	const [keep_box, keep] = check_make("Keep the question with it, to try it again", false);
	const close = make("button", { type: "button", className: "quiet small" }, "Close");
	const change = make("button", { type: "button", className: "quiet small" }, "Change");
	const form = make("form", { className: "said-form", "aria-label": "What was wrong with the answer" }, comment_box, right_box,
		silent ? null : none_box, keep_box,
		make("div", { className: "row" }, make("button", { type: "submit", className: "small" }, "Send"), close));
	const sent = make("div", { className: "said-sent", hidden: true });
	const box = make("div", { className: "said", hidden: true }, form, sent);

	function form_show(focus) {
		box.hidden = form.hidden = false;
		sent.hidden = true;
		box.scrollIntoView({ block: "nearest" });
		if (focus) comment.focus({ preventScroll: true });
	}
	function sent_show(more) {
		const row = (name, text) => text ? [make("dt", {}, name), make("dd", {}, text)] : [];
		sent.replaceChildren(make("dl", { className: "receipt" }, ...row("Wrong", more.comment), ...row("Right", more.expected),
			...row("Right", more.answerable === false ? "The documents do not answer this" : ""),
			...row("Question", more.question || "not kept")), change);
		form.hidden = true;
		sent.hidden = false;
		change.focus({ preventScroll: true });
	}
	none.addEventListener("change", () => { right.disabled = none.checked; });
	close.addEventListener("click", () => { box.hidden = true; });
	change.addEventListener("click", () => form_show(true));
	form.addEventListener("submit", async e => {
		const more = {}, expected = right.disabled ? "" : right.value.trim();
		e.preventDefault();
		if (comment.value.trim()) more.comment = comment.value.trim();
		if (expected) more.expected = expected;
		if (none.checked) more.answerable = false;
		if (keep.checked) more.question = a.question;
		if (await send(more)) sent_show(more);
	});
	return { element: box, show: form_show };
}

/* ---- under an answer ---- */
export function rate_clear(turn) {
	turn.parts.thumbs.replaceChildren();
	turn.parts.said.replaceChildren();
}

/* Thumbs for an answer that has come to its end, and for each of its footnotes. */
export function rate_show(turn) {
	const id = turn.answer.id, status = make("p", { className: "status", role: "status" });
	let wrong = null;
	function wrong_new() {
		if (wrong) wrong.element.remove();
		wrong = wrong_make(turn, more => thumbs.send(-1, more));
		turn.parts.said.append(wrong.element);
	}
	function after(rating) {
		if (rating > 0) wrong_new();            /* what was said went with the thumb down */
		else if (wrong.element.hidden) wrong.show();
	}
	const thumbs = thumbs_make({ of: { answer_id: id }, label: "Rate the answer", names: ["Good answer", "Bad answer"], status,
		words: ["Rated as a good answer.", "Rated as a bad answer."], after });
	rate_clear(turn);
	turn.parts.thumbs.append(thumbs.element);
	turn.parts.said.append(status);
	wrong_new();
	turn.citations.forEach((c, i) => {
		const note = turn.parts.notes.children[i], name = "Footnote " + c.n;
		const of_note = thumbs_make({ of: { answer_id: id, citation: c.n }, status, after: () => {},
			label: "Rate footnote " + c.n, names: [name + " fits", name + " does not fit"],
			words: [name + ": rated as fitting.", name + ": rated as not fitting."] });
		if (note) note.querySelector(".facts").prepend(of_note.element);
	});
}
