// Sorting, filtering and short tables. The page says everything without it; nothing here reads or writes markup as text.
"use strict";
(() => {
  const RANKS = ["critical", "high", "medium", "low", "info"];
  const collator = new Intl.Collator("en", { numeric: true, sensitivity: "base" });
  const make = (name, props, ...inside) => {
    const element = Object.assign(document.createElement(name), props);
    element.append(...inside);
    return element;
  };
  const live = {};

  // Groups by namespace become columns, so that rows can be sorted across them.
  function flatten(table) {
    const head = table.tHead.rows[0];
    const names = (table.dataset.groups || "").split(" ").filter(Boolean);
    if (!names.length) return;
    const all = make("tbody", {});
    for (const body of [...table.tBodies]) {
      const group = body.rows[0].cells[0];
      const values = [group.querySelector("b").textContent, (group.querySelector("span") || {}).textContent || ""];
      for (const row of [...body.rows].slice(1)) {
        names.forEach((_, i) => row.insertBefore(make("td", { textContent: values[i], className: "ids" }), row.cells[1 + i]));
        all.append(row);
      }
      body.remove();
    }
    table.append(all);
    names.forEach((name, i) => head.insertBefore(make("th", { textContent: name, scope: "col" }), head.cells[1 + i]));
  }

  // Short names of policies, where the page needed them to stay small, become the whole ones.
  function expand(table) {
    const list = document.getElementById("codes");
    if (!list || !table.dataset.codes) return;
    const whole = new Map([...list.children].map((each) => [each.firstChild.textContent, each.lastChild.textContent]));
    const at = [...table.tHead.rows[0].cells].findIndex((each) => each.textContent === table.dataset.codes);
    for (const row of table.tBodies[0].rows) {
      const cell = row.cells[at];
      cell.textContent = cell.textContent.split(" ").map((each) => whole.get(each) || each).join(", ");
    }
    list.hidden = true;
    if (list.previousElementSibling) list.previousElementSibling.hidden = true;
  }

  function enhance(table) {
    flatten(table);
    expand(table);
    const tools = document.getElementById(table.id + "-tools");
    const heads = [...table.tHead.rows[0].cells];
    const columns = heads.map((each) => each.textContent.trim().toLowerCase());
    const body = table.tBodies[0];
    const most = Number(table.dataset.most);
    const rows = [...body.rows].map((row) => ({ row, text: "" }));
    let order = rows;
    let all = rows.length <= most + 5;
    const hint = table.dataset.groups ? " by words, or by column as in team:\"name\"" : "";
    const input = make("input", { type: "search", autocomplete: "off", spellcheck: false });
    const said = make("output", {});
    const more = make("button", { type: "button" });
    tools.append(make("label", {}, "Filter " + table.dataset.what + hint, input), more, said);
    said.setAttribute("aria-live", "polite");

    const content = (row, at) => (row.cells[at] ? row.cells[at].textContent.trim() : "");
    const names = (each, at) => ((each.row.cells[at]?.firstChild || {}).textContent || "").trim().toLowerCase().split(", ");
    const tests = (text) =>
      (text.toLowerCase().match(/[a-z ]+:"[^"]*"|\S+/g) || []).map((term) => {
        const [, name, value] = term.match(/^([a-z ]+):"?([^"]*)"?$/) || [];
        const at = columns.indexOf((name || "").trim());
        return at < 0 ? (each) => each.text.includes(term) : (each) => names(each, at).includes(value);
      });
    function show() {
      const wanted = tests(input.value);
      tools.toggleAttribute("data-filtered", wanted.length > 0);
      if (wanted.length && !rows[0]?.text) rows.forEach((each) => (each.text = each.row.textContent.toLowerCase()));
      let found = 0;
      for (const each of order) {
        const fits = wanted.every((test) => test(each));
        each.row.hidden = !fits;
        each.row.className = fits && !all && ++found > most ? "x" : "";
        if (fits && all) found++;
      }
      const shown = all ? found : Math.min(found, most);
      said.textContent = `${shown.toLocaleString("en")} of ${rows.length.toLocaleString("en")} shown` +
        (wanted.length ? `, ${found.toLocaleString("en")} fit` : "");
      more.hidden = !all && found <= most && !wanted.length ? true : rows.length <= most + 5;
      more.textContent = all ? "Show fewer" : `Show all ${found.toLocaleString("en")}`;
      more.setAttribute("aria-expanded", String(all));
    }
    function value(each, at, how) {
      const text = content(each.row, at);
      if (how === "rank") return (RANKS.indexOf(text) + 1 || 9) * -1;
      if (how === "new") return text ? 1 : 0;
      if (how === "n") return parseFloat(text.replace(/,/g, "")) || (text === "–" ? -1 : 0);
      return text;
    }
    function sort(at, way) {
      const how = heads[at].dataset.sort || "";
      const keyed = order.map((each) => [value(each, at, how), each]);
      keyed.sort(([a], [b]) => (typeof a === "number" ? a - b : collator.compare(a, b)) * way);
      order = keyed.map(([, each]) => each);
      heads.forEach((each) => each.removeAttribute("aria-sort"));
      heads[at].setAttribute("aria-sort", way > 0 ? "ascending" : "descending");
      body.append(...order.map((each) => each.row));
      show();
    }
    heads.forEach((head, at) => {
      if (head.dataset.sort === "no") return;
      const button = make("button", { type: "button", textContent: head.textContent });
      head.replaceChildren(button);
      const first = head.dataset.sort ? -1 : 1;
      button.addEventListener("click", () =>
        sort(at, head.hasAttribute("aria-sort") ? (head.getAttribute("aria-sort") === "ascending" ? -1 : 1) : first)
      );
    });
    input.addEventListener("input", show);
    more.addEventListener("click", () => { all = !all; show(); });
    live[table.id] = (text) => { input.value = text; show(); input.focus(); };
    show();
  }

  // A number of workloads leads to them.
  function lead(table) {
    const name = table.dataset.leads;
    if (!name || !live.workloads) return;
    for (const row of table.tBodies[0].rows) {
      const to = row.querySelector("[data-to]");
      const what = row.cells[0].firstChild.textContent.trim();
      if (!to || to.textContent === "0" || row.cells[0].dataset.none) continue;
      const button = make("button", { type: "button", className: "to", textContent: to.textContent });
      button.setAttribute("aria-label", `Show the workloads of ${what}: ${to.textContent}`);
      button.addEventListener("click", () => {
        document.getElementById("workloads").scrollIntoView();
        live.workloads(`${name}:"${what}"`);
      });
      to.replaceChildren(button);
    }
  }

  const tables = [...document.querySelectorAll("table[data-what]")];
  tables.forEach(enhance);
  tables.forEach(lead);
  document.documentElement.dataset.ready = "";
})();
