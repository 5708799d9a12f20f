/* calls.js: the way to the service: addresses, the access key, failures, event streams.
 *
 * A reply of 401 asks for a key, once for all who wait, and tries again; the key lives in sessionStorage. A service
 * that cannot be reached is a Failure with status 0 and a "lost" event; footnote.js then looks for it. A "key" event
 * tells that the key is another. */

export const collection = new URLSearchParams(location.search).get("collection");
export const events = new EventTarget();
const KEY = "footnote.key";

export class Failure extends Error {
	constructor(status, message, after) {
		super(message);
		this.status = status;
		this.after = after;      /* seconds after which to try again; 0: not told */
	}
}

export const key_get = () => sessionStorage.getItem(KEY);

export function key_set(key) {
	if (key) sessionStorage.setItem(KEY, key);
	else sessionStorage.removeItem(KEY);
	events.dispatchEvent(new Event("key"));
}

export function url(path, query) {
	const q = new URLSearchParams(query || {});
	if (collection) q.set("collection", collection);
	const s = q.toString();
	return s ? path + "?" + s : path;
}

export const document_url = (id, rest) => "/v1/documents/" + encodeURIComponent(id) + (rest || "");

function reply_failure(status, text, after) {
	let message = "The service answered " + status + ".";
	try {
		message = JSON.parse(text).error.message;
	} catch { /* not the service's own words: somebody between us and it */ }
	return new Failure(status, message.charAt(0).toUpperCase() + message.slice(1), Number(after) || 0);
}

let asking = null;             /* the one question for a key under way */
let asker = null;              /* () => promise of a key or null */
export function key_asker(f) { asker = f; }

/* Whether a key was given. */
export function key_ask() {
	asking = asking || asker().then(key => {
		if (key) key_set(key);
		return !!key;
	}).finally(() => { asking = null; });
	return asking;
}

function lost() {
	events.dispatchEvent(new Event("lost"));
	return new Failure(0, "The service does not answer.");
}

/* What /readyz says to the one who asks, by the key. Throws a Failure and asks for nothing: status 0, nobody is there. */
export async function state_get() {
	const key = key_get();
	let reply, text;
	try {
		reply = await fetch("/readyz", { headers: key ? { Authorization: "Bearer " + key } : {} });
		text = await reply.text();
	} catch {
		throw new Failure(0, "The service does not answer. This page waits for it.");
	}
	if (!reply.ok) throw reply_failure(reply.status, text, "");
	return JSON.parse(text);
}

/* A fetch with the key. Throws a Failure, or an AbortError when its signal says so. */
export async function call(path, options = {}) {
	for (;;) {
		const key = key_get(), headers = { ...options.headers };
		let reply;
		if (key) headers.Authorization = "Bearer " + key;
		try {
			reply = await fetch(path, { ...options, headers });
		} catch (e) {
			throw e.name === "AbortError" ? e : lost();
		}
		if (reply.ok) return reply;
		const failure = reply_failure(reply.status, await reply.text(), reply.headers.get("Retry-After"));
		if (reply.status !== 401 || (key_get() === key && !await key_ask())) throw failure;
	}
}

export async function get_json(path, query, signal) {
	return (await call(url(path, query), { signal })).json();
}

export function post(path, body, signal) {
	if (collection) body.collection = collection;
	return call(path, { method: "POST", signal, headers: { "Content-Type": "application/json" },
		body: JSON.stringify(body) });
}

/* Code points [start, end) of a document's text, as an array of them: what the contract counts. */
export async function text_get(id, start, end, signal) {
	const reply = await call(url(document_url(id, "/text"), { start, end }), { signal });
	return Array.from(await reply.text());
}

/* A form with one file, told as it goes; fetch cannot tell that. */
export function upload(form, on_progress) {
	return new Promise((resolve, reject) => {
		const x = new XMLHttpRequest(), key = key_get();
		x.open("POST", url("/v1/documents"));
		if (key) x.setRequestHeader("Authorization", "Bearer " + key);
		x.upload.onprogress = e => { if (e.lengthComputable) on_progress(e.loaded / e.total); };
		x.onload = async () => {
			if (x.status >= 200 && x.status < 300) return resolve(JSON.parse(x.responseText));
			const failure = reply_failure(x.status, x.responseText, x.getResponseHeader("Retry-After"));
			if (x.status === 401 && (key_get() !== key || await key_ask())) resolve(upload(form,
				on_progress));
			else reject(failure);
		};
		x.onerror = () => reject(lost());
		x.send(form);
	});
}

/* Reads server-sent events to their end: on(name, data) for each. */
export async function events_read(body, on) {
	const reader = body.pipeThrough(new TextDecoderStream()).getReader();
	let rest = "";
	for (;;) {
		let cut;
		const { value, done } = await reader.read();
		if (done) return;
		rest += value;
		while ((cut = rest.indexOf("\n\n")) >= 0) {
			let name = "message";
			const data = [];
			for (const line of rest.slice(0, cut).split("\n")) {
				if (line.startsWith("event: ")) name = line.slice(7);
				else if (line.startsWith("data: ")) data.push(line.slice(6));
			}
			rest = rest.slice(cut + 2);
			if (data.length) on(name, JSON.parse(data.join("\n")));
		}
	}
}
