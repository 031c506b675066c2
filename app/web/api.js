/** The HTTP API as /openapi.json describes it: what each route takes and gives, and a form to try it with. */

import { element, get, inWords, showState, tryAgain } from "/web/reading.js";

const at = (name) => document.getElementById(name);
let schemas = {};

async function open() {
  showState(at("state"), "Opening the description …", "One moment.");
  let described;
  try {
    described = await get("/openapi.json");
  } catch (error) {
    return showState(at("state"), ...inWords(error), tryAgain(open));
  }
  schemas = described.components.schemas;
  at("operations").replaceChildren(
    ...Object.entries(described.paths).flatMap(([path, methods]) =>
      Object.entries(methods).map(([method, operation]) => shown(path, method.toUpperCase(), operation))),
  );
  at("state").hidden = true;
  at("api").hidden = false;
}

function shown(path, method, operation) {
  const made = element("details", "operation");
  const summary = element("summary");
  summary.append(element("span", "method", method), " ", element("code", "", path), ` ${operation.summary ?? ""}`);
  made.append(summary);
  if (operation.description) made.append(element("p", "", operation.description));
  const body = resolved(operation.requestBody?.content?.["application/json"]?.schema);
  if (body?.properties) made.append(table("What the request may hold", fieldRows(body)));
  made.append(form(path, method, operation.parameters ?? [], body));
  const responses = Object.entries(operation.responses ?? {}).map(([status, response]) => [status, response.description]);
  made.append(table("What comes back", responses));
  return made;
}

const resolved = (schema) => (schema?.$ref ? schemas[schema.$ref.split("/").pop()] : schema);

function fieldRows(schema) {
  return Object.entries(schema.properties).map(([name, field]) => {
    const needed = schema.required?.includes(name) ? "required" : `default ${JSON.stringify(field.default ?? null)}`;
    return [name, [typeOf(field), needed, field.description].filter(Boolean).join("; ")];
  });
}

function typeOf(field) {
  if (field.anyOf) return field.anyOf.map(typeOf).filter((type) => type !== "null").join(" or ");
  return field.type ?? resolved(field)?.type ?? "";
}

function table(caption, rows) {
  const made = element("table");
  made.createCaption().className = "unseen";
  made.caption.textContent = caption;
  for (const [name, text] of rows) {
    const row = made.insertRow();
    const head = element("th", "", name);
    head.scope = "row";
    row.append(head, element("td", "", text));
  }
  return made;
}

/** What is needed and has no default, for the reader to fill in. */
function begun(schema) {
  const needed = (schema.required ?? []).map((name) => {
    const type = typeOf(schema.properties[name]);
    return [name, type === "array" ? [] : type === "object" ? {} : ""];
  });
  return JSON.stringify(Object.fromEntries(needed), null, 2);
}

function form(path, method, parameters, body) {
  const made = element("form");
  const inputs = parameters.map((parameter) => {
    const label = element("label", "", [parameter.name, parameter.description].filter(Boolean).join(": "));
    const input = Object.assign(element("input"), { required: parameter.required, autocomplete: "off" });
    label.append(input);
    made.append(label);
    return { ...parameter, input };
  });
  let text = null;
  if (body) {
    const label = element("label", "", "Request, as JSON");
    text = Object.assign(element("textarea"), { rows: 5, spellcheck: false, value: body.properties ? begun(body) : "{}" });
    label.append(text);
    made.append(label);
  }
  const send = element("button", "button", "Send");
  const said = element("pre");
  said.setAttribute("role", "status");
  said.tabIndex = 0; // what does not fit is scrolled with the keyboard
  said.setAttribute("aria-label", "Response");
  said.hidden = true;
  made.append(send, said);
  made.addEventListener("submit", (event) => {
    event.preventDefault();
    tell(said, path, method, inputs, text);
  });
  return made;
}

/** Sends the request, and shows what comes as it comes. */
async function tell(said, path, method, inputs, text) {
  said.hidden = false;
  said.textContent = "…";
  const query = new URLSearchParams();
  let target = path;
  for (const { name, in: where, input } of inputs) {
    if (where === "path") target = target.replace(`{${name}}`, encodeURIComponent(input.value));
    else if (where === "query" && input.value) query.set(name, input.value);
  }
  const asked = { method, ...(text && { headers: { "content-type": "application/json" }, body: text.value }) };
  try {
    const response = await fetch(query.size ? `${target}?${query}` : target, asked);
    const head = `${response.status} ${response.statusText}\n\n`;
    said.textContent = head;
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    for (let { done, value } = await reader.read(); !done; { done, value } = await reader.read()) said.append(value);
    const whole = said.textContent.slice(head.length);
    if (/json/.test(response.headers.get("content-type"))) said.textContent = head + JSON.stringify(JSON.parse(whole), null, 2);
  } catch {
    said.append("\nThe connection broke off.");
  }
}

open();
