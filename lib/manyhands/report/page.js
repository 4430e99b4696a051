"use strict";
// The table of all jobs: finds, sorts and shows what is in this file. Text of jobs is only ever put in as text.
(() => {
  const [JOB, INPUT, STATE, WALL, BEGAN, TRIES, STAGE, HOST, MEMORY, CPU, CODE] = Array(11).keys();
  const PAGE = 100;
  const at = (id) => document.getElementById(id);
  const meta = JSON.parse(at("meta").textContent);
  const body = at("jobs").tBodies[0];
  let rows = [], found = [], page = 0, sorted = [JOB, 1], outputs = new Map(), texts = new Map();

  async function lines(id) {
    const bytes = Uint8Array.from(atob(at(id).textContent), (c) => c.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    const text = (await new Response(stream).text()).trimEnd();
    return text ? JSON.parse("[" + text.split("\n").join(",") + "]") : [];
  }

  function make(name, text, kind) {
    const made = document.createElement(name);
    if (text !== undefined) made.textContent = text;
    if (kind) made.className = kind;
    return made;
  }

  function time(seconds) {
    if (seconds === null || seconds === undefined) return "";
    if (seconds < 0.0995) return (seconds * 1000).toFixed(seconds < 0.00995 ? 1 : 0) + " ms";
    if (seconds < 99.95) return seconds.toFixed(seconds < 9.95 ? 2 : 1) + " s";
    const whole = Math.round(seconds), two = (n) => String(n).padStart(2, "0");
    return whole < 3600 ? `${Math.floor(whole / 60)} min ${two(whole % 60)} s` : `${Math.floor(whole / 3600)} h ${two(Math.floor(whole / 60) % 60)} min`;
  }

  function when(began) {
    if (began === null) return "";
    const date = new Date((meta.created + began) * 1000), two = (n) => String(n).padStart(2, "0");
    return `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())} ${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`;
  }

  function status(row) {
    const name = meta.states[row[STATE]], cell = make("td"), sign = make("span", meta.signs[row[STATE]], "sign s-" + name);
    sign.setAttribute("aria-hidden", "true");
    cell.append(sign, (meta.words[row[STATE]]) + (row[CODE] && row[STATE] ? ", " + row[CODE] : ""));
    return cell;
  }

  function line(row) {
    const made = make("tr"), first = make("td", undefined, "n"), open = make("button", String(row[JOB]), "open");
    open.type = "button";
    open.setAttribute("aria-expanded", "false");
    open.setAttribute("aria-label", `job ${row[JOB]}, details`);
    open.addEventListener("click", () => toggle(made, row, open));
    first.append(open);
    made.id = "row-" + row[JOB];
    made.append(first, make("td", row[INPUT], "w"), status(row), make("td", time(row[WALL]), "n"));
    if (meta.retries) made.append(make("td", row[TRIES] > meta.stages || meta.retried(row) ? String(row[TRIES]) : "", "n far"));
    made.append(make("td", when(row[BEGAN]), "far"));
    if (meta.stages > 1) made.append(make("td", String(row[STAGE]), "n far"));
    if (meta.hosts.length > 1) made.append(make("td", meta.hosts[row[HOST]], "far"));
    if (meta.memory) made.append(make("td", row[MEMORY] ? row[MEMORY].toFixed(1) : "", "n far"));
    if (meta.cpu) made.append(make("td", row[CPU] ? time(row[CPU]) : "", "n far"));
    return made;
  }

  function toggle(made, row, open) {
    const next = made.nextElementSibling;
    if (next && next.classList.contains("more")) {
      next.remove();
      open.setAttribute("aria-expanded", "false");
      return;
    }
    const more = make("tr", undefined, "more"), cell = make("td");
    cell.colSpan = made.cells.length;
    const host = meta.hosts.length > 1 ? `, on ${meta.hosts[row[HOST]]}` : "", stage = meta.stages > 1 ? `, stage ${row[STAGE]}` : "";
    cell.append(make("p", `${when(row[BEGAN])}${stage}${host}, ${row[TRIES] > 1 ? row[TRIES] + " attempts, " : ""}${time(row[WALL])}` +
      (row[CPU] ? `, ${time(row[CPU])} of CPU` : "") + (row[MEMORY] ? `, ${row[MEMORY]} MiB` : ""), "what"));
    const item = outputs.get(row[JOB]);
    if (item && item.a) {
      const list = make("ul", undefined, "note");
      for (const [of, number, how, wall] of item.a) list.append(make("li", `${meta.stages > 1 ? `stage ${of}, ` : ""}attempt ${number} ${how}${wall === null ? "" : ", " + time(wall)}`));
      cell.append(list);
    }
    for (const [key, name] of [["x", "error"], ["o", "standard output"], ["e", "standard error"], ["t", "traceback"], ["r", "result"]]) {
      if (item && item[key]) {
        const text = make("pre", item[key]);
        text.tabIndex = 0;
        cell.append(make("p", name, "what"), text);
      }
    }
    if (!item) cell.append(make("p", `Nothing that this job printed is in this page. If it printed something: ${meta.command} --job ${row[JOB]} --output`, "note"));
    more.append(cell);
    made.after(more);
    open.setAttribute("aria-expanded", "true");
  }

  function text(row) {
    let one = texts.get(row[JOB]);
    if (one === undefined) {
      const item = outputs.get(row[JOB]) || {};
      one = [row[INPUT], row[CODE], meta.hosts[row[HOST]], item.x, item.o, item.e, item.t, item.r].join("\n").toLowerCase();
      texts.set(row[JOB], one);
    }
    return one;
  }

  function choose() {
    const wanted = at("find").value.trim().toLowerCase(), state = at("state").value;
    const number = /^#?\d+$/.test(wanted) ? Number(wanted.replace("#", "")) : null, exact = wanted.startsWith("#");
    found = rows.filter((row) => {
      if (state === "bad" ? !meta.bad.includes(row[STATE]) : state === "again" ? row[TRIES] <= meta.stages && !meta.retried(row) : state !== "" && row[STATE] !== Number(state)) return false;
      if (!wanted) return true;
      if (number !== null && row[JOB] === number) return true;
      return !exact && text(row).includes(wanted);
    });
    const [key, way] = sorted, nothing = way > 0 ? Infinity : -Infinity;
    const value = (row) => row[key] === null ? nothing : row[key];
    if (key !== JOB || way < 0) {
      const compare = key === INPUT ? (a, b) => a[INPUT].localeCompare(b[INPUT], undefined, { numeric: true }) : (a, b) => value(a) - value(b);
      found.sort((a, b) => way * compare(a, b) || a[JOB] - b[JOB]);
    }
    page = 0;
    show();
  }

  function show() {
    body.replaceChildren(...found.slice(page * PAGE, (page + 1) * PAGE).map(line));
    const first = found.length ? page * PAGE + 1 : 0, last = Math.min(found.length, (page + 1) * PAGE);
    at("shown").textContent = `${first.toLocaleString("en")} to ${last.toLocaleString("en")} of ${found.length.toLocaleString("en")} jobs`;
    at("before").disabled = page === 0;
    at("after").disabled = last >= found.length;
  }

  function go() {
    const wanted = /^#job-(\d+)$/.exec(location.hash);
    if (!wanted) return;
    at("find").value = "#" + wanted[1];
    at("state").value = "";
    choose();
    const button = body.querySelector("button.open");
    if (button) {
      button.click();
      at("jobs").scrollIntoView();
      button.focus();
    }
  }

  function listen() {
    let waiting = 0;
    at("find").addEventListener("input", () => { clearTimeout(waiting); waiting = setTimeout(choose, 150); });
    at("state").addEventListener("change", choose);
    at("before").addEventListener("click", () => { page -= 1; show(); });
    at("after").addEventListener("click", () => { page += 1; show(); });
    for (const button of document.querySelectorAll("th button")) {
      button.addEventListener("click", () => {
        const key = Number(button.dataset.key), head = button.parentElement;
        const way = sorted[0] === key ? -sorted[1] : [WALL, TRIES, MEMORY, CPU].includes(key) ? -1 : 1;
        for (const other of head.parentElement.cells) other.removeAttribute("aria-sort");
        head.setAttribute("aria-sort", way > 0 ? "ascending" : "descending");
        sorted = [key, way];
        choose();
      });
    }
    addEventListener("hashchange", go);
  }

  async function begin() {
    if (!("DecompressionStream" in window)) {
      at("shown").textContent = "This browser is too old for the table of all jobs: it cannot inflate data.";
      return;
    }
    const parts = await Promise.all(["rows-bad", "rows-well", "output-bad", "output-well"].map(lines));
    rows = [...parts[0], ...parts[1]].sort((a, b) => a[JOB] - b[JOB]);
    for (const item of [...parts[2], ...parts[3]]) outputs.set(item.j, item);
    meta.retried = (row) => (outputs.get(row[JOB])?.a || []).some((one) => one[1] > 1);
    listen();
    choose();
    go();
    document.documentElement.dataset.ready = "yes";
  }
  begin();
})();
