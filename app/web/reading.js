/**
 * What the pages for reading share: asking the server, saying what went wrong, and names, dates and hues as they are
 * shown. Everything a document holds goes into the page as text.
 */

const PATIENCE_MS = 30_000;
const KINDS = { transcript: "Transcript", insights: "Insights", notes: "Notes", article: "Article" };
const NAMES_SHOWN = 12;
const list = new Intl.ListFormat("en", { style: "long", type: "conjunction" });
const longDate = new Intl.DateTimeFormat("en-GB", { dateStyle: "long", timeZone: "UTC" });
export const number = new Intl.NumberFormat("en");

/** The server's refusal: its status, 0 where nothing (or not all of it) came, and its own words where it has some. */
export class Refusal extends Error {
  constructor(status, detail) {
    super(detail);
    this.status = status;
  }
}

/** The JSON at a path of this server. Throws Refusal. */
export async function get(path) {
  let response;
  try {
    response = await fetch(path, { headers: { accept: "application/json" }, signal: AbortSignal.timeout(PATIENCE_MS) });
    if (response.ok) return await response.json();
  } catch {
    throw new Refusal(0, "");
  }
  const problem = await response.json().catch(() => ({}));
  throw new Refusal(response.status, typeof problem.detail === "string" ? problem.detail : "");
}

/** A headline and a sentence on what went wrong, for whatever was thrown. */
export function inWords(error) {
  if (!(error instanceof Refusal)) throw error;
  if (error.status === 0) {
    return ["No connection", "The server could not be reached, or its answer broke off. Nothing is wrong with the link."];
  }
  if (error.status === 503) {
    return ["The archive is not ready yet", `There is nothing to read until it has been indexed. The server says: ${error.message}`];
  }
  return ["Something went wrong", error.message || `The server answered with status ${error.status}.`];
}

/** An element with a class and text, both optional. */
export function element(tag, className = "", text = "") {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text) made.textContent = text;
  return made;
}

/** The same for words of a document, which bring their own direction of writing. */
export function words(tag, className, text) {
  const made = element(tag, className, text);
  made.dir = "auto";
  return made;
}

/** Whether an address may become a link: http and https only. */
export function isWebUrl(address) {
  return typeof address === "string" && URL.canParse(address) && /^https?:$/.test(new URL(address).protocol);
}

/** Puts a state in the place of the content: a headline, a sentence, and what helps. */
export function showState(place, headline, sentence, ...help) {
  const shown = [element("h1", "headline", headline), element("p", "", sentence)];
  if (help.length) {
    const row = element("p", "help");
    row.append(...help);
    shown.push(row);
  }
  place.replaceChildren(...shown);
  place.hidden = false;
}

/** The button that tries again. */
export function tryAgain(action) {
  const button = element("button", "button", "Try again");
  button.type = "button";
  button.addEventListener("click", action);
  return button;
}

export function kindInWords(kind) {
  return KINDS[kind] ?? kind;
}

/** `2023-03-08` as 8 March 2023; a date that lacks its day stays as it is. */
export function dateInWords(date) {
  const day = /^\d{4}-\d{2}-\d{2}$/.test(date) ? new Date(`${date}T00:00:00Z`) : null;
  return day && !Number.isNaN(day.getTime()) ? longDate.format(day) : date;
}

/** `1 turn`, `10,000 turns`. */
export function counted(count, noun) {
  return `${number.format(count)} ${noun}${count === 1 ? "" : "s"}`;
}

/** Names in a row, the last ones counted where there are many. Each is set apart from the direction of the others. */
export function namesInWords(names) {
  const shown = names.length > NAMES_SHOWN + 1 ? names.slice(0, NAMES_SHOWN) : names;
  const more = names.length - shown.length;
  const items = more ? [...shown, `${number.format(more)} others`] : shown;
  return list.format(items.map((name) => `\u2068${name}\u2069`));
}

/** A speaker's hue in degrees: the same name always has the same one. Reds are left to the mark of the house. */
export function hueOf(name) {
  let hash = 0x811c9dc5; // FNV-1a
  for (let i = 0; i < name.length; i++) hash = Math.imul(hash ^ name.charCodeAt(i), 0x01000193) >>> 0;
  return 60 + (hash % 280);
}
