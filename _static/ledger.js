// The filters of the ledger page. Without this script the full tables stand as they are.
// The state lives in the address: ledger.html?paper=M25&kind=proved. It is a query and not a hash,
// for the theme reads every hash on a page as a selector, and throws.
document.addEventListener("DOMContentLoaded", () => {
  const form = document.getElementById("ledger-filters");
  if (!form) return;
  const rows = [...document.querySelectorAll("table.ledger tbody")];
  const chapters = [...document.querySelectorAll(".ledger-chapter")];
  const fields = [...form.elements].filter((field) => field.name);
  const count = form.querySelector("output");

  const fits = (row, { words, ...choices }) =>
    Object.entries(choices).every(([name, value]) => !value || row.dataset[name] === value) &&
    words.toLowerCase().split(/\s+/).every((word) => row.dataset.words.includes(word));

  function apply() {
    const wanted = Object.fromEntries(new FormData(form));
    for (const row of rows) row.hidden = !fits(row, wanted);
    for (const part of chapters) part.hidden = !part.querySelector("tbody:not([hidden])");
    const shown = rows.filter((row) => !row.hidden).length;
    count.value = `${shown} of ${rows.length} statements`;
  }

  function remember() {
    const chosen = fields.filter((field) => field.value).map((field) => [field.name, field.value]);
    const query = new URLSearchParams(chosen).toString();
    history.replaceState(null, "", location.pathname + (query && `?${query}`));
    apply();
  }

  function recall() {
    const wanted = new URLSearchParams(location.search);
    for (const field of fields) field.value = wanted.get(field.name) ?? "";
    apply();
    if (location.search) form.scrollIntoView();
  }

  // A link to a row must not lead to a hidden one.
  function reveal() {
    const row = document.getElementById(location.hash.slice(1));
    if (!row?.hidden) return;
    form.reset();
    apply();
    row.scrollIntoView();
  }

  form.hidden = false;
  form.addEventListener("input", remember);
  form.addEventListener("reset", () => setTimeout(remember));
  form.addEventListener("submit", (event) => event.preventDefault());
  window.addEventListener("hashchange", reveal);
  recall();
  reveal();
});
