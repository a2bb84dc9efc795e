"use strict";
(() => {
  const root = document.documentElement;
  const theme = document.getElementById("theme");
  const keys = document.getElementById("keys");
  const unfold = document.getElementById("unfold");
  const help = document.getElementById("help");
  const system = matchMedia("(prefers-color-scheme: dark)");

  const isDark = () => (root.dataset.theme ? root.dataset.theme === "dark" : system.matches);
  const name = () => { theme.textContent = isDark() ? "Light" : "Dark"; };
  const toggle = () => { root.dataset.theme = isDark() ? "light" : "dark"; name(); };
  theme.addEventListener("click", toggle);
  system.addEventListener("change", name);
  name();

  let unfolded = false;
  const fold = () => {
    unfolded = !unfolded;
    for (const each of document.querySelectorAll("#main article details")) each.open = unfolded;
    unfold.textContent = unfolded ? "Fold all" : "Unfold all";
  };
  unfold.addEventListener("click", fold);
  keys.addEventListener("click", () => help.showModal());
  for (const each of [theme, keys, unfold]) each.hidden = false;

  const turns = [...document.querySelectorAll("article.turn")];
  const go = (step) => {
    const at = turns.indexOf(document.activeElement && document.activeElement.closest("article.turn"));
    let next = at + step;
    if (at < 0) {
      const below = turns.findIndex((each) => each.getBoundingClientRect().bottom > 0);
      next = step > 0 ? Math.max(below, 0) : below < 0 ? turns.length - 1 : below - 1;
    }
    if (turns[next]) {
      turns[next].focus({ preventScroll: true });
      turns[next].scrollIntoView({ block: "start" });
    }
  };

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || help.open) return;
    const does = {
      n: () => go(1), j: () => go(1), p: () => go(-1), k: () => go(-1), d: toggle, u: fold,
      t: () => { document.getElementById("main").focus(); },
      "?": () => help.showModal(),
    }[event.key];
    if (does) { event.preventDefault(); does(); }
  });
  addEventListener("beforeprint", () => {
    for (const each of document.querySelectorAll("details")) each.open = true;
  });
})();
