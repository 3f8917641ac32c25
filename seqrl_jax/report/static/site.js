"use strict";
/* What a page does beyond what stands in it: the leaderboard, sorting, reading charts, and showing records. All that a
file said is set as text, never as markup. */
globalThis.site = (() => {
  const ROOT = document.documentElement.dataset.root || "";
  const waiting = {};

  /* Chunks of data are scripts that call `received`: pages on a disk may not read other files. */
  function load(name, number, path) {
    return new Promise((resolve, reject) => {
      waiting[name + number] = resolve;
      const script = document.createElement("script");
      script.src = ROOT + path;
      script.onerror = () => reject(new Error(`${path} is missing`));
      document.head.append(script);
    });
  }
  const received = (name, number, data) => waiting[name + number](data);

  function element(tag, attributes = {}, ...children) {
    const made = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
    made.append(...children);
    return made;
  }
  const link = (text, href) => element("a", {href: ROOT + href}, text);
  /* A name that a line may break after its underscores, colons and commas, as in the pages. */
  const breakable = (name) => name.split(/(?<=[_:,])/).flatMap((part, index) => (index ? [element("wbr"), part] : [part]));
  const named = ({label, name, href}) => element("a", {href: ROOT + href}, ...breakable(label ?? name));

  /* Headers become buttons; `sort` gets which and in which direction. */
  function sortable(headers, sort) {
    for (const header of headers) {
      if (!header.textContent.trim()) continue;
      const button = element("button", {type: "button"}, ...header.childNodes);
      header.append(button);
      button.addEventListener("click", () => {
        const before = header.getAttribute("aria-sort"), named = header.matches(".left, :first-child");
        const direction = before ? (before === "descending" ? "ascending" : "descending") : named ? "ascending" : "descending";
        headers.forEach((other) => other.removeAttribute("aria-sort"));
        header.setAttribute("aria-sort", direction);
        sort(header, direction);
      });
    }
  }

  function sortTable(table) {
    sortable([...table.tHead.rows[0].cells].filter((cell) => cell.tagName === "TH" && !cell.querySelector("a")),
      (header, direction) => {
        const body = table.tBodies[0], named = header.cellIndex === 0;
        const value = (row) => rows.value(row.cells[header.cellIndex].textContent, named);
        body.append(...rows.ordered([...body.rows], value, direction));
      });
  }

  async function leaderboard(table) {
    const form = document.getElementById("filters"), pager = document.getElementById("pager");
    const count = document.getElementById("count"), total = Number(table.dataset.total);
    const size = Number(table.dataset.shown), chunks = Math.ceil(total / Number(table.dataset.chunk));
    const all = [];
    let key = "normalised", direction = "descending", number = 0;
    const names = await load("names", 0, "data/names.js");
    const P = rows.PLACE;

    function line(row) {
      const agent = names.agents[row[P.agent]], task = names.tasks[row[P.task]], sheet = names.tables[row[P.table]];
      const record = link(row[P.score_text], `record.html#${row[P.record]}`);
      const seeds = row[P.failed] ? `${row[P.seeds] - row[P.failed]} of ${row[P.seeds]}` : String(row[P.seeds]);
      const made = element("tr", {}, element("th", {scope: "row"}, named(agent)),
        element("td", {class: "left"}, named(task)),
        element("td", {class: "left"}, named(sheet)), element("td", {}, record));
      for (const text of [row[P.normalised_text], row[P.memory_text], seeds, row[P.steps].toLocaleString("en"), row[P.seconds]]) {
        made.append(element("td", {}, String(text)));
      }
      return made;
    }
    const wanted = () => Object.fromEntries([...new FormData(form)].filter(([, value]) => value !== ""));
    function show() {
      const filter = wanted(), passing = all.filter((row) => rows.matches(row, filter, names));
      const shown = rows.page(rows.sorted(passing, key, direction, names), number, size);
      number = shown.number;
      table.tBodies[0].replaceChildren(...shown.rows.map(line));
      const words = (many) => many.toLocaleString("en");
      count.textContent = `${words(passing.length)} of ${words(total)} cells` +
        (all.length < total ? `; ${words(all.length)} are loaded` : "");
      pager.hidden = shown.last === 0;
      pager.querySelector("span").textContent = `Page ${words(number + 1)} of ${words(shown.last + 1)}`;
      pager.querySelector('[data-move="-1"]').disabled = number === 0;
      pager.querySelector('[data-move="1"]').disabled = number === shown.last;
    }
    function changed() {
      number = 0;
      const kept = new URLSearchParams(wanted()).toString();
      history.replaceState(null, "", kept ? `#${kept}` : location.pathname);
      show();
    }
    form.addEventListener("input", changed);
    form.addEventListener("submit", (event) => event.preventDefault());
    form.addEventListener("reset", () => setTimeout(changed));
    pager.addEventListener("click", (event) => { number += Number(event.target.dataset.move || 0); show(); });
    sortable([...table.tHead.rows[0].cells], (header, way) => { key = header.dataset.key; direction = way; number = 0; show(); });
    for (const [name, value] of new URLSearchParams(location.hash.slice(1))) {
      const field = form.elements.namedItem(name);
      if (field) field.value = value;
    }
    form.hidden = false;
    for (let chunk = 0; chunk < chunks; chunk++) {
      all.push(...await load("rows", chunk, `data/rows-${chunk}.js`));
      if (chunk === 0 || chunk === chunks - 1) show();
    }
    table.dataset.ready = "true";
  }

  /* Where a chart can be read: at the places of its lines, or at its points. Each has the lines that are read there, its
     position in the view, and the mark that shows it. */
  function readings(svg, lines, frame) {
    const {left, right, top, bottom, first, last, axis} = frame;
    if (svg.hasAttribute("data-points")) {
      const points = [...svg.querySelectorAll(".series circle")].map(({cx, cy}, index) => {
        const x = cx.baseVal.value, y = cy.baseVal.value;
        return {place: lines[index].at[0], lines: [lines[index]], x, y, mark: `M${x - 9} ${y}a9 9 0 1 0 18 0a9 9 0 1 0 -18 0`};
      });
      return points.sort((a, b) => a.x - b.x || b.y - a.y);
    }
    const places = [...new Set(lines.flatMap((line) => line.at))].sort((a, b) => a - b);
    return places.map((place) => {
      const x = left + (right - left) * (axis(place) - first) / (last - first);
      return {place, lines, x, y: null, mark: `M${x} ${top}V${bottom}`};
    });
  }

  /* What tells a line from others, as classes: its colour, and how it is dashed. */
  const look = (group) => [group, ...group.querySelectorAll(".line")].flatMap((part) => [...part.classList])
    .filter((name) => /^(c\d+|dashed|dotted)$/.test(name)).join(" ");

  /* A slider, and the pointer above a chart, choose where it is read; the values there are listed, the highest first. */
  function readable(figure) {
    const svg = figure.querySelector("svg[data-first]");
    let at = [];
    const lines = svg ? [...svg.querySelectorAll(".series")].map((group) => {
      const {label, ...read} = group.dataset;
      // Places that are those of the line before do not stand again, nor do ends that are the mean.
      at = read.at ? read.at.split(" ").map(Number) : at;
      const mean = read.mean.split(" ");
      return {label, look: look(group), at, mean, low: read.low?.split(" ") || mean, high: read.high?.split(" ") || mean};
    }) : [];
    if (!lines.length) return;
    const frame = Object.fromEntries(Object.entries(svg.dataset).map(([k, v]) => [k, Number(v)]));
    const axis = frame.axis = svg.hasAttribute("data-logarithmic") ? Math.log10 : Number;
    const all = readings(svg, lines, frame);
    const levels = [...svg.querySelectorAll(".level")].map((group) => group.dataset);
    const number = (value) => value.toLocaleString("en", {maximumSignificantDigits: 7});
    const cursor = document.createElementNS("http://www.w3.org/2000/svg", "path");
    cursor.setAttribute("class", "cursor");
    svg.append(cursor);
    const slider = element("input", {type: "range", min: 0, max: all.length - 1, step: 1, "aria-label": `Read values at ${svg.dataset.x}`});
    const where = element("output");
    const list = element("ul", {class: "read"});
    slider.value = all.length - 1;
    function show() {
      const {place, lines: read, mark, y} = all[Number(slider.value)];
      cursor.setAttribute("d", mark);
      const values = read.map((line) => {
        const index = rows.nearest(line.at.map(axis), axis(place));
        const range = line.low[index] === line.high[index] ? "" : ` [${line.low[index]}, ${line.high[index]}]`;
        const far = Math.abs(axis(line.at[index]) - axis(place)) > 0.01 * (frame.last - frame.first);
        const elsewhere = far ? ` at ${number(line.at[index])}` : "";
        return {value: Number(line.mean[index]), look: line.look, text: `${line.label} ${line.mean[index]}${range}${elsewhere}`, kind: "series"};
      });
      where.textContent = `${svg.dataset.x}: ${number(place)}`;
      slider.setAttribute("aria-valuetext", y === null ? where.textContent : `${values[0].text}, ${where.textContent}`);
      values.push(...levels.map((level) => ({
        value: Number(level.low), kind: "level",
        text: `${level.label} ${level.low}${level.low === level.high ? "" : ` to ${level.high}`}`,
      })));
      list.replaceChildren(...values.sort((a, b) => b.value - a.value).map((each) =>
        element("li", {class: each.kind}, ...(each.look ? [element("i", {class: `swatch ${each.look}`})] : []), each.text)));
    }
    slider.addEventListener("input", show);
    svg.addEventListener("pointermove", (event) => {
      const box = svg.getBoundingClientRect(), scale = svg.viewBox.baseVal.width / box.width;
      const x = (event.clientX - box.left) * scale, y = (event.clientY - box.top) * scale;
      slider.value = rows.nearest(all.map((each) => Math.hypot(each.x - x, each.y === null ? 0 : each.y - y)), 0);
      show();
    });
    svg.parentElement.after(element("div", {class: "reader"}, slider, where), list);
    show();
  }

  /* The line of the table's row under the pointer, or with the focus, stands out. */
  function choosable(section) {
    const figures = section.querySelectorAll(".chart");
    const choose = (event) => {
      const label = event.target.closest("tbody tr")?.cells[0].textContent.trim();
      for (const figure of figures) {
        const groups = [...figure.querySelectorAll("g.series")];
        const mine = groups.filter((group) => group.dataset.label === label);
        figure.classList.toggle("choosing", mine.length > 0);
        groups.forEach((group) => group.classList.toggle("chosen", mine.includes(group)));
      }
    };
    for (const kind of ["pointerover", "focusin", "pointerleave", "focusout"]) section.addEventListener(kind, choose);
  }

  async function unpacked(base64) {
    const bytes = Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    return (await new Response(stream).text()).split("\n");
  }

  async function showRecord(facts) {
    const asked = location.hash.slice(1), where = document.getElementById("record-where");
    if (!/^\d+$/.test(asked)) return;
    const size = Number(facts.dataset.chunk), number = Number(asked);
    let names, lines;
    try {
      names = await load("names", 0, "data/names.js");
      lines = await unpacked(await load("records", Math.floor(number / size), `records/${Math.floor(number / size)}.js`));
    } catch (error) {
      where.textContent = `There is no record ${number} (${error.message}).`;
      return;
    }
    const json = lines[number % size];
    if (json === undefined) { where.textContent = `There is no record ${number}.`; return; }
    const record = JSON.parse(json);
    const page = (list, name) => list.find((each) => each.track === record.track && each.name === name);
    document.title = `${record.method} on ${record.task} · seqrl`;
    document.getElementById("record-title").textContent = `${record.method} on ${record.task}`;
    where.replaceChildren("Record of ", link(record.method, page(names.agents, record.method).href), " on ",
      link(record.task, page(names.tasks, record.task).href), `, track ${record.track}, suite ${record.suite}.`);
    const list = (values) => values.map((value) => value === null ? "none" : String(value)).join(", ");
    const shown = [["made by", record.command || "unknown"], ["created", record.created], ["seeds", list(record.seeds)]];
    for (const [name, values] of Object.entries(record.metrics)) shown.push([`${name}, by seed`, list(values)]);
    for (const [name, each] of Object.entries(record.bounds)) shown.push([`${name}, proved`, `[${each.lower}, ${each.upper}], ${each.method}`]);
    for (const [name, value] of Object.entries(record.config)) shown.push([name, typeof value === "string" ? value : JSON.stringify(value)]);
    shown.push(["steps made, of asked", `${record.steps_made.toLocaleString("en")} of ${record.steps_asked.toLocaleString("en")}`],
      ["device", record.device], ["commit", record.commit || "unknown"],
      ["versions", Object.entries(record.versions).map((each) => each.join(" ")).join(", ")]);
    for (const text of record.warnings) shown.push(["warning", text]);
    for (const [seed, why] of Object.entries(record.failures)) shown.push([`seed ${seed} failed`, why]);
    facts.replaceChildren(...shown.flatMap(([what, text]) => [element("dt", {}, what), element("dd", {}, element("code", {}, text))]));
    const pre = document.getElementById("record-json"), save = document.getElementById("record-save");
    pre.textContent = json;
    for (const id of ["record-json", "record-json-title", "record-save"]) document.getElementById(id).hidden = false;
    save.firstElementChild.onclick = () => {
      const address = URL.createObjectURL(new Blob([json], {type: "application/json"}));
      element("a", {href: address, download: `record-${number}.json`}).click();
      URL.revokeObjectURL(address);
    };
  }

  document.addEventListener("DOMContentLoaded", () => {
    document.querySelectorAll("table.sortable").forEach(sortTable);
    document.querySelectorAll(".chart").forEach(readable);
    document.querySelectorAll("section").forEach(choosable);
    const board = document.getElementById("board"), facts = document.getElementById("record-facts");
    if (board) leaderboard(board);
    if (facts) {
      showRecord(facts);
      window.addEventListener("hashchange", () => showRecord(facts));
    }
  });
  return {received};
})();
