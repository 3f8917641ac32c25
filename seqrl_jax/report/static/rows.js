"use strict";
/* What the leaderboard shows, without a page: which rows pass a filter, and in which order.

A row is an array as `Cell` of the site's writer lists it; names are {tables, tasks, agents} to which rows point. */
globalThis.rows = (() => {
  const PLACE = Object.fromEntries(
    ["table", "task", "agent", "score", "score_text", "normalised", "normalised_text", "memory", "memory_text",
      "seeds", "failed", "steps", "seconds", "record"].map((name, index) => [name, index]));
  const LABELS = {
    table: (row, names) => names.tables[row[PLACE.table]].name,
    task: (row, names) => names.tasks[row[PLACE.task]].name,
    agent: (row, names) => names.agents[row[PLACE.agent]].label,
  };

  /* filter: {text, table, track, task, agent, marked}; an empty string lets everything pass. */
  function matches(row, filter, names) {
    const agent = names.agents[row[PLACE.agent]];
    const same = (wanted, value) => !wanted || String(value) === String(wanted);
    if (!same(filter.table, row[PLACE.table]) || !same(filter.task, row[PLACE.task])) return false;
    if (!same(filter.agent, row[PLACE.agent]) || !same(filter.track, agent.track)) return false;
    if (filter.marked && (filter.marked === "wrong") !== agent.wrong) return false;
    const text = Object.values(LABELS).map((label) => label(row, names)).join(" ").toLowerCase();
    return (filter.text || "").toLowerCase().split(/\s+/).every((word) => text.includes(word));
  }

  /* By a column's name; what has no number stands last in either direction, and equals stay in their order. */
  function sorted(rows, key, direction, names) {
    return ordered(rows, LABELS[key] ? (row) => LABELS[key](row, names) : (row) => row[PLACE[key]], direction);
  }

  /* Anything by a value that is text, a number or null. */
  function ordered(rows, value, direction) {
    const sign = direction === "ascending" ? 1 : -1;
    return rows.map((row) => [value(row), row]).sort(([a], [b]) => {
      if (a === null || b === null) return (a === null) - (b === null);
      const text = typeof a === "string" || typeof b === "string";
      return sign * (text ? String(a).localeCompare(String(b), "en", {numeric: true}) : a - b);
    }).map(([, row]) => row);
  }

  /* What a cell of a table is sorted by: a name, or the number that its text begins with, whose thousands may be set
     apart by commas; null where there is none. */
  function value(text, named) {
    const shown = text.trim(), number = parseFloat(shown.replace(/(\d),(?=\d{3})/g, "$1"));
    if (named) return shown;
    return shown === "" || shown === "–" || shown === "failed" ? null : Number.isNaN(number) ? shown : number;
  }

  /* Page `number` of rows, from 0, or the nearest that there is. */
  function page(rows, number, size) {
    const last = Math.max(0, Math.ceil(rows.length / size) - 1);
    const shown = Math.max(0, Math.min(number, last));
    return {number: shown, last, rows: rows.slice(shown * size, (shown + 1) * size)};
  }

  /* The place of a sorted list that is nearest to a number. */
  function nearest(places, wanted) {
    let best = 0;
    places.forEach((place, index) => { if (Math.abs(place - wanted) < Math.abs(places[best] - wanted)) best = index; });
    return best;
  }

  return {PLACE, matches, sorted, ordered, value, page, nearest};
})();
