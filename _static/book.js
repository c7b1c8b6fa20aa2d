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
    if (element.scrollWidth <= element.clientWidth || element.hasAttribute("tabindex")) return;
    element.tabIndex = 0;
    element.setAttribute("role", "group");
    element.setAttribute("aria-label", `${name}, scrolls sideways`);
  }

  // Browsers break lines on either side of a formula, even before a full stop. So the marks that
  // touch one stay on its line.
  function bind(inline) {
    const opening = cut(inline.previousSibling, /[(\[“‘]+$/);
    const closing = cut(inline.nextSibling, /^[.,;:!?)\]’”…–-]+/);
    if (!opening && !closing) return;
    const whole = document.createElement("span");
    whole.className = "unbroken";
    inline.replaceWith(whole);
    whole.append(opening, inline, closing);
  }

  function cut(text, marks) {
    const found = text?.nodeType === Node.TEXT_NODE && text.data.match(marks);
    if (!found) return "";
    text.deleteData(found.index, found[0].length);
    return found[0];
  }

  // An inline formula wider than its column gets a scroll box of its own, its marks included.
  function boxed(formula) {
    const box = formula.closest(".unbroken") ?? formula;
    box.classList.remove("wide");
    const room = box.closest("p, li, td, th, dd, div")?.clientWidth ?? Infinity;
    const drawn = [box, formula.querySelector("mjx-math")].filter(Boolean);
    if (drawn.every((part) => part.getBoundingClientRect().width <= room)) return;
    box.classList.add("wide");
    reach(box, "formula");
  }

  function mend() {
    document.querySelectorAll("span.math").forEach(boxed);
    for (const [selector, name] of WIDE)
      document.querySelectorAll(selector).forEach((element) => reach(element, name));
  }

  // Every fold is labelled "Toggle hidden content": let its own words say which one it is.
  function nameFolds() {
    document.querySelectorAll("summary").forEach((fold) => fold.removeAttribute("aria-label"));
    document.querySelectorAll(".admonition-title > .toggle-button").forEach((button) => {
      button.setAttribute("aria-label", button.parentElement.textContent.trim());
    });
  }

  // The button reads "Search Ctrl+K" but was labelled "Search": let its own words be its name.
  document.querySelectorAll(".search-button__button").forEach((button) => {
    if (button.innerText.trim()) button.removeAttribute("aria-label");
  });
  const home = document.querySelector(".bd-sidebar-primary .navbar-brand")?.parentElement;
  home?.setAttribute("role", "navigation");
  home?.setAttribute("aria-label", "Home");

  document.querySelectorAll(".bd-article :is(span.math, a.status)").forEach(bind);
  const typeset = () => window.MathJax?.startup?.promise ?? Promise.resolve();
  window.addEventListener("load", nameFolds);
  window.addEventListener("load", () => typeset().then(mend));
  window.addEventListener("resize", mend);
});
