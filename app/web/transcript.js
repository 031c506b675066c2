/**
 * The transcript view: a whole document, the cited words marked and brought into sight, and a find box.
 *
 * Turns are rendered in chunks. All of them are in the page, so that the browser's own find sees every word, but a
 * chunk out of sight is neither laid out nor painted (`content-visibility` in reading.css) and has a height that is a
 * guess until then.
 */

import {
  counted, dateInWords, element, get, hueOf, inWords, isWebUrl, kindInWords, namesInWords, number, showState, tryAgain, words,
} from "/web/reading.js";

const CHUNK = 25; // turns that are laid out together
const FIRST = 8; // chunks asked for at first, so that words are there early
const NEXT = 40; // chunks asked for at a time after that
const SLICE_MS = 8; // work on the page's thread before it may draw a frame
const NOTICE_MS = 4000;
const TYPING_MS = 120;
const PARAGRAPH = 600; // characters, at least
const UNNAMED = "Speaker not named";
const sentences = new Intl.Segmenter(undefined, { granularity: "sentence" });
const LINE = /(?:^| › )(line \d+)$/;

const id = location.pathname.split("/").at(-1); // percent-encoded, as the API takes it
const at = (name) => document.getElementById(name);
const page = {
  state: at("state"), document: at("document"), transcript: at("transcript"), lost: at("lost"), notice: at("notice"),
  find: at("find"), count: at("count"), previous: at("previous"), next: at("next"), speaker: at("speaker"),
};

/** The source as the API has it, its turns by index as they come in, and the elements that hold them. */
let source = null;
let turns = [];
let chunks = [];
let only = null; // index of the one speaker shown, in source.speakers
let marked = null;

// ---- Opening ------------------------------------------------------------------------------------------------------

async function open() {
  const retried = page.state.contains(document.activeElement);
  showState(page.state, "Opening the transcript …", "One moment.");
  page.document.hidden = true;
  if (retried) page.state.focus();
  try {
    await openAt(placeIn(location.hash)?.turn ?? 0);
  } catch (error) {
    return showFailure(error);
  }
  if (page.state.contains(document.activeElement)) at("title").focus();
  page.state.hidden = true;
  return complete();
}

function showFailure(error) {
  document.title = "Transcript · On Record";
  if (error.status === 404) {
    const all = element("a", "button", "All sources");
    all.href = "/sources";
    showState(
      page.state, "No such source", "Nothing in the archive goes by this address. It may have been renamed or taken out.",
      all,
    );
  } else {
    showState(page.state, ...inWords(error), tryAgain(open));
  }
}

/** Shows the document from around one turn; the others are asked for by `complete`. */
async function openAt(index) {
  const near = Math.max(0, Math.floor(index / CHUNK) - 2);
  let given = await ask(near, FIRST);
  if (!given.turns.length && near > 0) given = await ask(0, FIRST);
  source = given.source;
  turns = new Array(source.turns);
  chunks = [];
  only = null;
  marked = null;
  [found, current, sought] = [[], -1, ""];
  showCount();
  page.transcript.className = "transcript";
  page.transcript.replaceChildren();
  for (let first = 0; first < source.turns; first += CHUNK) chunks.push(element("div", "chunk"));
  page.transcript.append(...chunks);
  sight.disconnect();
  inSight.clear();
  chunks.forEach((chunk) => sight.observe(chunk));
  keep(given);
  showAbout();
  page.document.hidden = false;
  chunks.forEach((_, i) => isHere(i) && fill(i));
  reserve();
  showPlace();
}

/** Asks for `count` chunks, and for the turn before them, which says whether the first goes on with the same speaker. */
function ask(first, count) {
  const from = Math.max(0, first * CHUNK - 1);
  return get(`/v1/sources/${id}?first=${from}&last=${(first + count) * CHUNK - 1}`);
}

function keep(given) {
  for (const turn of given.turns) turns[turn.index] = turn;
}

function isHere(chunk) {
  const first = chunk * CHUNK;
  const last = Math.min(first + CHUNK, turns.length) - 1;
  return turns[first] !== undefined && turns[last] !== undefined && (first === 0 || turns[first - 1] !== undefined);
}

/** Gives the chunks out of sight the height of those that are there. */
function reserve() {
  const heights = chunks.map((chunk) => chunk.offsetHeight).filter((height) => height > 0);
  const usual = heights.reduce((sum, height) => sum + height, 0) / Math.max(1, heights.length);
  page.transcript.style.setProperty("--chunk", `${Math.round(usual)}px`);
  page.transcript.classList.add("long");
}

/** Brings in what is missing, in pieces that leave the page free to scroll. */
async function complete() {
  const missing = () => chunks.findIndex((chunk) => !chunk.firstChild);
  let began = performance.now();
  try {
    for (let next = missing(); next >= 0; next = missing()) {
      const given = await ask(next, NEXT);
      if (given.source.turns !== turns.length) return open(); // ingested anew while we were reading
      keep(given);
      for (let i = next; i < Math.min(next + NEXT, chunks.length); i++) {
        if (!chunks[i].firstChild) fill(i);
        if (performance.now() - began > SLICE_MS) {
          await frame();
          began = performance.now();
        }
      }
      if (awaited) showPlace();
    }
  } catch (error) {
    const [headline] = inWords(error);
    return say(page.lost, `${headline}: the rest of this transcript is missing.`, tryAgain(resume));
  }
  if (only !== null) await showOnly();
  else if (page.find.value) await search();
  page.transcript.dataset.complete = "";
}

function resume() {
  page.transcript.focus({ preventScroll: true }); // the button goes
  say(page.lost, "");
  return complete();
}

/** Resolves once the page has had a chance to draw. */
function frame() {
  return new Promise((resolve) => setTimeout(resolve));
}

// ---- The document -------------------------------------------------------------------------------------------------

function showAbout() {
  document.title = `${source.title} · On Record`;
  const facts = [kindInWords(source.kind), source.date && dateInWords(source.date), counted(source.turns, "turn")];
  at("kind").textContent = facts.filter(Boolean).join(" · ");
  at("title").textContent = source.title;
  at("voices").textContent = source.speakers.length ? `In the words of ${namesInWords(source.speakers)}` : "";
  at("recording").hidden = !isWebUrl(source.url);
  if (isWebUrl(source.url)) {
    const text = source.kind === "transcript" ? "Listen to the recording" : "Open the original";
    at("recording").replaceChildren(outside(source.url, text, "", `${text} (opens in a new tab)`));
  }
  at("only").hidden = source.speakers.length < 2;
  page.speaker.replaceChildren(new Option("everyone", ""));
  source.speakers.forEach((name, i) => page.speaker.append(new Option(`only ${name}`, String(i))));
}

/** A link out of this site; the address has been found to be http or https. */
function outside(address, text, className, name) {
  const link = element("a", className, text);
  link.href = address;
  link.target = "_blank";
  link.rel = "noopener noreferrer";
  link.setAttribute("aria-label", name);
  return link;
}

function fill(chunk) {
  const made = document.createDocumentFragment();
  const first = chunk * CHUNK;
  for (const turn of turns.slice(first, first + CHUNK)) {
    const before = turns[turn.index - 1];
    const heading = headingOf(turn);
    const opens = !before || heading !== headingOf(before);
    if (opens && heading) made.append(words("h2", "section", heading));
    made.append(turnElement(turn, opens || before.speaker !== turn.speaker));
  }
  chunks[chunk].replaceChildren(made);
}

/** The path of headings a turn stands under: its locator without the line. */
function headingOf(turn) {
  return (turn.locator ?? "").replace(turn.timestamp === null ? LINE : "", "");
}

/** When the turn was said, or where it stands, in a word; empty where the document has neither. */
function whereOf(turn) {
  return turn.timestamp ?? LINE.exec(turn.locator ?? "")?.[1] ?? "";
}

function turnElement(turn, named) {
  const made = element("div", "turn");
  made.id = `turn-${turn.index}`;
  made.tabIndex = -1;
  made.hidden = isLeftOut(turn);
  if (named && source.speakers.length) {
    const speaker = words("p", turn.speaker === null ? "speaker unnamed" : "speaker", turn.speaker ?? UNNAMED);
    made.append(speaker);
  }
  if (turn.speaker !== null) made.style.setProperty("--hue", String(hueOf(turn.speaker)));
  const text = words("p", "words", "");
  text.append(...prose(turn.text));
  made.append(whenElement(turn), text);
  return made;
}

/** The words from one place to another, with a little room after some sentences where somebody speaks for long. */
function prose(text, from = 0, to = text.length) {
  const parts = [];
  for (const place of breathsIn(text)) {
    if (place <= from || place >= to) continue;
    parts.push(text.slice(from, place), element("span", "breath"));
    from = place;
  }
  return [...parts, text.slice(from, to)];
}

/** Where paragraphs of a long turn begin. */
function breathsIn(text) {
  const places = [];
  if (text.length < 2 * PARAGRAPH || text.includes("\n")) return places;
  for (const { index } of sentences.segment(text)) {
    if (index - (places.at(-1) ?? 0) >= PARAGRAPH && text.length - index >= PARAGRAPH / 2) places.push(index);
  }
  return places;
}

function whenElement(turn) {
  const made = element("p", "when");
  const where = whereOf(turn);
  const link = element("a", "anchor", "#");
  link.href = `#turn-${turn.index}`;
  link.setAttribute("aria-label", `Copy the link to ${where || `turn ${turn.index + 1}`}`);
  link.title = "Copy the link to this turn";
  made.append(link);
  if (turn.timestamp !== null && isWebUrl(turn.url)) {
    made.append(outside(turn.url, where, "play", `${where}, the recording at this moment (opens in a new tab)`));
  } else if (where) {
    made.append(element("span", "", where));
  }
  return made;
}

function turnAt(index) {
  return at(`turn-${index}`);
}

function wordsAt(index) {
  return turnAt(index).querySelector(".words");
}

// ---- The place a link points to ------------------------------------------------------------------------------------

/** `#turn-12` or `#turn-12.34-120`: a turn, and the words from and to these code points; null for anything else. */
function placeIn(hash) {
  const found = /^#turn-(\d{1,9})(?:\.(\d{1,9})-(\d{1,9}))?$/.exec(hash);
  if (!found) return null;
  const [turn, from, to] = found.slice(1).map((digits) => (digits === undefined ? null : Number(digits)));
  return { turn, from, to };
}

let awaited = false; // the turn that the link points to is still on its way

function showPlace() {
  awaited = false;
  unmark();
  notify("");
  const place = placeIn(location.hash);
  if (!place) return undefined;
  if (place.turn >= turns.length) {
    return notify(`This transcript has ${counted(turns.length, "turn")}; the link points past its end.`);
  }
  awaited = !turnAt(place.turn);
  if (awaited) return undefined;
  if (isLeftOut(turns[place.turn])) showEveryone();
  const target = mark(place);
  target.focus({ preventScroll: true });
  return bring(() => target.getBoundingClientRect(), turnAt(place.turn));
}

/** Marks the turn, and the words in it that the place names; returns what was marked. */
function mark({ turn, from, to }) {
  unmark();
  marked = turn;
  turnAt(turn).classList.add("marked");
  if (from === null) return turnAt(turn);
  const { text } = turns[turn];
  const [begin, end] = [unitOffset(text, from), unitOffset(text, to)];
  if (begin === null || end === null || begin >= end) {
    notify("The words that this link cites are no longer here; this is the turn they stood in.");
    return turnAt(turn);
  }
  const cited = element("mark");
  cited.append(...prose(text, begin, end));
  cited.tabIndex = -1;
  wordsAt(turn).replaceChildren(...prose(text, 0, begin), cited, ...prose(text, end));
  paint();
  return cited;
}

function unmark() {
  if (marked === null) return;
  turnAt(marked)?.classList.remove("marked");
  if (turnAt(marked)?.querySelector("mark")) wordsAt(marked).replaceChildren(...prose(turns[marked].text));
  marked = null;
  paint();
}

/** Where the code point of that number begins, in the UTF-16 units that strings are made of; null past the end. */
function unitOffset(text, points) {
  let units = 0;
  for (const character of text) {
    if (points === 0) return units;
    units += character.length;
    points -= 1;
  }
  return points === 0 ? units : null;
}

let bringing = 0;

/**
 * Scrolls what `rectOf` measures to the middle of the window, and again while heights that were guesses become known
 * around it, until it rests there or the reader takes over.
 */
function bring(rectOf, turn) {
  const mine = ++bringing;
  turn.scrollIntoView({ block: "center", behavior: "instant" });
  let resting = 0;
  const again = () => {
    if (mine !== bringing || resting > 6) return;
    const rect = rectOf();
    const top = page.find.closest(".tools").getBoundingClientRect().bottom;
    const room = Math.max(0, innerHeight - top);
    const wanted = top + Math.max(16, (room - rect.height) / 2);
    const before = scrollY;
    scrollBy({ top: rect.top - wanted, behavior: "instant" });
    resting = Math.abs(scrollY - before) < 1 ? resting + 1 : 0;
    requestAnimationFrame(again);
  };
  requestAnimationFrame(again);
}

for (const taking of ["wheel", "touchstart", "pointerdown", "keydown"]) {
  addEventListener(taking, () => bringing++, { passive: true, capture: true });
}
addEventListener("hashchange", showPlace);

page.transcript.addEventListener("click", (event) => {
  const link = event.target.closest(".anchor");
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
  event.preventDefault();
  history.pushState(null, "", link.href);
  mark(placeIn(link.hash));
  copy(link.href);
});

async function copy(address) {
  try {
    await navigator.clipboard.writeText(address);
    notify("Link copied.");
  } catch {
    notify("The link is in the address bar, ready to be copied.");
  }
  leaving = setTimeout(() => notify(""), NOTICE_MS);
}

// ---- One speaker only ----------------------------------------------------------------------------------------------

function isLeftOut(turn) {
  return only !== null && turn.speaker !== source.speakers[only];
}

async function showOnly() {
  const wanted = only;
  let began = performance.now();
  for (const [i, chunk] of chunks.entries()) {
    for (const turn of turns.slice(i * CHUNK, (i + 1) * CHUNK)) {
      const made = turn && turnAt(turn.index);
      if (made) made.hidden = isLeftOut(turn);
    }
    chunk.hidden = chunk.firstChild !== null && !chunk.querySelector(".turn:not([hidden])");
    if (performance.now() - began > SLICE_MS) {
      await frame();
      if (wanted !== only) return undefined;
      began = performance.now();
    }
  }
  return search();
}

function showEveryone() {
  page.speaker.value = "";
  only = null;
  page.transcript.classList.remove("filtered");
  for (const hidden of page.transcript.querySelectorAll("[hidden]")) hidden.hidden = false;
  search();
}

page.speaker.addEventListener("change", () => {
  only = page.speaker.value === "" ? null : Number(page.speaker.value);
  page.transcript.classList.toggle("filtered", only !== null);
  showOnly();
});

// ---- Find ----------------------------------------------------------------------------------------------------------

const highlights = globalThis.CSS?.highlights;
const inSight = new Set(); // chunks, by index
let found = []; // of each match: the turn's index, where it begins and ends in its text
let current = -1;
let sought = ""; // what `found` are the matches of
let searching = 0;
let typing = 0;

const sight = new IntersectionObserver((entries) => {
  for (const { target, isIntersecting } of entries) {
    if (isIntersecting) inSight.add(chunks.indexOf(target));
    else inSight.delete(chunks.indexOf(target));
  }
  if (found.length) paint();
});

/** What was typed as a pattern: white space stands for any, straight and curly quotation marks for each other. */
function patternOf(query) {
  const escaped = query.replace(/[\\^$.*+?()[\]{}|/]/g, "\\$&");
  return new RegExp(escaped.replace(/\s+/g, "\\s+").replace(/['‘’]/g, "['‘’]").replace(/["“”]/g, '["“”]'), "giu");
}

/** Looks for what is in the box; a later search takes over from an earlier one. */
async function search() {
  const mine = ++searching;
  clearTimeout(typing);
  const query = page.find.value.trim();
  const pattern = patternOf(query);
  const matches = [];
  let began = performance.now();
  for (const turn of query ? turns : []) {
    if (!turn || isLeftOut(turn)) continue;
    for (const match of turn.text.matchAll(pattern)) {
      matches.push([turn.index, match.index, match.index + match[0].length]);
    }
    if (performance.now() - began > SLICE_MS) {
      await frame();
      if (mine !== searching) return;
      began = performance.now();
    }
  }
  found = matches;
  current = -1;
  sought = query;
  showCount();
  paint();
}

function showCount() {
  const position = current < 0 ? "" : `${number.format(current + 1)} of `;
  page.count.textContent = !sought ? "" : found.length ? `${position}${number.format(found.length)}` : "Not found";
  page.previous.disabled = page.next.disabled = found.length === 0;
}

/** Goes to the next match, or the one before; the first time to the first one from where the reader is. */
function step(by) {
  if (!found.length) return;
  if (current < 0) {
    const here = firstInSight();
    const next = found.findIndex(([turn]) => turn >= here);
    current = by > 0 ? Math.max(0, next) : (next < 0 ? found.length : next) - 1;
  } else {
    current += by;
  }
  current = (current + found.length) % found.length;
  showCount();
  paint();
  const [turn, from, to] = found[current];
  bring(() => rangeOf(turn, from, to).getBoundingClientRect(), turnAt(turn));
}

/** The index of the first turn below the find box. */
function firstInSight() {
  const top = page.find.closest(".tools").getBoundingClientRect().bottom;
  const chunk = chunks.findIndex((each) => each.getBoundingClientRect().bottom > top);
  const turn = [...(chunks[chunk]?.children ?? [])].find((each) => each.id && each.getBoundingClientRect().bottom > top);
  return turn ? Number(turn.id.slice("turn-".length)) : Math.max(0, chunk) * CHUNK;
}

/** A stretch of a turn's words, whether or not some of them are marked. */
function rangeOf(turn, from, to) {
  const range = document.createRange();
  range.setStart(...pointIn(wordsAt(turn), from));
  range.setEnd(...pointIn(wordsAt(turn), to));
  return range;
}

function pointIn(parent, offset) {
  const walker = document.createTreeWalker(parent, NodeFilter.SHOW_TEXT);
  let node = walker.nextNode();
  for (let next = node; offset > node.length && (next = walker.nextNode()); node = next) offset -= node.length;
  return [node, offset];
}

/** Paints the matches in sight: there may be a hundred thousand of them. */
function paint() {
  if (!highlights) return paintTurn();
  const others = new Highlight();
  for (const chunk of inSight) {
    for (let i = firstFrom(chunk * CHUNK); i < found.length && found[i][0] < (chunk + 1) * CHUNK; i++) {
      if (i !== current && turnAt(found[i][0])) others.add(rangeOf(...found[i]));
    }
  }
  highlights.set("found", others);
  highlights.set("found-now", current < 0 ? new Highlight() : new Highlight(rangeOf(...found[current])));
}

/** A browser without the Highlight API shows in which turn the match is. */
function paintTurn() {
  for (const each of page.transcript.querySelectorAll(".found")) each.classList.remove("found");
  if (current >= 0) turnAt(found[current][0]).classList.add("found");
}

/** The position in `found` of the first match in that turn or a later one. */
function firstFrom(turn) {
  let [low, high] = [0, found.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (found[middle][0] < turn) low = middle + 1;
    else high = middle;
  }
  return low;
}

page.find.addEventListener("input", () => {
  clearTimeout(typing);
  typing = setTimeout(search, TYPING_MS);
});
page.find.addEventListener("keydown", async (event) => {
  if (event.isComposing) return;
  if (event.key === "Enter") {
    event.preventDefault();
    if (page.find.value.trim() !== sought) await search();
    step(event.shiftKey ? -1 : 1);
  } else if (event.key === "Escape" && page.find.value) {
    event.preventDefault();
    page.find.value = "";
    search();
  }
});
page.next.addEventListener("click", () => step(1));
page.previous.addEventListener("click", () => step(-1));
addEventListener("keydown", (event) => {
  if (event.key.toLowerCase() !== "k" || !(event.ctrlKey || event.metaKey) || event.altKey || event.shiftKey) return;
  if (page.document.hidden) return;
  event.preventDefault();
  page.find.focus();
  page.find.select();
});

// ---- Notices -------------------------------------------------------------------------------------------------------

let leaving = 0;

/** Says something at the foot of the window until something else is said. */
function notify(text) {
  clearTimeout(leaving);
  say(page.notice, text);
}

function say(place, text, ...help) {
  place.replaceChildren(...(text ? [element("span", "", text), ...help] : []));
}

document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault(); // the address goes on naming the place that is marked
  page.transcript.focus();
});
at("hint").textContent = /Mac|iP(ad|hone)/.test(navigator.platform) ? "⌘K" : "Ctrl K";

open();
