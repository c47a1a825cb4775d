"use strict";
(async () => {
  const figures = JSON.parse(document.getElementById("data").textContent);
  // What all charts look like: in the colours of the page, by its theme.
  const config = {
    background: null,
    font: "system-ui, sans-serif",
    view: { stroke: null },
    axis: {
      labelColor: "var(--muted)", titleColor: "var(--muted)", titleFontWeight: "normal", titleFontSize: 12, labelFontSize: 12,
      gridColor: "var(--line)", domainColor: "var(--line)", tickColor: "var(--line)", labelLimit: 190,
    },
    axisY: { titleAnchor: "end", titleAngle: 0, titleAlign: "left", titleX: 0, titleY: -8 },
    legend: {
      orient: "top", title: null, labelColor: "var(--ink)", labelFontSize: 12, labelLimit: 240, offset: 24, symbolOpacity: 1,
      symbolStrokeWidth: 0,
    },
    text: { color: "var(--ink)", fontSize: 12 },
    rule: { color: "var(--muted)" },
  };
  // Of each list there is one entry for all choices, or one for each.
  const chosen = (list, choice) => list[Math.min(choice, list.length - 1)];

  async function draw(figure, choice) {
    const panels = figures[figure.dataset.figure];
    const charts = [...figure.querySelectorAll(".chart")];
    await Promise.all(charts.map(async (chart, i) => {
      const spec = structuredClone(chosen(panels[i].specs, choice));
      spec.datasets = { ...spec.datasets, rows: chosen(panels[i].rows, choice) };
      chart.finalize?.();
      // `ast` evaluates expressions without eval, which the page's policy forbids.
      const made = await vegaEmbed(chart, spec, { config, renderer: "svg", actions: false, ast: true, tooltip: { theme: "custom" } });
      chart.finalize = () => made.finalize();
    }));
  }

  function sortable(table) {
    const headings = [...table.tHead.rows[0].cells];
    headings.forEach((heading, column) => heading.querySelector("button").addEventListener("click", () => {
      const numeric = [...table.tBodies[0].rows].some((row) => row.cells[column].dataset.order);
      const before = heading.getAttribute("aria-sort");
      const other = { ascending: "descending", descending: "ascending" };
      const order = before ? other[before] : ("high" in heading.dataset ? "descending" : "ascending");
      headings.forEach((each) => each.removeAttribute("aria-sort"));
      heading.setAttribute("aria-sort", order);
      const sign = order === "ascending" ? 1 : -1;
      const key = (row) => {
        const cell = row.cells[column];
        return numeric ? parseFloat(cell.dataset.order) : cell.textContent.trim();
      };
      const rows = [...table.tBodies[0].rows].map((row) => [key(row), row]);
      rows.sort(([a], [b]) => {
        if (!numeric) return sign * a.localeCompare(b, "en", { numeric: true });
        if (isNaN(a) || isNaN(b)) return isNaN(a) - isNaN(b); // what was not measured comes last
        return sign * (a - b);
      });
      table.tBodies[0].append(...rows.map(([, row]) => row));
    }));
  }

  // The rows that are shown, as a file; what a spreadsheet would compute stays text.
  function download(block) {
    const cell = (one) => {
      const text = one.textContent.trim().replace(/\s+/g, " ");
      const inert = one.dataset.order ? text.replaceAll("−", "-") : text.replace(/^[=+@-]/, "'$&");
      return `"${inert.replaceAll('"', '""')}"`;
    };
    const rows = [...block.querySelectorAll("tr")].filter((row) => !row.hidden);
    const lines = rows.map((row) => [...row.cells].map(cell).join(","));
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([`${lines.join("\n")}\n`], { type: "text/csv" }));
    link.download = `${block.dataset.table}.csv`;
    link.click();
    URL.revokeObjectURL(link.href);
  }

  function searchable(block) {
    const search = block.querySelector("[data-search]");
    const filters = [...block.querySelectorAll("[data-filter]")];
    const count = block.querySelector("output");
    const rows = [...block.querySelector("tbody").rows];
    const update = () => {
      const words = (search?.value ?? "").toLowerCase().split(/\s+/).filter(Boolean);
      let shown = 0;
      for (const row of rows) {
        const text = row.textContent.toLowerCase();
        const fits = words.every((word) => text.includes(word))
          && filters.every((filter) => !filter.value || row.cells[filter.dataset.filter].textContent.trim() === filter.value);
        row.hidden = !fits;
        shown += fits;
      }
      count.textContent = `${shown} of ${rows.length}`;
    };
    // The address says what is looked for, so that a link shows the same.
    const controls = [search, ...filters].filter(Boolean);
    const name = (control) => `${block.dataset.table}.${control.dataset.filter ?? "search"}`;
    const asked = new URLSearchParams(location.search);
    const changed = () => {
      const query = new URLSearchParams(location.search);
      controls.forEach((control) => (control.value ? query.set(name(control), control.value) : query.delete(name(control))));
      history.replaceState(null, "", `${query.size ? `?${query}` : location.pathname}${location.hash}`);
      update();
    };
    for (const control of controls) {
      if (asked.has(name(control))) control.value = asked.get(name(control));
      control.addEventListener(control === search ? "input" : "change", changed);
    }
    update();
  }

  function marking(links) {
    const seen = new IntersectionObserver((entries) => entries.filter((entry) => entry.isIntersecting).forEach((entry) => {
      links.forEach((link) => link.toggleAttribute("aria-current", link.hash === `#${entry.target.id}`));
    }), { rootMargin: "-20% 0px -70% 0px" });
    links.forEach((link) => seen.observe(document.querySelector(link.hash)));
  }

  document.querySelectorAll("table").forEach(sortable);
  document.querySelectorAll("[data-csv]").forEach((button) => button.addEventListener("click", () => download(button.closest(".table"))));
  document.querySelectorAll(".table:has(.controls)").forEach(searchable);
  marking([...document.querySelectorAll("nav a")]);
  addEventListener("beforeprint", () => document.querySelectorAll(".tweet").forEach((tweet) => { tweet.open = true; }));
  for (const figure of document.querySelectorAll("[data-figure]")) {
    figure.querySelectorAll("[data-choice]").forEach((control) => {
      control.addEventListener("change", () => draw(figure, Number(control.value)));
    });
    await draw(figure, 0);
  }
  document.documentElement.dataset.ready = "";
})();
