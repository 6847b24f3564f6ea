// Keeps parts of a page fresh: elements with an id and data-live="SECONDS" are replaced by what the same
// page has by now. Where a person is at work (focus, a choice made, something opened) nothing is replaced.
"use strict";
(function () {
  const MOST_FAILURES = 3;
  let failures = 0;

  function parts(page) {
    return Array.from(page.querySelectorAll("[data-live][id]"));
  }

  function inUse(part) {
    return (
      part.contains(document.activeElement) ||
      part.querySelector("input:checked, details[open]") !== null
    );
  }

  function shortest() {
    const seconds = parts(document).map((part) => Number(part.dataset.live)).filter((each) => each > 0);
    return seconds.length ? Math.min(...seconds) : 0;
  }

  function say(isFresh) {
    const notice = document.getElementById("not-fresh");
    if (notice) {
      notice.hidden = isFresh;
    }
  }

  async function refresh() {
    const answer = await fetch(window.location.href, {
      credentials: "same-origin", redirect: "manual", headers: { "X-Live": "1" },
    });
    if (!answer.ok) {
      throw new Error("HTTP " + answer.status);
    }
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    for (const part of parts(document)) {
      const fresh = page.getElementById(part.id);
      if (!inUse(part) && !(fresh && part.isEqualNode(fresh))) {
        if (fresh) {
          part.replaceWith(document.importNode(fresh, true));
        } else {
          part.remove();
        }
      }
    }
  }

  async function tick() {
    const seconds = shortest();
    if (seconds === 0) {
      return;
    }
    if (!document.hidden) {
      try {
        await refresh();
        failures = 0;
        say(true);
      } catch (error) {
        failures += 1;
        say(failures < MOST_FAILURES);
      }
    }
    window.setTimeout(tick, seconds * 1000 * Math.min(1 + failures, 10));
  }

  document.addEventListener("DOMContentLoaded", () => {
    const seconds = shortest();
    if (seconds > 0) {
      window.setTimeout(tick, seconds * 1000);
    }
    for (const box of document.querySelectorAll("[data-check-all]")) {
      box.addEventListener("change", () => {
        for (const each of document.querySelectorAll(`input[name="${box.dataset.checkAll}"]`)) {
          each.checked = box.checked;
        }
      });
    }
  });
})();
