/** The list of what the archive holds, with a search that narrows it while one types. The address keeps the search. */

import {
  counted, dateInWords, element, get, inWords, kindInWords, namesInWords, number, showState, tryAgain, words,
} from "/web/reading.js";

const at = (name) => document.getElementById(name);
const page = {
  state: at("state"), sources: at("sources"), search: at("search"), order: at("order"), tally: at("tally"),
  list: at("list"), nothing: at("nothing"), missed: at("missed"),
};
const byTitle = new Intl.Collator("en", { numeric: true, sensitivity: "base" });
const newest = (a, b) => (b.date ?? "").localeCompare(a.date ?? "");
const oldest = (a, b) => (a.date ?? "9999").localeCompare(b.date ?? "9999"); // the undated come last either way
const ORDERS = { title: () => 0, newest, oldest };

/** The sources by title, each with its element and with the text that the search looks at. */
let listed = [];

async function open() {
  const retried = page.state.contains(document.activeElement);
  showState(page.state, "Opening the list …", "One moment.");
  page.sources.hidden = true;
  if (retried) page.state.focus();
  let given;
  try {
    given = await get("/v1/sources");
  } catch (error) {
    return showState(page.state, ...inWords(error), tryAgain(open));
  }
  if (!given.sources.length) {
    return showState(page.state, "Nothing is on record yet", "The archive is there, and there are no documents in it.", tryAgain(open));
  }
  listed = given.sources
    .map((source) => ({ ...source, shown: sourceElement(source), text: folded([source.title, ...source.speakers].join("\n")) }))
    .sort((a, b) => byTitle.compare(a.title, b.title));
  page.sources.hidden = false;
  if (page.state.contains(document.activeElement)) at("title").focus();
  page.state.hidden = true;
  return show();
}

function sourceElement(source) {
  const made = element("li", "source");
  const title = element("h2", "name");
  const link = words("a", "", source.title);
  link.href = `/sources/${encodeURIComponent(source.id)}`;
  title.append(link);
  made.append(title);
  if (source.speakers.length) made.append(words("p", "voices", namesInWords(source.speakers)));
  const facts = [kindInWords(source.kind), source.date && dateInWords(source.date), counted(source.turns, "turn")];
  made.append(element("p", "facts", facts.filter(Boolean).join(" · ")));
  return made;
}

/** Lower case without accents, so that `jose` finds José. */
function folded(text) {
  return text.normalize("NFKD").replace(/\p{M}/gu, "").toLowerCase();
}

function show() {
  const wanted = folded(page.search.value).split(/\s+/).filter(Boolean);
  const inOrder = [...listed].sort(ORDERS[page.order.value]);
  const kept = inOrder.filter((source) => wanted.every((word) => source.text.includes(word)));
  page.list.replaceChildren(...kept.map((source) => source.shown));
  page.list.hidden = !kept.length;
  page.nothing.hidden = kept.length > 0;
  page.missed.textContent = kept.length ? "" : `No title or speaker here matches “${page.search.value.trim()}”.`;
  page.tally.textContent = wanted.length ? `${number.format(kept.length)} of ${counted(listed.length, "source")}` : counted(listed.length, "source");
  remember();
}

/** Keeps the search in the address, so that it can be shared and comes back with the back button. */
function remember() {
  const kept = new URLSearchParams();
  if (page.search.value.trim()) kept.set("q", page.search.value.trim());
  if (page.order.value !== "title") kept.set("by", page.order.value);
  history.replaceState(null, "", kept.size ? `?${kept}` : location.pathname);
}

function recall() {
  const kept = new URLSearchParams(location.search);
  page.search.value = kept.get("q") ?? "";
  page.order.value = Object.hasOwn(ORDERS, kept.get("by")) ? kept.get("by") : "title";
}

page.search.addEventListener("input", show);
page.order.addEventListener("change", show);
at("clear").addEventListener("click", () => {
  page.search.value = "";
  page.search.focus();
  show();
});
document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault();
  page.list.focus();
});

recall();
open();
