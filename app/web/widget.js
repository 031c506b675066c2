/*
 * On Record, the chat: a custom element that any page may hold, and the button that opens it in a corner of one.
 *
 *   <script src="https://host/widget.js" data-title="Ask the archive" async></script>   a button in the corner
 *   <script src="https://host/widget.js" async></script> <on-record-chat></on-record-chat>   the chat where it stands
 *
 * Attributes of the element: `heading`, its title; `server`, where the archive is (the script's own host if not given);
 * `mode="page"`, the whole window with filters. Methods: `ask(question, {speaker, source})`, `stop()`, `clear()`.
 * Event: `on-record-change`; its `detail` has the last `question` and a `link` to it, or is null after a new beginning.
 *
 * A page may set these properties on the element, or on `:root`; where it does, also for dark (prefers-color-scheme):
 *
 *   --on-record-accent   the dot, the focus and what is active   --on-record-serif    the words people said
 *   --on-record-paper    the ground                              --on-record-sans     all other words
 *   --on-record-surface  what lies on it: input, buttons         --on-record-radius   of corners
 *   --on-record-ink      text                                    --on-record-height   of an inline chat
 *   --on-record-muted    lesser text                             --on-record-offset   of the button from the corner
 *   --on-record-line     hairlines
 *
 * Whatever comes from documents, people or servers goes in as text. Nothing in this file parses HTML.
 */
(() => {
  "use strict";

  const SCRIPT = document.currentScript;
  const HOME = new URL(".", SCRIPT?.src || location.href).href;
  const STORED = "on-record:1"; // raise the number when the shape of what is stored changes
  const MOST_EXCHANGES = 30;
  const MOST_CHARACTERS = 4000; // of a question, as the server has it
  const QUIET_MS = 45_000; // the server sends a heartbeat every 10 s
  const WIDE = 860; // from this width on the evidence has room beside the conversation
  const SLIM = 520; // below it the margins are narrower
  const AROUND = 15; // turns shown before and after a citation
  const MORE = 30; // turns that "earlier" and "later" add
  const SMALL_SCREEN = "(max-width: 40em), (max-height: 30em)";
  const NEAREST = / What comes nearest: .*$/; // said once more by the near misses themselves
  const JOINERS = /\u2060/g; // the server breaks up with them what could pass for a marker or a link

  // ---- Nodes -------------------------------------------------------------------------------------------------------

  /** An element. `props` are properties where it has them, `on…` listeners, attributes otherwise; strings are text. */
  function el(tag, props = {}, ...children) {
    const node = document.createElement(tag);
    for (const [name, value] of Object.entries(props)) {
      if (value === undefined || value === null) continue;
      if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
      else if (name in node) node[name] = value;
      else node.setAttribute(name, value);
    }
    node.append(...children.filter((child) => child !== null && child !== undefined));
    return node;
  }

  const SHAPES = {
    play: "M4 2.5v11l9-5.5z",
    close: "M3.5 3.5l9 9m0-9l-9 9",
    up: "M5 7v6.5M5 7l3-5c1.2 0 1.8.9 1.5 2L9 6.5h3.6c.8 0 1.3.7 1.1 1.4l-1.2 4.6c-.2.6-.6 1-1.2 1H2.5V7z",
  };

  function icon(name, className = "icon") {
    const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
    path.setAttribute("d", SHAPES[name]);
    for (const [key, value] of Object.entries({ viewBox: "0 0 16 16", class: `${className} i-${name}` })) {
      svg.setAttribute(key, value);
    }
    svg.setAttribute("aria-hidden", "true");
    svg.append(path);
    return svg;
  }

  /** The address where it is one of the web, else null: a link to anything else is never made. */
  function webAddress(address) {
    try {
      const url = new URL(address);
      return url.protocol === "http:" || url.protocol === "https:" ? url.href : null;
    } catch {
      return null;
    }
  }

  /** A link that opens beside the page, or plain words where the address is none. */
  function outward(address, props, ...children) {
    const href = webAddress(address);
    return href
      ? el("a", { ...props, href, target: "_blank", rel: "noopener noreferrer" }, ...children)
      : el("span", { className: props.className }, ...children);
  }

  /** A speaker's hue in degrees: always the same for the same name. Reds are left to the dot. */
  function hueOf(name) {
    let hash = 0x811c9dc5; // FNV-1a
    for (let i = 0; i < name.length; i++) hash = Math.imul(hash ^ name.charCodeAt(i), 0x01000193) >>> 0;
    return 60 + (hash % 280);
  }

  function speakerName(name) {
    const node = el("b", { className: "name", dir: "auto" }, name || "Unnamed");
    if (name) node.style.setProperty("--hue", hueOf(name));
    return node;
  }

  // ---- Words -------------------------------------------------------------------------------------------------------

  const plain = (text) => text.replace(JOINERS, "");
  const counted = (count, one, many = `${one}s`) => `${count.toLocaleString("en")} ${count === 1 ? one : many}`;
  const where = (citation) => citation.timestamp ?? citation.locator;

  /** A date of the form 2023-03-08 as people write it; anything else as it is. */
  function written(date) {
    const day = /^\d{4}-\d\d-\d\d$/.test(date ?? "") ? new Date(date) : null;
    if (!day || Number.isNaN(day.getTime())) return date;
    return day.toLocaleDateString("en-GB", { day: "numeric", month: "short", year: "numeric", timeZone: "UTC" });
  }

  function length(seconds) {
    const minutes = Math.round(seconds / 60);
    if (minutes < 60) return counted(Math.max(minutes, 1), "minute");
    const rest = minutes % 60;
    return counted(Math.floor(minutes / 60), "hour") + (rest ? ` ${String(rest).padStart(2, "0")}` : "");
  }

  /** Text that Markdown shows as it is. */
  const escaped = (text) => plain(text).replace(/[\\`*_{}[\]<>#|~!]/g, "\\$&").replace(/\s+/g, " ");

  /** Whether a line of an answer only repeats a citation, which stands as a card. */
  function isQuotation(line, citations) {
    const marker = /” \[(\d+)\](?: \(.*\))?$/.exec(line)?.[1];
    const citation = citations.find((each) => String(each.marker) === marker);
    return Boolean(citation) && plain(line).startsWith(`“${plain(citation.quote)}” [${marker}]`);
  }

  /**
   * The lines of an answer that are to be read as text. An answer in quotations repeats each card, under a line that
   * names the speaker: both are left out. `answerer` is not known before the answer is whole.
   */
  function proseOf({ text, citations, answer }) {
    const lines = answer?.near_misses.length ? text.replace(NEAREST, "").split("\n") : text.split("\n");
    if (answer?.answerer === "llm") return lines.filter((line) => line.trim());
    return lines.filter((line, i) => {
      if (!line.trim() || isQuotation(line, citations)) return false;
      const next = lines[i + 1];
      const names = line.endsWith(":") && next !== undefined;
      return !(names && (next ? isQuotation(next, citations) : !answer));
    });
  }

  function parsed(data) {
    try {
      return JSON.parse(data);
    } catch {
      throw trouble("The answer cannot be read.");
    }
  }

  /** A reader of Server-Sent Events: takes the text in whatever pieces it comes, gives the events that are complete. */
  function eventReader() {
    let rest = "";
    let name = "";
    let data = [];
    return (piece) => {
      const events = [];
      const lines = (rest + piece).split(/\r\n|\n|\r(?!$)/); // a "\r" at the end may be half of "\r\n"
      rest = lines.pop();
      for (const line of lines) {
        const [, field, value] = /^([^:]*)(?:: ?(.*))?$/s.exec(line);
        if (line === "") {
          if (data.length) events.push({ name: name || "message", data: data.join("\n") });
          name = "";
          data = [];
        } else if (field === "event") name = value ?? "";
        else if (field === "data") data.push(value ?? "");
      }
      return events;
    };
  }

  // ---- The server --------------------------------------------------------------------------------------------------

  /** An error with what the user is told as its message. `status` is 0 where no answer came at all. */
  const trouble = (message, status = 0, fields = []) => Object.assign(new Error(message), { status, fields });

  /** Browsers do not tell a page of another origin whether it was refused or nobody was there. */
  function unreachable(foreign) {
    if (navigator.onLine === false) return trouble("You are offline.");
    return trouble(`The archive cannot be reached ${foreign ? "from this page" : "right now"}.`);
  }

  async function refusal(response) {
    const body = await response.json().catch(() => null);
    const fields = (body?.errors ?? []).map((each) => each.field);
    if (response.status === 429) {
      const seconds = Number(response.headers.get("retry-after"));
      return trouble(`Too many questions at once. Try again ${seconds ? `in ${seconds} s` : "in a moment"}.`, 429);
    }
    return trouble(body?.detail || `The archive answered with an error (${response.status}).`, response.status, fields);
  }

  /**
   * All that is asked of the server goes through here. A page of another origin shows a token, which the server gives
   * to the origins that may ask it, and which is fetched anew when it is about to expire or is refused.
   */
  function connect(base) {
    const foreign = new URL(base).origin !== location.origin;
    let token = null;

    async function send(path, { method = "GET", headers = {}, body, signal } = {}) {
      try {
        const init = { method, headers, body, signal, credentials: "same-origin", cache: "no-store" };
        return await fetch(new URL(path, base), init);
      } catch (error) {
        throw error.name === "AbortError" ? error : unreachable(foreign);
      }
    }

    async function fetchToken() {
      const response = await send("v1/widget-token", { method: "POST" });
      if (!response.ok) throw await refusal(response);
      const given = await response.json();
      return { value: given.token, until: Date.now() + given.expires_in * 900 }; // a tenth early
    }

    async function authorization(renew) {
      if (renew || !token || (await token).until < Date.now()) token = fetchToken();
      const asked = token;
      try {
        return { "X-OnRecord-Token": (await asked).value };
      } catch (error) {
        if (token === asked) token = null;
        throw error;
      }
    }

    /** The response, or throws what the user is to be told. With a `body` it is a POST of JSON. */
    async function request(path, { body, signal } = {}, renew = false) {
      const headers = foreign ? await authorization(renew) : {};
      if (body) headers["Content-Type"] = "application/json";
      const method = body ? "POST" : "GET";
      const response = await send(path, { method, headers, body: body && JSON.stringify(body), signal });
      if (response.status === 401 && foreign && !renew) return request(path, { body, signal }, true);
      if (!response.ok) throw await refusal(response);
      return response;
    }

    /** The events of an answer, as many at a time as came together. Throws where the server falls silent. */
    async function* stream(path, options) {
      const response = await request(path, options);
      const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
      const read = eventReader();
      try {
        for (;;) {
          let timer;
          const silence = new Promise((_, reject) => {
            timer = setTimeout(() => reject(trouble("The archive has fallen silent.")), QUIET_MS);
          });
          const { done, value } = await Promise.race([reader.read(), silence]).finally(() => clearTimeout(timer));
          if (done) return;
          yield read(value);
        }
      } finally {
        reader.cancel().catch(() => {});
      }
    }

    return {
      base,
      foreign,
      stream,
      json: async (path, options) => (await request(path, options)).json(),
      address: (path) => new URL(path, base).href,
    };
  }

  // ---- Style -------------------------------------------------------------------------------------------------------

  // Lengths are in pixels and fonts in em of `medium`: the page's own root size has no say, the visitor's has.
  const sheet = new CSSStyleSheet();
  sheet.replaceSync(`
:host { all: initial; display: block }
.root {
  all: initial; display: block; color-scheme: light;
  --accent: var(--on-record-accent, #b3261e);
  --paper: var(--on-record-paper, #faf9f6);
  --surface: var(--on-record-surface, #fff);
  --ink: var(--on-record-ink, #1d1d1b);
  --muted: var(--on-record-muted, #5e5b54);
  --line: var(--on-record-line, #e4e1da);
  --edge: color-mix(in srgb, var(--ink) 52%, var(--paper));
  --serif: var(--on-record-serif, "Iowan Old Style", "Palatino Linotype", Palatino, Georgia, serif);
  --sans: var(--on-record-sans, system-ui, sans-serif);
  --radius: var(--on-record-radius, 10px);
  --mark: #f7e7b0; --voice: .46 .085;
  font: medium/1.5 var(--sans); color: var(--ink);
  -webkit-text-size-adjust: 100%; text-size-adjust: 100%;
}
@media (prefers-color-scheme: dark) {
  .root {
    color-scheme: dark;
    --accent: var(--on-record-accent, #f4827a);
    --paper: var(--on-record-paper, #1b1b1a);
    --surface: var(--on-record-surface, #242423);
    --ink: var(--on-record-ink, #ece8df);
    --muted: var(--on-record-muted, #a8a49a);
    --line: var(--on-record-line, #373632);
    --mark: #55471a; --voice: .78 .085;
  }
}
*, ::before, ::after { box-sizing: border-box }
[hidden] { display: none !important }
h1, h2, h3, p, ol, ul, blockquote, figure { margin: 0; padding: 0; font: inherit }
ol, ul { list-style: none }
button, input, select, textarea { font: inherit; color: inherit; margin: 0; letter-spacing: inherit }
button { background: none; border: 0; padding: 0; cursor: pointer; text-align: inherit }
a { color: inherit; text-decoration-color: var(--edge); text-underline-offset: .18em }
a:hover { text-decoration-color: currentColor }
:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; border-radius: 3px }
.sr { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap }
.icon { width: 1em; height: 1em; fill: currentColor; flex: none }
.i-close, .i-up { fill: none; stroke: currentColor; stroke-width: 1.5; stroke-linejoin: round }
.i-close { stroke-linecap: round }
.down { transform: rotate(180deg) }
.dot { display: inline-block; width: .55em; height: .55em; border-radius: 50%; background: var(--accent); flex: none }
.name { font-weight: 600; color: oklch(var(--voice) var(--hue)) }
.name:not([style]) { color: var(--muted) }

/* The frame: the conversation, and beside it or over it the evidence. */
.chat { position: relative; display: grid; grid: minmax(0, 1fr) / minmax(0, 1fr); overflow: hidden;
  height: var(--on-record-height, min(40em, 90vh)); background: var(--paper);
  border: 1px solid var(--line); border-radius: var(--radius) }
.in-page .chat { height: var(--viewport, 100dvh); border: 0; border-radius: 0 }
.panel .chat { height: 100%; border: 0; border-radius: 0 }
.chat.wide.open { grid-template-columns: minmax(0, 1fr) minmax(340px, 42%) }
.talk { display: flex; flex-direction: column; min-height: 0; min-width: 0 }
.bar { display: flex; align-items: center; gap: 4px 20px; padding: 10px 20px; border-bottom: 1px solid var(--line) }
.in-page .bar { padding-left: max(24px, env(safe-area-inset-left));
  padding-right: max(24px, env(safe-area-inset-right));
  padding-top: max(12px, env(safe-area-inset-top)) }
.brand { display: flex; align-items: center; gap: .45em; margin-right: auto; font: 600 1.15em/1.3 var(--serif);
  min-width: 0; overflow-wrap: anywhere }
.in-page .brand { font-size: 1.3em; white-space: nowrap }
.bar a, .bar button { font-size: .875em; color: var(--muted); text-decoration: none; min-height: 28px;
  display: inline-flex; align-items: center; white-space: nowrap }
.bar a:hover, .bar button:hover { color: var(--ink); text-decoration: underline }
.bar .close, .evidence .close { justify-content: center; width: 32px; height: 32px; margin-right: -8px; font-size: 1em }

.log { flex: 1; min-height: 0; overflow-y: auto; overscroll-behavior: contain; position: relative;
  container-type: size; overflow-anchor: none; scrollbar-gutter: stable both-edges; scrollbar-width: thin;
  outline-offset: -3px }
.column { max-width: 720px; margin: 0 auto; padding: 0 20px }
.wide .column { padding: 0 32px }

/* Nothing asked yet. */
.holds { font: 1.3em/1.35 var(--serif); padding-bottom: 12px; text-wrap: balance }
.suggested { padding-block: 0 8px }
.suggested li + li { border-top: 1px solid var(--line) }
.suggested button { display: block; width: 100%; padding: 11px 0; font: 1.0625em/1.4 var(--serif) }
.suggested button:hover { color: var(--accent) }
.empty .log { display: flex; flex-direction: column; justify-content: flex-end }
.empty .log > .column { width: 100% }
.empty .log > .holds { margin-top: auto }
.in-page .wide.empty .talk { justify-content: flex-start }
.in-page .wide.empty .log { flex: 0 0 auto; container-type: normal; padding-top: max(6vh, 17vh - 2em) }
.in-page .wide.empty .bar { border-color: transparent }
.in-page .wide.empty .holds { font-size: 1.6em }
.in-page .wide.empty .composer { border-color: transparent; background: none }
.in-page .wide.empty .talk > .suggested { max-width: 720px; width: 100%; margin: 0 auto; padding: 8px 32px }

/* A question and its answer. */
.exchange { padding: 24px 0 28px }
.exchange + .exchange { border-top: 1px solid var(--line) }
.exchange:last-child { min-height: 100cqh }
.question { font-weight: 600; font-size: 1.0625em; line-height: 1.4; overflow-wrap: anywhere; text-wrap: pretty;
  white-space: pre-line }
.note { color: var(--muted); font-size: .875em; margin-top: 3px; overflow-wrap: anywhere }
.body { margin-top: 14px }
.exchange.asking .body { min-height: 120px }
.body p { font-size: 1.0625em; line-height: 1.6; overflow-wrap: anywhere; text-wrap: pretty }
.body p + p { margin-top: .6em }
.reading { color: var(--muted); font-size: .9375em }
.reading li { font-family: var(--serif);
  overflow: hidden; text-overflow: ellipsis; white-space: nowrap; padding: 2px 0 }
.exchange.asking .reading .dot, .exchange.asking .body > p:last-of-type::after, .asking .brand .dot {
  animation: breathe 1.6s infinite }
.exchange.asking .body > p:last-of-type::after { content: ""; display: inline-block; width: .5em; height: .5em;
  border-radius: 50%; background: var(--accent); margin-left: .35em }
.reading .dot { margin-right: .6em }
@keyframes breathe { 50% { opacity: .25; scale: .8 } }

.marker { display: inline-flex; align-items: center; justify-content: center; min-width: 24px; height: 24px;
  padding: 0 6px; font: 600 .75em/1 var(--sans); font-size: 12px; font-variant-numeric: tabular-nums;
  color: var(--ink); background: var(--surface); border: 1px solid var(--edge); border-bottom-width: 2px;
  border-radius: 6px; vertical-align: .1em; margin: 0 1px }
.marker:hover, .marker.lit, .lit > .marker, .shown > .marker { color: var(--paper); background: var(--accent);
  border-color: var(--accent) }
.marker:focus-visible { border-radius: 6px }

.group { margin-top: 22px }
.body:empty + .cards > .group:first-child { margin-top: 0 }
.group > header { font-size: .9375em; line-height: 1.4; color: var(--muted); overflow-wrap: anywhere }
.inferred { color: var(--muted); font-size: .9em }
.card { position: relative; display: flex; gap: 12px; padding: 12px 12px 8px 14px; margin-top: 6px; cursor: pointer;
  border-left: 3px solid var(--edge); border-left-color: oklch(var(--voice) var(--hue));
  border-radius: 0 var(--radius) var(--radius) 0 }
.card + .card { margin-top: 0 }
.card:not([style]) { border-left-color: var(--edge) }
.card:hover, .card.lit, .card.shown { background: color-mix(in srgb, var(--ink) 5%, var(--paper)) }
.card > div { flex: 1; min-width: 0 }
.asked { color: var(--muted); font-size: .875em; margin-bottom: 6px; overflow-wrap: anywhere }
.asked q { font-family: var(--serif); font-style: italic; quotes: "“" "”" }
blockquote { font: 1.1875em/1.5 var(--serif); overflow-wrap: anywhere; hanging-punctuation: first; text-wrap: pretty }
.foot { display: flex; align-items: center; justify-content: space-between; gap: 0 16px;
  font-size: .8125em; color: var(--muted); min-height: 28px; margin-top: 4px }
.foot .place { overflow-wrap: anywhere; min-width: 0; padding: 3px 0 }
.time { font-variant-numeric: tabular-nums }
a.time { display: inline-flex; align-items: center; gap: .4em; color: var(--ink); text-decoration: none;
  min-height: 24px }
a.time:hover { text-decoration: underline; color: var(--accent) }
.time .icon { font-size: .8em }
.copy { display: flex; gap: 2px; margin-left: -6px }
.copy button, .after > button { min-height: 28px; padding: 0 6px; border-radius: 5px }
.copy button:hover, .after > button:hover { color: var(--ink); text-decoration: underline }
@media (hover: none) { .foot { flex-wrap: wrap } }
@media (hover: hover) {
  .copy { opacity: 0 }
  .card:hover .copy, .card:focus-within .copy { opacity: 1 }
}

/* What is no answer: the same words, in another shape. */
.instead { margin-top: 18px; border-top: 1px dashed var(--edge) }
.instead > h2, .instead > h3 { font-size: .875em; font-weight: 600; color: var(--muted); padding: 14px 0 2px }
.instead .card { border-left: 0; padding-left: 0; border-radius: 0 }
.instead .card:hover, .instead .card.shown { background: none }
.instead .card:hover blockquote, .instead .card.shown blockquote { text-decoration: underline;
  text-decoration-color: var(--edge); text-decoration-thickness: 1px; text-underline-offset: .2em }
.instead blockquote { font-size: 1.0625em }
.instead .card + .card { border-top: 1px solid var(--line) }
.instead .foot { flex-wrap: wrap }
.instead .place { flex: 1 0 100% }
.instead .foot > button { text-decoration: underline; text-decoration-color: var(--edge);
  text-underline-offset: .18em; min-height: 28px }

.trouble { margin-top: 14px; padding-left: 14px; border-left: 3px double var(--accent) }
.solid { display: inline-flex; align-items: center; justify-content: center; min-height: 36px; padding: 0 16px;
  font-weight: 600; font-size: .9375em; background: var(--ink); color: var(--paper); border-radius: 7px }
.solid:hover { background: color-mix(in srgb, var(--ink) 82%, var(--paper)) }
.solid:focus-visible { border-radius: 7px }
.trouble .solid { margin-top: 10px }
.after { display: flex; flex-wrap: wrap; align-items: center; gap: 2px 8px; margin: 16px -6px 0; font-size: .8125em;
  color: var(--muted) }
.rate { display: flex; margin-left: auto; gap: 2px }
.rate button { display: inline-flex; align-items: center; justify-content: center; width: 32px; height: 32px;
  font-size: 1.2em; border-radius: 6px }
.rate button:hover { color: var(--ink) }
.rate [aria-pressed=true] { color: var(--accent) }
.rate [aria-pressed=true] .icon { fill: currentColor }
.word { display: flex; flex-wrap: wrap; align-items: center; gap: 6px 8px; margin-top: 8px; font-size: .875em;
  color: var(--muted) }
.word input { flex: 1 1 12em; min-width: 0; min-height: 36px; padding: 0 10px; color: var(--ink);
  font-size: max(16px, 1em); background: var(--surface); border: 1px solid var(--edge); border-radius: 7px }

/* The question being written. */
.composer { border-top: 1px solid var(--line); overflow: hidden; scrollbar-gutter: stable both-edges;
  scrollbar-width: thin; padding: 12px 0 max(12px, env(safe-area-inset-bottom)) }
.box { display: flex; align-items: flex-end; gap: 8px; padding: 5px; background: var(--surface);
  border: 1px solid var(--edge); border-radius: var(--radius) }
.box:focus-within { border-color: var(--accent); outline: 1px solid var(--accent) }
textarea:focus-visible { outline: none }
textarea { flex: 1; min-width: 0; min-height: 40px; max-height: 30vh; padding: 8px 9px; border: 0; background: none;
  resize: none; font-size: max(16px, 1em); line-height: 1.5; field-sizing: content }
textarea::placeholder, .word input::placeholder { color: var(--muted); opacity: 1 }
.box .solid { min-height: 40px }
.in-page .wide.empty textarea { min-height: 48px; padding-top: 12px }
.in-page .wide.empty .box .solid { min-height: 48px; padding: 0 22px }
.filters { display: flex; flex-wrap: wrap; gap: 4px 18px; margin-top: 8px }
.filters label { display: flex; align-items: center; max-width: 100%; font-size: .875em; color: var(--muted) }
select { appearance: none; max-width: 22em; min-height: 28px; padding: 0 20px 0 6px; border: 0; cursor: pointer;
  text-overflow: ellipsis; field-sizing: content; color: var(--ink); border-radius: 5px;
  background: linear-gradient(45deg, transparent 50%, var(--muted) 50%) right 9px top 55% / 5px 5px no-repeat,
    linear-gradient(-45deg, transparent 50%, var(--muted) 50%) right 4px top 55% / 5px 5px no-repeat; min-width: 0 }
option { background: var(--surface); color: var(--ink) }
select.set { font-weight: 600 }

/* The evidence. */
.evidence { display: flex; flex-direction: column; min-height: 0; min-width: 0; background: var(--paper);
  border-left: 1px solid var(--line) }
.evidence > header { display: flex; align-items: flex-start; gap: 4px 16px; padding: 12px 20px;
  border-bottom: 1px solid var(--line) }
.evidence > header > div { flex: 1; min-width: 0 }
.evidence .title { font: 600 1.0625em/1.35 var(--serif); overflow-wrap: anywhere }
.evidence .kind { font-size: .8125em; color: var(--muted) }
.full { font-size: .875em; line-height: 32px; white-space: nowrap }
.turns { flex: 1; min-height: 0; overflow-y: auto; overscroll-behavior: contain; position: relative;
  overflow-anchor: none; padding: 8px 20px 40px; scrollbar-width: thin; outline-offset: -3px }
.turn { padding: 10px 0; outline-offset: 4px }
.turn > header { display: flex; flex-wrap: wrap; align-items: baseline; gap: 0 10px; font-size: .875em;
  overflow-wrap: anywhere }
.turn .time { color: var(--muted); font-size: .9em }
.turn p { font: 1.0625em/1.6 var(--serif); white-space: pre-line; overflow-wrap: anywhere; max-width: 68ch }
.turn.cited p { font-size: 1.125em }
mark { color: inherit; background: var(--mark); padding: .1em 0; border-radius: 2px;
  -webkit-box-decoration-break: clone; box-decoration-break: clone; scroll-margin: 30vh 0 }
.more { display: block; width: 100%; min-height: 36px; text-align: center; font-size: .875em; color: var(--muted);
  border-radius: 6px }
.more:hover { color: var(--ink); text-decoration: underline }
.turns > p { color: var(--muted); padding: 12px 0 }
.chat:not(.wide) .evidence { position: absolute; inset: auto 0 0; height: 88%; z-index: 2; border: 0;
  border-top: 1px solid var(--edge); border-radius: 14px 14px 0 0; overflow: hidden;
  box-shadow: 0 -8px 40px rgb(0 0 0 / .22); padding-bottom: env(safe-area-inset-bottom) }
.wide .scrim { display: none }
.chat:not(.wide) .scrim { position: absolute; inset: 0; z-index: 1; background: rgb(0 0 0 / .35) }

/* The button in the corner, and what it opens. */
.launcher { position: fixed; z-index: 2147483000; display: inline-flex; align-items: center; gap: .55em;
  right: calc(env(safe-area-inset-right) + var(--on-record-offset, 20px));
  bottom: calc(env(safe-area-inset-bottom) + var(--on-record-offset, 20px));
  min-height: 48px; max-width: calc(100vw - 40px); padding: 0 20px 0 18px; border-radius: 24px;
  font-weight: 600; font-size: .9375em; background: var(--paper); color: var(--ink); border: 1px solid var(--edge);
  box-shadow: 0 2px 14px rgb(0 0 0 / .16) }
.launcher:hover { border-color: var(--ink) }
.launcher:focus-visible { border-radius: 24px }
.panel { position: fixed; z-index: 2147483000; inset: auto; margin: 0; padding: 0; color: inherit; overflow: hidden;
  right: calc(env(safe-area-inset-right) + var(--on-record-offset, 20px));
  bottom: calc(env(safe-area-inset-bottom) + var(--on-record-offset, 20px) + 60px);
  width: min(26.5em, 100vw - 40px); height: min(42em, 100dvh - 110px); max-width: none; max-height: none;
  background: var(--paper); border: 1px solid var(--edge); border-radius: 14px;
  box-shadow: 0 10px 50px rgb(0 0 0 / .22) }
.panel:not([open]) { display: none }
.panel.full-screen { inset: var(--top, 0px) 0 auto; width: 100%; height: var(--viewport, 100dvh); border: 0;
  border-radius: 0; padding: env(safe-area-inset-top) env(safe-area-inset-right) 0 env(safe-area-inset-left) }
.panel::backdrop { background: var(--paper) }

@media (prefers-reduced-motion: no-preference) {
  .panel[open], .chat:not(.wide) .evidence { animation: rise .2s ease-out }
  .card, .marker { transition: background-color .12s, color .12s }
  @keyframes rise { from { transform: translateY(16px) } }
}
@media (prefers-reduced-motion: reduce) {
  .exchange.asking .reading .dot, .exchange.asking .body > p:last-of-type::after, .asking .brand .dot {
    animation: none }
}
.slim .rest { position: absolute; clip-path: inset(50%); white-space: nowrap }
.slim .bar { gap: 4px 14px; padding-left: 16px; padding-right: 12px }
.slim .column { padding-left: 16px; padding-right: 16px }
.slim .card { gap: 10px; padding-right: 4px }
.slim .evidence > header, .slim .turns { padding-left: 16px; padding-right: 16px }
@media (forced-colors: active) {
  .dot, .exchange.asking .body > p:last-of-type::after { forced-color-adjust: none; background: CanvasText }
  .marker.lit, .lit > .marker, .shown > .marker, .card.shown { outline: 2px solid Highlight }
  mark { background: Mark; color: MarkText }
  .solid { background: ButtonFace; color: ButtonText; border: 1px solid ButtonText }
  .rate [aria-pressed=true] { color: Highlight }
}
@media print {
  .root { --paper: #fff; --surface: #fff; --ink: #000; --muted: #444; --line: #bbb; --accent: #000; --voice: .35 .08 }
  .chat, .log, .talk, .exchange:last-child { display: block !important; height: auto !important; min-height: 0;
    overflow: visible; border: 0; container-type: normal }
  .evidence, .scrim, .composer, .suggested, .bar > :not(.brand), .after, .word, .foot > :not(.place), .solid,
  .launcher { display: none !important }
  .card { break-inside: avoid; background: none !important }
  .group > header { break-after: avoid }
  .marker { color: #000 !important; background: none !important; border-color: #777 !important }
  a.time::after { content: " (" attr(href) ")"; overflow-wrap: anywhere }
}
`);

  // ---- The element -------------------------------------------------------------------------------------------------

  /**
   * A conversation is a list of exchanges. An exchange has `question`, `speaker` and `source` (what it is limited to),
   * `state` (asking, done, stopped, failed), the `text` and `citations` that have come, the whole `answer` when it is
   * done, `trouble` when it failed, and the reader's `rating`. What is drawn of it is in `#views`.
   */
  class OnRecordChat extends HTMLElement {
    #server;
    #mode;
    #key;
    #exchanges = [];
    #conversation = null;
    #asking = null; // the AbortController of the answer that is coming
    #views = new Map();
    #ui = {};
    #filters = { speaker: null, source: null };
    #sources = new Map();
    #recalled = 0; // how many questions back the arrow has gone
    #evidence = null; // what is open: {citation, opener, first, last, abort}
    #welcomed = false;
    #listening = null;
    #resized = new ResizeObserver(() => this.#layOut());

    connectedCallback() {
      if (!this.shadowRoot) this.#build();
      this.#listening = new AbortController();
      const { signal } = this.#listening;
      addEventListener("pagehide", () => this.#save(), { signal });
      if (this.#mode === "page") document.addEventListener("keydown", (event) => this.#pageKey(event), { signal });
      if (this.#mode !== "inline") this.#followViewport(signal);
      if (this.#mode === "launcher") {
        matchMedia(SMALL_SCREEN).addEventListener("change", () => this.#fitPanel(), { signal });
      } else {
        this.#welcome();
      }
      this.#resized.observe(this.#ui.chat);
      this.#layOut();
      this.#toLatest("auto");
    }

    disconnectedCallback() {
      this.stop();
      this.#save();
      this.#listening.abort();
      this.#resized.disconnect();
    }

    /** Asks a question; false where there is none, or an answer is still coming. */
    ask(question, { speaker = null, source = null } = {}) {
      const asked = question.trim().slice(0, MOST_CHARACTERS);
      if (!asked || this.#asking) return false;
      const last = this.#exchanges.at(-1);
      const again = ["failed", "stopped"].includes(last?.state) && last.question === asked;
      if (again && last.speaker === speaker && last.source === source) {
        this.#run(last);
        return true;
      }
      const exchange = { question: asked, speaker, source, state: "asking", rating: null };
      this.#exchanges.push(exchange);
      for (const old of this.#exchanges.splice(0, this.#exchanges.length - MOST_EXCHANGES)) {
        this.#views.get(old)?.node.remove();
        this.#views.delete(old);
      }
      this.#run(exchange);
      return true;
    }

    /** Ends the answer that is coming; what has come of it stays. */
    stop() {
      this.#asking?.abort();
    }

    /** Forgets the conversation. */
    clear() {
      this.stop();
      this.#exchanges = [];
      this.#conversation = null;
      this.#views.clear();
      this.#ui.exchanges.replaceChildren();
      this.#closeEvidence();
      this.#welcome();
      this.#layOut();
      this.#save();
      this.#ui.input.focus();
      this.#changed();
    }

    // -- Building ----------------------------------------------------------------------------------------------------

    #build() {
      this.#mode = this.getAttribute("mode") ?? "inline";
      this.#server = connect(new URL(this.getAttribute("server") ?? HOME, location.href).href);
      this.#key = `${STORED}:${this.#mode}:${this.#server.base}`;
      const heading = this.getAttribute("heading") ?? "On Record";
      const ui = this.#ui;
      ui.live = el("div", { className: "sr", "aria-live": "polite" });
      ui.chat = el("div", { className: "chat" }, this.#talk(heading), ui.live);
      ui.root = el("div", { className: `root in-${this.#mode}`, lang: "en", dir: "ltr" });
      ui.root.append(this.#mode === "launcher" ? this.#launcher(heading) : ui.chat);
      ui.root.addEventListener("keydown", (event) => this.#rootKey(event));
      const shadow = this.attachShadow({ mode: "open" });
      shadow.adoptedStyleSheets = [sheet];
      shadow.append(ui.root);
      this.#restore();
    }

    #talk(heading) {
      const ui = this.#ui;
      const level = this.#mode === "page" ? "h1" : "h2";
      ui.brand = el(level, { className: "brand", id: "heading" }, el("span", { className: "dot" }), heading);
      const rest = el("span", { className: "rest" }, "\u00a0conversation");
      ui.renew = el("button", { type: "button", onclick: () => this.clear() }, "New", rest);
      ui.bar = el("header", { className: "bar" }, ui.brand, ui.renew);
      if (this.#mode === "page") ui.renew.before(el("a", { href: this.#server.address("sources") }, "Sources"));
      ui.holds = el("div", { className: "column holds" });
      ui.suggested = el("ul", { className: "suggested", "aria-label": "Questions to begin with" });
      ui.exchanges = el("div", { className: "column" });
      const label = { role: "log", "aria-label": "Conversation", "aria-live": "off", tabIndex: 0 };
      ui.log = el("div", { className: "log", ...label }, ui.holds, ui.exchanges);
      ui.talk = el("div", { className: "talk" }, ui.bar, ui.log, this.#composer());
      return ui.talk;
    }

    #composer() {
      const ui = this.#ui;
      ui.input = el("textarea", {
        id: "question",
        rows: 1,
        maxLength: MOST_CHARACTERS,
        enterKeyHint: "send",
        autocomplete: "off",
        dir: "auto",
        oninput: () => this.#typed(),
        onkeydown: (event) => this.#inputKey(event),
      });
      ui.send = el("button", { className: "solid", type: "submit" }, "Ask");
      const box = el("div", { className: "box" }, ui.input, ui.send);
      const label = el("label", { className: "sr", htmlFor: "question" }, "Your question");
      const inner = el("div", { className: "column" }, label, box);
      if (this.#mode === "page") inner.append(this.#filterFields());
      const onsubmit = (event) => {
        event.preventDefault();
        this.#submit();
      };
      ui.form = el("form", { className: "composer", onsubmit }, inner);
      return ui.form;
    }

    #filterFields() {
      const field = (name, all) => {
        const onchange = () => this.#limit({ ...this.#filters, [name]: this.#ui[name].value || null });
        const props = { onchange, "aria-label": `Only this ${name}` };
        this.#ui[name] = el("select", props, el("option", { value: "" }, all));
        return el("label", {}, this.#ui[name]);
      };
      return el("div", { className: "filters" }, field("speaker", "Everybody"), field("source", "All sources"));
    }

    #launcher(heading) {
      const ui = this.#ui;
      ui.launcher = el(
        "button",
        { className: "launcher", type: "button", "aria-expanded": "false", "aria-controls": "panel" },
        el("span", { className: "dot" }),
        heading,
      );
      ui.launcher.addEventListener("click", () => (ui.panel.open ? this.#closePanel() : this.#openPanel()));
      ui.bar.append(this.#closeButton(() => this.#closePanel()));
      ui.panel = el("dialog", { className: "panel", id: "panel", "aria-labelledby": "heading" }, ui.chat);
      ui.panel.addEventListener("cancel", (event) => {
        event.preventDefault();
        this.#escape();
      });
      return el("section", { "aria-label": heading }, ui.launcher, ui.panel);
    }

    #closeButton(onclick, label = "Close") {
      return el("button", { type: "button", className: "close", "aria-label": label, onclick }, icon("close"));
    }

    #openPanel() {
      const full = matchMedia(SMALL_SCREEN).matches;
      this.#ui.panel.classList.toggle("full-screen", full);
      if (full) this.#ui.panel.showModal();
      else this.#ui.panel.show();
      this.#ui.launcher.setAttribute("aria-expanded", "true");
      this.#welcome();
      this.#layOut();
      this.#toLatest("auto");
      this.#ui.input.focus();
    }

    #closePanel() {
      this.#closeEvidence();
      this.#ui.panel.close();
      this.#ui.launcher.setAttribute("aria-expanded", "false");
      this.#ui.launcher.focus();
    }

    /** Only a full screen is modal: an open panel is opened again where the window becomes small, or large. */
    #fitPanel() {
      if (!this.#ui.panel.open) return;
      this.#ui.panel.close();
      this.#openPanel();
    }

    /** Keeps what fills the window above the on-screen keyboard, which browsers lay over it. */
    #followViewport(signal) {
      const viewport = window.visualViewport;
      if (!viewport) return;
      const follow = () => {
        const covered = viewport.scale === 1 && innerHeight - viewport.height > 80;
        const { style } = this.#ui.root;
        if (covered) {
          style.setProperty("--viewport", `${viewport.height}px`);
          style.setProperty("--top", `${viewport.offsetTop}px`);
        } else {
          style.removeProperty("--viewport");
          style.removeProperty("--top");
        }
      };
      viewport.addEventListener("resize", follow, { signal });
      viewport.addEventListener("scroll", follow, { signal });
    }

    /** What depends on the room there is, and on what is shown in it. */
    #layOut() {
      const ui = this.#ui;
      const wide = ui.chat.clientWidth >= WIDE;
      const empty = this.#exchanges.length === 0;
      ui.chat.classList.toggle("wide", wide);
      ui.chat.classList.toggle("slim", ui.chat.clientWidth < SLIM);
      ui.chat.classList.toggle("open", Boolean(this.#evidence));
      ui.chat.classList.toggle("empty", empty);
      ui.chat.classList.toggle("asking", Boolean(this.#asking));
      ui.talk.inert = Boolean(this.#evidence) && !wide;
      ui.holds.hidden = ui.suggested.hidden = !empty;
      ui.renew.hidden = empty;
      ui.send.textContent = this.#asking ? "Stop" : "Ask";
      ui.input.placeholder = empty ? "Ask what was said" : "Ask a follow-up";
      if (empty && wide && this.#mode === "page") ui.form.after(ui.suggested);
      else if (ui.suggested.parentNode !== ui.holds.parentNode) ui.holds.after(ui.suggested);
      ui.suggested.classList.toggle("column", ui.suggested.parentNode === ui.log);
      this.#fitInput();
    }

    #fitInput() {
      if (CSS.supports("field-sizing", "content")) return;
      const { input } = this.#ui;
      input.style.height = "auto";
      input.style.height = `${input.scrollHeight}px`;
    }

    // -- Before the first question -----------------------------------------------------------------------------------

    async #welcome() {
      if (this.#welcomed) return;
      this.#welcomed = true;
      const ui = this.#ui;
      try {
        if (this.#mode === "page") await Promise.all([this.#holdings(), this.#listFilters()]);
        else await this.#holdings();
      } catch (error) {
        this.#welcomed = false;
        const again = el("button", { type: "button", className: "solid", onclick: () => this.#welcome() }, "Try again");
        ui.holds.replaceChildren(el("p", {}, error.message), again);
      }
      if (this.#mode === "page" && !this.#exchanges.length) ui.input.focus({ preventScroll: true });
    }

    async #holdings() {
      const held = await this.#server.json("v1/overview");
      const parts = [counted(held.sources, "source"), counted(held.speakers, "voice")];
      if (held.seconds) parts.push(length(held.seconds));
      this.#ui.holds.textContent = held.sources ? `${parts.join(", ")}.` : "Nothing is on record here yet.";
      const ask = (question) => () => this.ask(question, this.#filters);
      this.#ui.suggested.replaceChildren(
        ...held.questions.map((question) =>
          el("li", {}, el("button", { type: "button", dir: "auto", onclick: ask(question) }, question)),
        ),
      );
    }

    async #listFilters() {
      const [{ speakers }, { sources }] = await Promise.all([
        this.#server.json("v1/speakers"),
        this.#server.json("v1/sources"),
      ]);
      this.#sources = new Map(sources.map((each) => [each.id, each.title]));
      const fill = (select, options) => select.replaceChildren(select.options[0], ...options);
      fill(this.#ui.speaker, speakers.map(({ name }) => el("option", { value: name }, name)));
      fill(this.#ui.source, sources.map(({ id, title }) => el("option", { value: id }, title)));
      this.#limit(this.#filters);
    }

    /** Limits the next questions to a speaker or a source; an alias, or a source that is gone, stays what it is. */
    #limit(filters) {
      this.#filters = { speaker: filters.speaker ?? null, source: filters.source ?? null };
      for (const [name, value] of Object.entries(this.#filters)) {
        const select = this.#ui[name];
        if (!select) continue;
        if (value && ![...select.options].some((each) => each.value === value)) {
          select.append(el("option", { value }, value));
        }
        select.value = value ?? "";
        select.classList.toggle("set", Boolean(value));
      }
    }

    // -- Asking ------------------------------------------------------------------------------------------------------

    #submit() {
      if (this.#asking) this.stop();
      else if (this.ask(this.#ui.input.value, this.#filters)) this.#write("");
    }

    #write(text) {
      this.#ui.input.value = text;
      this.#typed();
    }

    async #run(exchange) {
      const asking = new AbortController();
      this.#asking = asking;
      Object.assign(exchange, { state: "asking", text: "", citations: [], reading: [], answer: null, trouble: null });
      if (this.#ui.input.value.trim() === exchange.question) this.#write("");
      this.#begin(exchange);
      const { question, speaker, source } = exchange;
      const body = { question, speaker, source, conversation_id: this.#conversation, stream: true };
      try {
        for await (const events of this.#server.stream("v1/ask", { body, signal: asking.signal })) {
          for (const event of events) this.#take(exchange, event);
          if (exchange.state === "done") break; // what is kept must not wait for the connection to be closed
          if (events.length) this.#draw(exchange);
        }
        if (exchange.state === "asking") throw trouble("The answer broke off.");
      } catch (error) {
        this.#fail(exchange, asking.signal.aborted ? null : error);
      }
      this.#asking = null;
      this.#layOut();
      if (!this.#exchanges.includes(exchange)) return; // the conversation was cleared meanwhile
      this.#draw(exchange);
      this.#save();
      this.#say(spoken(exchange));
      this.#changed();
    }

    #begin(exchange) {
      this.#draw(exchange);
      this.#layOut();
      this.#save();
      this.#toLatest(matchMedia("(prefers-reduced-motion: reduce)").matches ? "auto" : "smooth");
      this.#say("Looking for an answer.");
      this.#changed();
    }

    #take(exchange, { name, data }) {
      const body = parsed(data);
      if (name === "passages") {
        this.#conversation = body.conversation_id;
        exchange.reading = [...new Set(body.passages.map((each) => each.source.title))].slice(0, 4);
      } else if (name === "citation") {
        exchange.citations.push(body);
      } else if (name === "token") {
        exchange.text += body.text;
      } else if (name === "done") {
        this.#conversation = body.conversation_id;
        const { id, status, answerer, degraded, reading, near_misses } = body;
        const answer = { id, status, answerer, degraded, reading, near_misses };
        Object.assign(exchange, { state: "done", text: body.answer, citations: body.citations, answer });
      } else if (name === "error") {
        throw trouble(body.detail ?? "The answer broke off.", body.status);
      }
    }

    /** The error is null where the reader stopped the answer. The question goes back into the box, if it is free. */
    #fail(exchange, error) {
      exchange.state = error ? "failed" : "stopped";
      const begun = Boolean(exchange.text || exchange.citations.length);
      const free = !this.#ui.input.value.trim();
      if (free && (error || !begun) && this.#exchanges.includes(exchange)) this.#write(exchange.question);
      if (!error) return;
      // What is no error of ours comes from a connection that was cut.
      const message = "status" in error ? error.message : "The connection was lost before the answer was whole.";
      const kept = free ? "Your question is still in the box." : "Your question is kept above.";
      exchange.trouble = {
        message: `${message} ${begun ? "What had come of the answer is kept. " : ""}${kept}`,
        limited: error.status === 422 && error.fields.some((field) => field === "speaker" || field === "source"),
      };
    }

    #again(exchange, filters = {}) {
      if (this.#asking) return;
      this.#ui.input.focus({ preventScroll: true }); // the button pressed is about to go
      this.#run(Object.assign(exchange, filters));
    }

    #changed() {
      const last = this.#exchanges.at(-1);
      const link = () => this.#server.address(`?${parameters(shared(last))}`);
      const detail = last ? { question: last.question, link: link() } : null;
      this.dispatchEvent(new CustomEvent("on-record-change", { detail, bubbles: true, composed: true }));
    }

    // -- Drawing an exchange -----------------------------------------------------------------------------------------

    #view(exchange) {
      const known = this.#views.get(exchange);
      if (known) return known;
      const level = this.#mode === "page" ? "h2" : "h3";
      const view = {
        scope: el("p", { className: "note" }),
        understood: el("p", { className: "note", dir: "auto" }),
        body: el("div", { className: "body" }),
        cards: el("div", { className: "cards" }),
        tail: el("div", {}),
        groups: new Map(),
        drawn: [],
        finished: null,
      };
      const question = el(level, { className: "question", dir: "auto" }, exchange.question);
      const parts = [question, view.scope, view.understood, view.body, view.cards, view.tail];
      view.node = el("article", { className: "exchange", "aria-label": exchange.question.slice(0, 120) }, ...parts);
      for (const type of ["pointerover", "focusin"]) {
        view.node.addEventListener(type, (event) => light(view.node, event.target.closest("[data-marker]")));
      }
      for (const type of ["pointerleave", "focusout"]) view.node.addEventListener(type, () => light(view.node, null));
      this.#ui.exchanges.append(view.node);
      this.#views.set(exchange, view);
      return view;
    }

    /** Brings what is shown of an exchange up to what is known of it. */
    #draw(exchange) {
      if (!this.#exchanges.includes(exchange)) return;
      const view = this.#view(exchange);
      const { answer, state } = exchange;
      view.node.classList.toggle("asking", state === "asking");
      view.node.setAttribute("aria-busy", String(state === "asking"));
      const only = [exchange.speaker, this.#sources.get(exchange.source) ?? exchange.source].filter(Boolean);
      view.scope.textContent = only.length ? `Only ${only.join(" · ")}` : "";
      view.scope.hidden = !only.length;
      const understood = understoodAs(exchange);
      view.understood.textContent = understood ? `Understood as: ${understood}` : "";
      view.understood.hidden = !understood;
      this.#drawCards(exchange, view);
      this.#drawProse(exchange, view);
      const finished = JSON.stringify([state, exchange.trouble, answer?.id]);
      if (view.finished !== finished) {
        view.finished = finished;
        view.tail.replaceChildren(...this.#tail(exchange));
      }
    }

    #drawProse(exchange, view) {
      const waiting = exchange.state === "asking" && !exchange.text && !exchange.citations.length;
      if (waiting) {
        const dot = () => el("span", { className: "dot" });
        const lines = exchange.reading.map((title) => el("li", {}, title));
        const first = el("p", { className: "note" }, dot(), lines.length ? "Reading" : "Looking through the archive");
        view.body.replaceChildren(el("div", { className: "reading" }, first, el("ul", {}, ...lines)));
        view.drawn = [];
        return;
      }
      if (!view.drawn.length) view.body.replaceChildren();
      const lines = proseOf(exchange);
      // A marker cut in two waits for its other half.
      if (exchange.state === "asking" && lines.length) lines.push(lines.pop().replace(/\[\d*$/, ""));
      lines.forEach((line, i) => {
        const before = view.drawn[i];
        if (before === line) return;
        const paragraph = view.body.children[i] ?? view.body.appendChild(el("p", { dir: "auto" }));
        // What stands already stays as it is, with the focus or the selection that may be in it.
        if (before === undefined || !line.startsWith(before)) paragraph.replaceChildren();
        paragraph.append(...this.#linked(exchange, line.slice(paragraph.hasChildNodes() ? before.length : 0)));
      });
      while (view.body.children.length > lines.length) view.body.lastChild.remove();
      view.drawn = lines;
    }

    /** Text with a button for each marker that has a citation. */
    #linked(exchange, text) {
      return text.split(/(\[\d+\])/).map((piece) => {
        const citation = exchange.citations.find((each) => piece === `[${each.marker}]`);
        return citation ? this.#marker(citation) : plain(piece);
      });
    }

    #marker(citation) {
      const said = [citation.speaker, where(citation)].filter(Boolean).join(", ");
      const label = `${citation.marker}: ${said || citation.source.title}. Read in the ${citation.source.kind}`;
      const onclick = (event) => this.#openEvidence(citation, event.currentTarget);
      const props = { type: "button", className: "marker", "data-marker": citation.marker };
      return el("button", { ...props, "aria-label": label, onclick }, String(citation.marker));
    }

    #drawCards(exchange, view) {
      const place = (each) => `${each.marker} ${each.passage_id} ${each.offset}`;
      const wanted = exchange.citations.map(place);
      const question = (each) => `${each.question} ${each.source.id} ${each.turn}`;
      const standing = view.standing ?? [];
      if (!standing.every((each, i) => each === wanted[i])) {
        view.cards.replaceChildren();
        view.groups.clear();
        standing.length = 0;
      }
      for (const citation of exchange.citations.slice(standing.length)) {
        const key = JSON.stringify([citation.speaker, citation.source.id, citation.attribution]);
        if (!view.groups.has(key)) view.groups.set(key, view.cards.appendChild(group(citation)));
        const among = exchange.citations.slice(0, exchange.citations.indexOf(citation)).map(question);
        const questionShown = among.includes(question(citation));
        view.groups.get(key).lastChild.append(this.#card(citation, { questionShown }));
      }
      view.standing = wanted;
    }

    #card(citation, { nearMiss = false, questionShown = false } = {}) {
      const props = {
        className: "card",
        onclick: (event) => {
          const selecting = !(this.shadowRoot.getSelection?.() ?? getSelection()).isCollapsed;
          if (event.target.closest("a, button") || selecting) return;
          this.#openEvidence(citation, card.querySelector("button"));
        },
      };
      if (!nearMiss) props["data-marker"] = citation.marker;
      const open = (event) => this.#openEvidence(citation, event.currentTarget);
      const label = ["In context", citation.speaker, where(citation)].filter(Boolean).join(", ");
      const title = el("bdi", {}, citation.source.title);
      const about = nearMiss
        ? [saidBy(citation), title, place(citation), written(citation.source.date)]
        : [place(citation)];
      const context = el("button", { type: "button", "aria-label": label, onclick: open }, "In context");
      const card = el(
        "li",
        props,
        nearMiss ? null : this.#marker(citation),
        el(
          "div",
          {},
          citation.question && !questionShown ? asked(citation) : null,
          el("blockquote", { dir: "auto" }, `“${citation.quote}”`),
          el(
            "div",
            { className: "foot" },
            el("div", { className: "place" }, ...dotted(about)),
            nearMiss ? context : null,
            this.#copies(citation),
          ),
        ),
      );
      if (citation.speaker) card.style.setProperty("--hue", hueOf(citation.speaker));
      return card;
    }

    #copies(citation) {
      const button = (word, text, what) => {
        const props = { type: "button", "aria-label": `${word}: copy this citation ${what}` };
        const node = el("button", props, word);
        node.addEventListener("click", () => this.#copy(text(), node));
        return node;
      };
      return el(
        "div",
        { className: "copy" },
        button("Copy", () => this.#asText(citation), "as text"),
        button("Markdown", () => this.#asMarkdown(citation), "as Markdown"),
        button("Link", () => this.#link(citation), "as a link"),
      );
    }

    /** What stands under the words of an answer: what else there is, what went wrong, and what can be done with it. */
    #tail(exchange) {
      const { answer, state, trouble: went } = exchange;
      const button = (text, onclick) => el("button", { type: "button", className: "solid", onclick }, text);
      if (state === "asking") return [];
      if (state === "failed") {
        const again = went.limited
          ? button("Ask without the limits", () => {
              this.#limit({});
              this.#again(exchange, { speaker: null, source: null });
            })
          : button("Try again", () => this.#again(exchange));
        return [el("div", { className: "trouble" }, el("p", {}, went.message), again)];
      }
      if (state === "stopped") {
        const note = el("p", { className: "note" }, exchange.text ? "Stopped before its end." : "Stopped.");
        return [el("div", { className: "trouble" }, note, button("Try again", () => this.#again(exchange)))];
      }
      const parts = [];
      if (answer.degraded) parts.push(el("p", { className: "note degraded" }, answer.degraded));
      if (answer.near_misses.length) {
        const level = this.#mode === "page" ? "h3" : "h4";
        const cards = answer.near_misses.map((each) => this.#card(each, { nearMiss: true }));
        const title = el(level, {}, "On the record instead");
        parts.push(el("section", { className: "instead" }, title, el("ol", {}, ...cards)));
      }
      parts.push(...this.#after(exchange));
      return parts;
    }

    #after(exchange) {
      const copying = (word, text) => {
        const node = el("button", { type: "button" }, word);
        node.addEventListener("click", () => this.#copy(text(), node));
        return node;
      };
      const rate = el("span", { className: "rate", role: "group", "aria-label": "Rate this answer" });
      const word = el("form", { className: "word", hidden: true });
      for (const [rating, label] of [["up", "Helpful"], ["down", "Not helpful"]]) {
        const pressed = String(exchange.rating === rating);
        const props = { type: "button", "aria-label": label, title: label, "aria-pressed": pressed };
        const node = el("button", props, icon("up", rating === "up" ? "icon" : "icon down"));
        node.addEventListener("click", () => this.#rate(exchange, rating, rate, word));
        node.dataset.rating = rating;
        rate.append(node);
      }
      const tools = [
        copying("Copy answer", () => this.#answerAsMarkdown(exchange)),
        copying("Copy link", () => this.#server.address(`?${parameters(shared(exchange))}`)),
        rate,
      ];
      return [el("div", { className: "after" }, ...tools), word];
    }

    /** Sends a rating at once, and then offers to add a word to it, which is sent in its place. */
    async #rate(exchange, rating, rate, word) {
      exchange.rating = rating;
      for (const each of rate.children) each.setAttribute("aria-pressed", String(each.dataset.rating === rating));
      this.#save();
      const thanks = () => el("span", {}, "Thank you.");
      const props = { maxLength: 1000, dir: "auto", placeholder: "A word on that?" };
      const input = el("input", { ...props, "aria-label": "A word on that, if you like" });
      const send = async (comment, sent) => {
        const body = { answer_id: exchange.answer.id, rating, comment };
        try {
          await this.#server.json("v1/feedback", { body });
          word.replaceChildren(...sent);
          this.#say("Thank you.");
        } catch (error) {
          const again = el("button", { type: "button", onclick: () => send(comment, sent) }, "Send again");
          word.replaceChildren(el("span", {}, `Not sent. ${error.message}`), again);
          this.#say(`Not sent. ${error.message}`);
        }
        word.hidden = false;
      };
      word.onsubmit = (event) => {
        event.preventDefault();
        send(input.value.trim() || null, [thanks()]);
      };
      await send(null, [thanks(), input, el("button", { type: "submit", className: "solid" }, "Send")]);
    }

    // -- Copying -----------------------------------------------------------------------------------------------------

    #path({ source, turn, offset, quote }) {
      const end = offset + [...quote].length;
      return `sources/${encodeURIComponent(source.id)}#turn-${turn}.${offset}-${end}`;
    }

    #link(citation) {
      return this.#server.address(this.#path(citation));
    }

    #asText(citation) {
      const { source } = citation;
      const by = [citation.speaker, source.title, where(citation), written(source.date)].filter(Boolean).join(", ");
      return `“${citation.quote}” (${by}) ${this.#link(citation)}`;
    }

    /** Who said it and where, for Markdown: the title leads to the transcript, the time to the recording. */
    #byline(citation) {
      const recording = webAddress(citation.url);
      const place = where(citation) && escaped(where(citation));
      return [
        citation.speaker && escaped(citation.speaker),
        `[${escaped(citation.source.title)}](${this.#link(citation)})`,
        recording && place ? `[${place}](<${recording}>)` : place,
        citation.source.date && escaped(written(citation.source.date)),
      ]
        .filter(Boolean)
        .join(", ");
    }

    #asMarkdown(citation) {
      return `> “${escaped(citation.quote)}”\n>\n> — ${this.#byline(citation)}`;
    }

    #answerAsMarkdown(exchange) {
      const prose = proseOf(exchange).map((line) =>
        line.split(/(\[\d+\])/).map((piece) => (/^\[\d+\]$/.test(piece) ? `\\${piece}` : escaped(piece))).join(""),
      );
      const cited = exchange.citations.map(
        (each) => `${each.marker}. “${escaped(each.quote)}” — ${this.#byline(each)}`,
      );
      const near = exchange.answer.near_misses.map((each) => `- “${escaped(each.quote)}” — ${this.#byline(each)}`);
      if (near.length) near.unshift("On the record instead:", "");
      const parts = [`**${escaped(exchange.question)}**`, ...prose, cited.join("\n"), near.join("\n")];
      return `${parts.filter(Boolean).join("\n\n")}\n`;
    }

    async #copy(text, button) {
      const done = await this.#toClipboard(text);
      const word = button.dataset.word ?? button.textContent;
      button.dataset.word = word;
      button.textContent = done ? "Copied" : "Not copied";
      this.#say(button.textContent);
      setTimeout(() => {
        button.textContent = word;
      }, 1600);
    }

    async #toClipboard(text) {
      try {
        await navigator.clipboard.writeText(text);
        return true;
      } catch {
        // Pages without TLS and frames without the permission have only the older way.
        const area = el("textarea", { className: "sr", value: text, "aria-hidden": "true" });
        const focused = this.shadowRoot.activeElement;
        this.#ui.root.append(area);
        area.select();
        const done = document.execCommand("copy");
        area.remove();
        focused?.focus();
        return done;
      }
    }

    // -- The evidence ------------------------------------------------------------------------------------------------

    async #openEvidence(citation, opener) {
      this.#evidence?.abort.abort();
      const at = opener.getBoundingClientRect().top;
      const open = { citation, opener, abort: new AbortController() };
      open.first = Math.max(0, citation.turn - AROUND);
      open.last = citation.turn + AROUND;
      this.#evidence = open;
      const { ui, list } = this.#evidencePanel(citation);
      this.#markShown();
      this.#layOut();
      // The words just read stay where they were, though they may now be set in narrower lines.
      this.#ui.log.scrollTop += opener.getBoundingClientRect().top - at;
      ui.close.focus({ preventScroll: true });
      try {
        const { turns, source } = await this.#turns(open, open.first, open.last);
        open.last = Math.min(open.last, source.turns - 1);
        open.total = source.turns;
        list.append(...turns.map((turn, i) => this.#turn(turn, turns[i - 1], citation)));
        ui.turns.replaceChildren(ui.earlier, list, ui.later);
        this.#offerMore(open, ui);
        const cited = list.querySelector("mark") ?? list.querySelector(".cited") ?? list;
        const turn = cited.closest(".turn") ?? list;
        cited.scrollIntoView({ block: "center" });
        turn.focus({ preventScroll: true });
      } catch (error) {
        if (open.abort.signal.aborted) return;
        const again = el("button", { type: "button", className: "solid" }, "Try again");
        again.addEventListener("click", () => this.#openEvidence(citation, opener));
        ui.turns.replaceChildren(el("p", {}, error.message), again);
        this.#say(error.message);
      }
    }

    #evidencePanel(citation) {
      const { source } = citation;
      const more = (word, onclick) => el("button", { type: "button", className: "more", onclick, hidden: true }, word);
      const ui = {
        close: this.#closeButton(() => this.#closeEvidence(), `Close the ${source.kind}`),
        turns: el("div", { className: "turns", tabIndex: 0, role: "region", "aria-label": "Around the words cited" }),
        earlier: more("Earlier", () => this.#moreTurns(ui, list, -MORE)),
        later: more("Later", () => this.#moreTurns(ui, list, MORE)),
      };
      const list = el("ol", {});
      const full = { className: "full", href: this.#link(citation) };
      if (this.#mode !== "page") Object.assign(full, { target: "_blank", rel: "noopener noreferrer" });
      const about = [capital(source.kind), written(source.date)].filter(Boolean).join(" · ");
      const head = el(
        "header",
        {},
        el(
          "div",
          {},
          el("p", { className: "kind" }, about),
          el("h2", { className: "title", id: "title", dir: "auto" }, source.title),
        ),
        el("a", full, "Read in full"),
        ui.close,
      );
      ui.turns.append(el("p", {}, "Opening …"));
      this.#ui.evidence?.remove();
      this.#ui.scrim?.remove();
      const props = { className: "evidence", role: "dialog", "aria-labelledby": "title" };
      this.#ui.evidence = el("section", props, head, ui.turns);
      this.#ui.scrim = el("div", { className: "scrim", onclick: () => this.#closeEvidence() });
      this.#ui.talk.after(this.#ui.scrim, this.#ui.evidence);
      return { ui, list };
    }

    #turns({ citation, abort }, first, last) {
      const path = `v1/sources/${encodeURIComponent(citation.source.id)}?first=${first}&last=${last}`;
      return this.#server.json(path, { signal: abort.signal });
    }

    #turn(turn, before, citation) {
      const cited = turn.index === citation.turn;
      const place = turn.timestamp ?? turn.locator;
      const text = el("p", { dir: "auto" });
      const [begin, end] = cited ? span(turn.text, citation) : [0, 0];
      if (cited) text.append(turn.text.slice(0, begin), el("mark", {}, turn.text.slice(begin, end)));
      text.append(turn.text.slice(end));
      const named = turn.speaker !== before?.speaker || cited;
      const time = cited && citation.url ? recordingLink(citation) : place && el("span", { className: "time" }, place);
      const head = el("header", {}, named && turn.speaker ? speakerName(turn.speaker) : null, time || null);
      const node = el("li", { className: cited ? "turn cited" : "turn" }, head, text);
      if (cited) node.tabIndex = -1;
      return node;
    }

    async #moreTurns(ui, list, count) {
      const open = this.#evidence;
      const [first, last] =
        count < 0 ? [Math.max(0, open.first + count), open.first - 1] : [open.last + 1, open.last + count];
      try {
        const { turns } = await this.#turns(open, first, last);
        const nodes = turns.map((turn, i) => this.#turn(turn, turns[i - 1], open.citation));
        const { scrollHeight, scrollTop } = ui.turns;
        if (count < 0) {
          open.first = first;
          list.prepend(...nodes);
        } else {
          open.last = Math.min(last, open.total - 1);
          list.append(...nodes);
        }
        const focused = this.shadowRoot.activeElement;
        this.#offerMore(open, ui);
        if (focused?.hidden) ui.turns.focus({ preventScroll: true });
        if (count < 0) ui.turns.scrollTop = scrollTop + ui.turns.scrollHeight - scrollHeight;
        this.#say(`${counted(turns.length, "turn")} more.`);
      } catch (error) {
        if (!open.abort.signal.aborted) this.#say(error.message);
      }
    }

    #offerMore(open, ui) {
      ui.earlier.hidden = open.first === 0;
      ui.later.hidden = open.last >= open.total - 1;
    }

    #closeEvidence() {
      const open = this.#evidence;
      if (!open) return;
      open.abort.abort();
      this.#evidence = null;
      this.#ui.evidence.remove();
      this.#ui.scrim.remove();
      this.#markShown();
      this.#layOut();
      if (open.opener.isConnected) open.opener.focus({ preventScroll: true });
      else this.#ui.input.focus();
    }

    /** Marks the card whose place is open beside it. */
    #markShown() {
      for (const card of this.#ui.exchanges.querySelectorAll(".card.shown")) card.classList.remove("shown");
      const opener = this.#evidence?.opener;
      if (!opener) return;
      const twin = `li[data-marker="${opener.dataset.marker}"]`;
      (opener.closest(".card") ?? opener.closest(".exchange").querySelector(twin))?.classList.add("shown");
    }

    // -- Keys --------------------------------------------------------------------------------------------------------

    #rootKey(event) {
      if (event.key !== "Escape" || event.isComposing) return;
      if (this.#escape()) {
        event.preventDefault();
        event.stopPropagation();
      }
    }

    /** Closes what lies uppermost; false where nothing is open. */
    #escape() {
      if (this.#evidence) this.#closeEvidence();
      else if (this.#ui.panel?.open) this.#closePanel();
      else return false;
      return true;
    }

    #pageKey(event) {
      const [at] = event.composedPath();
      const typing = at instanceof Element && (at.matches("input, textarea, select") || at.isContentEditable);
      if (typing || event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey) return;
      if (event.key === "/" && !this.#ui.talk.inert) {
        event.preventDefault();
        this.#ui.input.focus();
      } else if (event.key === "Escape" && this.#escape()) {
        event.preventDefault();
      }
    }

    #inputKey(event) {
      if (event.isComposing) return;
      const { input } = this.#ui;
      if (event.key === "Enter" && !event.shiftKey) {
        event.preventDefault();
        if (!this.#asking) this.#submit();
      } else if (event.key === "ArrowUp" || event.key === "ArrowDown") {
        // Only from an empty box, or from what the arrow itself has put there.
        const questions = this.#exchanges.map((each) => each.question).reverse();
        const here = this.#recalled ? questions[this.#recalled - 1] : "";
        const next = this.#recalled + (event.key === "ArrowUp" ? 1 : -1);
        if (input.value !== here || next < 0 || next > questions.length) return;
        event.preventDefault();
        this.#write(next ? questions[next - 1] : "");
        this.#recalled = next;
      }
    }

    #typed() {
      this.#recalled = 0;
      this.#fitInput();
      this.#store("draft", this.#ui.input.value);
    }

    // -- Small things ------------------------------------------------------------------------------------------------

    /** Tells a screen reader; the same words twice are said twice. */
    #say(words) {
      this.#ui.live.textContent = this.#ui.live.textContent === words ? `${words}\u00a0` : words;
    }

    #toLatest(behavior) {
      const latest = this.#views.get(this.#exchanges.at(-1));
      if (latest) this.#ui.log.scrollTo({ top: latest.node.offsetTop, behavior });
    }

    /** Kept for this tab only, so that two tabs never write over one another; the oldest goes where room is short. */
    #save() {
      const kept = this.#exchanges.map((each) => ({ ...each, reading: [] }));
      while (!this.#store("conversation", { id: this.#conversation, exchanges: kept }) && kept.length) kept.shift();
    }

    /** False where there is no room, or no storage at all: then the conversation lives as long as the page. */
    #store(name, value) {
      try {
        sessionStorage.setItem(`${this.#key}:${name}`, JSON.stringify(value));
        return true;
      } catch {
        return false;
      }
    }

    #restore() {
      try {
        const stored = (name) => JSON.parse(sessionStorage.getItem(`${this.#key}:${name}`));
        this.#ui.input.value = stored("draft") ?? "";
        const { id, exchanges } = stored("conversation") ?? { id: null, exchanges: [] };
        for (const exchange of exchanges) {
          if (exchange.state === "asking") exchange.state = "stopped"; // the page was left before the answer was whole
          this.#exchanges.push(exchange);
          this.#draw(exchange);
        }
        this.#conversation = id;
      } catch {
        // Somebody else's, or cut off: better nothing than half of it.
        this.#exchanges = [];
        this.#views.clear();
        this.#ui.exchanges.replaceChildren();
      }
    }

    /**
     * What the address of a page asks for: a question, unless the conversation has just come to it, and the limits.
     */
    open({ question, speaker = null, source = null }) {
      this.#limit({ speaker, source });
      const last = this.#exchanges.at(-1);
      const fresh = question && !(last && parameters(shared(last)) === parameters({ question, speaker, source }));
      if (fresh && last) this.clear();
      if (!fresh || !this.ask(question, { speaker, source })) this.#changed();
    }
  }

  // ---- Pieces of an exchange that need no element ------------------------------------------------------------------

  const capital = (word) => word[0].toUpperCase() + word.slice(1);

  /** The question as it stands alone, and its limits: what a link to it says. */
  function shared({ question, speaker, source, answer }) {
    return { question: answer?.reading?.question ?? question, speaker, source };
  }

  /** How a question was understood, where that is not what it says; answers in quotations tell of names themselves. */
  function understoodAs({ question, answer }) {
    const reading = answer?.reading;
    if (!reading) return "";
    if (reading.question !== question) return reading.question;
    return answer.answerer === "llm" ? (reading.speaker ?? "") : "";
  }

  function parameters({ question, speaker, source }) {
    const named = { q: question, speaker, source };
    return new URLSearchParams(Object.entries(named).filter(([, value]) => value)).toString();
  }

  /** An answer as it is read out, once. */
  function spoken({ state, text, answer, trouble: went }) {
    if (state === "stopped") return "Stopped.";
    if (state === "failed") return went.message;
    const near = answer.near_misses.map((each) => `${each.speaker ?? each.source.title}: “${each.quote}”`);
    const instead = near.length ? ["On the record instead:", ...near] : [];
    return [plain(text.replace(/ ?\[\d+\]/g, "")), ...instead, answer.degraded].filter(Boolean).join("\n");
  }

  function light(exchange, node) {
    const marker = node?.dataset.marker;
    for (const each of exchange.querySelectorAll("[data-marker]")) {
      each.classList.toggle("lit", marker !== undefined && each.dataset.marker === marker);
    }
  }

  /** What there is of the parts, with dots between; a dot begins no line. */
  const dotted = (parts) => parts.filter(Boolean).flatMap((part, i) => (i ? ["\u00a0· ", part] : [part]));

  /** Whose words they are, and whether the document itself says so; null for nobody's. */
  function saidBy({ speaker, attribution }) {
    if (!speaker) return null;
    const title = "The document does not name the speaker; this follows from a description of it.";
    const guessed = attribution === "inferred";
    const inferred = guessed ? el("span", { className: "inferred", title }, " (speaker inferred)") : null;
    return el("span", {}, speakerName(speaker), inferred);
  }

  function group(citation) {
    const { title, date } = citation.source;
    const head = el("header", {}, ...dotted([saidBy(citation), el("bdi", {}, title), written(date)]));
    return el("section", { className: "group" }, head, el("ol", {}));
  }

  function asked({ question, asked_by: asker }) {
    return el("p", { className: "asked", dir: "auto" }, `${asker ?? "Somebody"} asked: `, el("q", {}, question));
  }

  function recordingLink(citation) {
    const place = where(citation) ?? "the recording";
    const props = { className: "time", "aria-label": `${place}, play the recording in a new tab` };
    return outward(citation.url, props, icon("play"), place);
  }

  /** The time, linked to the recording where there is one; the locator where there is no time; else nothing. */
  function place(citation) {
    if (webAddress(citation.url)) return recordingLink(citation);
    return where(citation) ? el("span", { className: "time", dir: "auto" }, where(citation)) : null;
  }

  /** Where the quotation begins and ends in a turn, in UTF-16; the server counts in code points. */
  function span(text, { quote, offset }) {
    const begin = [...text].slice(0, offset).join("").length;
    if (text.startsWith(quote, begin)) return [begin, begin + quote.length];
    const found = text.indexOf(quote); // the document has changed since
    return found < 0 ? [0, text.length] : [found, found + quote.length];
  }

  if (!customElements.get("on-record-chat")) {
    customElements.define("on-record-chat", OnRecordChat);
  }

  /** A button in the corner, for a script with a title; one for each server, however often the script is there. */
  function launch() {
    const standing = [...document.querySelectorAll("on-record-chat[mode=launcher]")];
    if (standing.some((each) => each.getAttribute("server") === HOME)) return;
    document.documentElement.append(
      el("on-record-chat", { mode: "launcher", server: HOME, heading: SCRIPT.dataset.title }),
    );
  }

  if (SCRIPT?.dataset.title !== undefined) {
    if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", launch);
    else launch();
  }
})();
