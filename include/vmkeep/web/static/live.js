// Replaces the part of a page that is under way by a fresh one, every few seconds, unless somebody pauses it.
// It stops once the fresh one says that all has ended.
// The rest of the page stays, so that nobody loses what is typed there.
(function () {
  "use strict";
  var live = document.getElementById("live");
  if (!live || !window.fetch || !window.DOMParser) { return; }
  var every = 1000 * Number(live.getAttribute("data-every"));
  var paused = false;
  var ended = false;
  var bar = document.createElement("p");
  bar.className = "refresh";
  var button = document.createElement("button");
  button.type = "button";
  var said = document.createElement("span");
  said.setAttribute("role", "status");
  bar.appendChild(button);
  bar.appendChild(said);
  live.parentNode.insertBefore(bar, live);
  function show() {
    button.textContent = paused ? "Go on refreshing" : "Pause refreshing";
    button.setAttribute("aria-pressed", paused ? "true" : "false");
  }
  button.addEventListener("click", function () { paused = !paused; show(); });
  function isRead() {
    var chosen = window.getSelection();
    return chosen && !chosen.isCollapsed && live.contains(chosen.anchorNode);
  }
  function isTyped() {
    // A form below the part would move under the mouse, and a click would miss its button.
    var held = document.activeElement;
    return Boolean(held && held.form && !live.contains(held));
  }
  function place(text) {
    var fresh = new DOMParser().parseFromString(text, "text/html").getElementById("live");
    if (fresh && fresh.hasAttribute("data-ended")) { ended = true; bar.remove(); }
    if (!fresh) { throw new Error("the answer is another page"); }
    var held = document.activeElement;
    var href = held && live.contains(held) ? held.getAttribute("href") : null;
    live.replaceChildren.apply(live, Array.prototype.slice.call(document.importNode(fresh, true).childNodes));
    if (href) {
      Array.prototype.some.call(live.querySelectorAll("a"), function (link) {
        if (link.getAttribute("href") !== href) { return false; }
        link.focus({ preventScroll: true });
        return true;
      });
    }
  }
  function turn() {
    if (paused || document.hidden || isRead() || isTyped()) { window.setTimeout(turn, every); return; }
    // The page may be the answer to a form, at whose address there is nothing to read.
    window.fetch(live.getAttribute("data-from") || window.location.href, {
      credentials: "same-origin", redirect: "error",
      signal: window.AbortSignal && AbortSignal.timeout ? AbortSignal.timeout(30000) : undefined
    })
      .then(function (answer) {
        if (!answer.ok) { throw new Error("answer " + answer.status); }
        return answer.text();
      })
      .then(function (text) { if (isTyped()) { return; } place(text); live.classList.remove("old"); said.textContent = ""; })
      .catch(function (error) {
        live.classList.add("old");
        said.textContent = "This page is not fresh any more, because the server gave no good answer (" + error.message + "). It is asked again.";
      })
      .then(function () { if (!ended) { window.setTimeout(turn, every); } });
  }
  show();
  window.setTimeout(turn, every);
})();
