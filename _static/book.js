// Small repairs that need the rendered page: what scrolls sideways must be reachable by keyboard,
// and the theme's search button and logo must be reachable by assistive technology.
document.addEventListener("DOMContentLoaded", () => {
  const WIDE = [
    ["mjx-container[display]", "formula"],
    [".bd-article pre", "code"],
    [".pst-scrollable-table-container", "table"],
    [".cell_output .text_html", "output"],
  ];

  function reach(element, name) {
    if (element.scrollWidth <= element.clientWidth + 1 || element.hasAttribute("tabindex")) return;
    element.tabIndex = 0;
    element.setAttribute("role", "group");
    element.setAttribute("aria-label", `${name}, scrolls sideways`);
  }

  // An inline formula wider than its column gets a scroll box of its own.
  function boxed(formula) {
    formula.classList.remove("wide");
    const room = formula.closest("p, li, td, th, dd, div")?.clientWidth ?? Infinity;
    if (formula.getBoundingClientRect().width > room) formula.classList.add("wide");
    if (formula.classList.contains("wide")) reach(formula, "formula");
  }

  function mend() {
    document.querySelectorAll("span.math").forEach(boxed);
    for (const [selector, name] of WIDE)
      document.querySelectorAll(selector).forEach((element) => reach(element, name));
  }

  // The button reads "Search Ctrl+K" but was labelled "Search": let its own words be its name.
  document.querySelectorAll(".search-button__button").forEach((button) => {
    if (button.innerText.trim()) button.removeAttribute("aria-label");
  });
  const home = document.querySelector(".bd-sidebar-primary .navbar-brand")?.parentElement;
  home?.setAttribute("role", "navigation");
  home?.setAttribute("aria-label", "Home");

  const typeset = () => window.MathJax?.startup?.promise ?? Promise.resolve();
  window.addEventListener("load", () => typeset().then(mend));
  window.addEventListener("resize", mend);
});
