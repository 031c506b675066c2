// The chat page: its address asks a question, and its title and address follow the conversation.
"use strict";

const chat = document.querySelector("on-record-chat");

chat.addEventListener("on-record-change", ({ detail: last }) => {
  document.title = last ? `${last.question} · On Record` : "On Record";
  history.replaceState(null, "", last ? last.link : new URL("/", location));
});

const named = new URLSearchParams(location.search);
chat.open({ question: named.get("q"), speaker: named.get("speaker"), source: named.get("source") });
