/**
 * Where the server wants a key, our own pages ask for it, once: whatever they fetch from the API shows it from then on.
 * It is kept for this tab alone, and sent to this server alone.
 */
(() => {
  "use strict";

  const STORED = "on-record:key";
  const unkeyed = window.fetch;
  let held = kept();
  let asking = null; // while the reader is asked, all that wants a key waits for the one answer

  const sheet = new CSSStyleSheet();
  sheet.replaceSync(`
.on-record-key { --ink: #1d1d1b; --paper: #faf9f6; --muted: #5e5b54; --edge: #8b867b; --accent: #b3261e;
  box-sizing: border-box; width: min(26em, 100vw - 32px); padding: 24px; border: 1px solid var(--edge);
  border-radius: 10px; background: var(--paper); color: var(--ink); font: medium/1.5 system-ui, sans-serif }
.on-record-key::backdrop { background: rgb(0 0 0 / .45) }
.on-record-key h2 { margin: 0; font: 600 1.3em/1.3 "Iowan Old Style", "Palatino Linotype", Palatino, Georgia, serif }
.on-record-key p { margin: 6px 0 16px; color: var(--muted) }
.on-record-key .wrong { color: var(--ink); padding-left: 12px; border-left: 3px double var(--accent) }
.on-record-key label { display: block; font-weight: 600; font-size: .9375em }
.on-record-key input { box-sizing: border-box; width: 100%; min-height: 44px; margin: 4px 0 16px; padding: 0 12px;
  font: inherit; font-size: max(16px, 1em); color: inherit; background: transparent; border: 1px solid var(--edge);
  border-radius: 7px }
.on-record-key button { min-height: 40px; margin-right: 8px; padding: 0 18px; font: inherit; font-weight: 600;
  cursor: pointer; color: var(--paper); background: var(--ink); border: 1px solid var(--ink); border-radius: 7px }
.on-record-key button[type=button] { color: inherit; background: none; border-color: transparent }
.on-record-key :focus-visible { outline: 2px solid var(--accent); outline-offset: 2px }
.on-record-key [hidden] { display: none }
@media (prefers-color-scheme: dark) {
  .on-record-key { --ink: #ece8df; --paper: #1b1b1a; --muted: #a8a49a; --edge: #7d7970; --accent: #f4827a }
}
`);

  window.fetch = async (input, init = {}) => {
    const url = new URL(input, document.baseURI);
    if (url.origin !== location.origin || !url.pathname.startsWith("/v1/")) return unkeyed(input, init);
    const first = held;
    const response = await unkeyed(input, shown(init, first));
    if (!wantsKey(response)) return response;
    const wrong = first && (await response.clone().json()).detail;
    if (held === first) {
      asking ??= ask(wrong).finally(() => (asking = null));
      await asking;
    }
    return held && held !== first ? window.fetch(input, waited(init)) : response;
  };

  /** Whether a key is missing, or one that was shown is not good for this. */
  const wantsKey = ({ headers }) => headers.get("www-authenticate")?.startsWith("Bearer");

  function shown(init, key) {
    const headers = new Headers(init.headers);
    if (key) headers.set("X-API-Key", key); // Authorization may be the proxy's
    return { ...init, headers };
  }

  /** A time limit does not go on while the reader looks for the key. */
  function waited(init) {
    return init.signal?.reason?.name === "TimeoutError" ? { ...init, signal: undefined } : init;
  }

  function kept() {
    try {
      return sessionStorage.getItem(STORED);
    } catch {
      return null;
    }
  }

  function keep(key) {
    held = key;
    try {
      sessionStorage.setItem(STORED, key);
    } catch {
      // Without storage it is kept for as long as the page.
    }
  }

  /** Asks the reader; resolves when a key has been given, or none. `wrong` says what was the matter with the last one. */
  function ask(wrong) {
    if (!document.adoptedStyleSheets.includes(sheet)) document.adoptedStyleSheets.push(sheet);
    const dialog = document.createElement("dialog");
    dialog.className = "on-record-key";
    dialog.setAttribute("aria-labelledby", "on-record-key-title");
    dialog.setAttribute("aria-describedby", "on-record-key-about");
    const input = element("input", { id: "on-record-key", type: "password", autocomplete: "off", required: true });
    const form = element("form", { method: "dialog" });
    const later = element("button", { type: "button", textContent: "Not now" });
    form.append(
      element("h2", { id: "on-record-key-title", textContent: "A key, please" }),
      element("p", { id: "on-record-key-about", textContent: "This archive is for those who have one. Yours is kept until you close this tab." }),
      element("p", { className: "wrong", textContent: wrong ?? "", hidden: !wrong }),
      element("label", { htmlFor: "on-record-key", textContent: "Key" }),
      input,
      element("button", { textContent: "Open" }),
      later,
    );
    dialog.append(form);
    document.body.append(dialog);
    if (wrong) input.setAttribute("aria-invalid", "true");
    dialog.showModal();
    input.focus();
    return new Promise((answered) => {
      later.addEventListener("click", () => dialog.close());
      form.addEventListener("submit", () => keep(input.value.trim()));
      dialog.addEventListener("close", () => {
        dialog.remove();
        answered();
      });
    });
  }

  const element = (tag, properties) => Object.assign(document.createElement(tag), properties);
})();
