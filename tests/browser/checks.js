// What every state of the page must hold: names for what can be used, unique ids, contrast of text (WCAG 2.2, 1.4.3),
// targets of a size (2.5.8), one main heading, a language. Returns a list of what does not hold.
() => {
	const found = [], seen = new Set();
	const visible = e => e.checkVisibility({ checkOpacity: true, checkVisibilityCSS: true }) && e.getClientRects().length > 0;
	const top = document.querySelector("dialog[open]") || document.body;
	const say = (what, e) => found.push(what + ": " + e.outerHTML.slice(0, 120));
	for (const e of document.querySelectorAll("[id]")) {
		if (seen.has(e.id)) say("id used twice", e);
		seen.add(e.id);
	}
	for (const a of ["aria-labelledby", "aria-describedby", "for"])
		for (const e of document.querySelectorAll("[" + a + "]"))
			if (!document.getElementById(e.getAttribute(a))) say(a + " points nowhere", e);
	if (!document.documentElement.lang) found.push("no language");
	if (document.querySelectorAll("h1").length !== 1) found.push("not one h1");
	for (const e of top.querySelectorAll("a[href], button, input, textarea, select, [tabindex='0'], summary")) {
		if (!visible(e) || e.closest("[inert]")) continue;
		const labels = e.labels ? [...e.labels].map(l => l.textContent).join("") : "";
		const by = e.getAttribute("aria-labelledby");
		const name = e.getAttribute("aria-label") || (by && document.getElementById(by).textContent) || labels || e.textContent;
		if (!name.trim()) say("no name", e);
		const r = e.getBoundingClientRect(), inline = getComputedStyle(e).display === "inline";
		if (!inline && e.tagName !== "INPUT" && (r.width < 24 || r.height < 22)) say("too small (" + r.width + "x" + r.height + ")", e);
	}
	const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
	const rgba = c => {
		canvas.clearRect(0, 0, 1, 1);
		canvas.fillStyle = c;
		canvas.fillRect(0, 0, 1, 1);
		return [...canvas.getImageData(0, 0, 1, 1).data].map((x, i) => i < 3 ? x : x / 255);
	};
	const over = (a, b) => [0, 1, 2].map(i => a[i] * a[3] + b[i] * (1 - a[3])).concat(1);
	const light = c => {
		const [r, g, b] = c.map(x => x / 255).map(x => x <= .03928 ? x / 12.92 : ((x + .055) / 1.055) ** 2.4);
		return .2126 * r + .7152 * g + .0722 * b;
	};
	const ground = e => {
		const own = rgba(getComputedStyle(e).backgroundColor);
		if (own[3] > .999) return own;
		return over(own, e.parentElement ? ground(e.parentElement) : rgba(matchMedia("(prefers-color-scheme: dark)").matches ? "#121212" : "#fff"));
	};
	const walk = document.createTreeWalker(top, NodeFilter.SHOW_TEXT);
	for (let n; (n = walk.nextNode());) {
		const e = n.parentElement;
		if (!n.data.trim() || !visible(e) || e.closest(".hidden, .skip, :disabled, script, noscript, [inert]")) continue;
		const style = getComputedStyle(e), back = ground(e), ink = light(over(rgba(style.color), back)), paper = light(back);
		const ratio = (Math.max(ink, paper) + .05) / (Math.min(ink, paper) + .05), size = parseFloat(style.fontSize);
		const large = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
		if (ratio < (large ? 3 : 4.5)) say("contrast " + ratio.toFixed(2), e);
	}
	return found;
}
