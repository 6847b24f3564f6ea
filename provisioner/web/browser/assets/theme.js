// Light or dark, before anything is drawn: as the person chose here, else as their system says.
"use strict";
(function () {
  const ROOT = document.documentElement;
  const WORDS = ["auto", "light", "dark"];
  const dark = window.matchMedia("(prefers-color-scheme: dark)");

  function chosen() {
    try {
      const word = window.localStorage.getItem("theme");
      return WORDS.includes(word) ? word : "auto";
    } catch (error) {
      return "auto"; // no storage is allowed here: the system's theme it is
    }
  }

  function choose(word) {
    try {
      window.localStorage.setItem("theme", word);
    } catch (error) {
      // Then it is for this page only.
    }
    paint(word);
  }

  function paint(word) {
    const theme = word === "auto" ? (dark.matches ? "dark" : "light") : word;
    ROOT.setAttribute("data-bs-theme", theme);
    for (const button of document.querySelectorAll("[data-theme]")) {
      button.setAttribute("aria-pressed", String(button.dataset.theme === word));
    }
  }

  paint(chosen());
  dark.addEventListener("change", () => paint(chosen()));
  document.addEventListener("DOMContentLoaded", () => {
    for (const switcher of document.querySelectorAll("[data-theme-switch]")) {
      switcher.hidden = false; // without scripts there is nothing to switch
    }
    for (const button of document.querySelectorAll("[data-theme]")) {
      button.addEventListener("click", () => choose(button.dataset.theme));
    }
    paint(chosen());
  });
})();
