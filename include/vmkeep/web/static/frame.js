// Follows Airflow's choice between light and dark, and opens Airflow's pages in the whole window.
// Airflow shows this page in a frame, which may not move the window by itself.
// A page with something that is under way loads itself again after the seconds that it names.
(function () {
  "use strict";
  function follow() {
    var chosen = null;
    try { chosen = window.localStorage.getItem("theme"); } catch (error) { return; }
    if (chosen === "light" || chosen === "dark") {
      document.documentElement.setAttribute("data-theme", chosen);
    } else {
      document.documentElement.removeAttribute("data-theme");
    }
  }
  follow();
  window.addEventListener("storage", follow);
  document.addEventListener("DOMContentLoaded", function () {
    var moving = document.querySelector("[data-refresh]");
    if (moving) { window.setTimeout(function () { window.location.reload(); }, 1000 * moving.getAttribute("data-refresh")); }
  });
  document.addEventListener("click", function (event) {
    var link = event.target.closest ? event.target.closest("a[data-outside]") : null;
    if (!link || window.parent === window || event.ctrlKey || event.metaKey || event.shiftKey) { return; }
    var outer;
    try { outer = window.parent.document; } catch (error) { return; }
    event.preventDefault();
    var opener = outer.createElement("a");
    opener.href = link.href;
    outer.body.appendChild(opener);
    opener.click();
    opener.remove();
  });
})();
