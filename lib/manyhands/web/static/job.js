// One job in a dialog, which follows its output while it runs; and the table of jobs, a page at a time.
import { ask, badge, byId, count, duration, make, moment, size, text } from "./common.js";

let path = "", timer = 0, last = 0, choice = "all", opener = null;

export function showJob(run, number, from) {
  path = run;
  opener = from;
  const dialog = byId("job");
  dialog.dataset.job = String(number);
  text(byId("job-title"), `Job ${number}`);
  badge(byId("job-state"), "", "…");
  byId("job-body").replaceChildren();
  if (!dialog.open) dialog.showModal();
  byId("job-title").focus();
  load(number);
}

export function watchJob(now) {
  const dialog = byId("job");
  byId("job-close").addEventListener("click", () => dialog.close());
  dialog.addEventListener("close", () => {
    clearTimeout(timer);
    dialog.dataset.job = "";
    if (opener?.isConnected) opener.focus();
    else byId("main").querySelector("h2, button")?.focus();
  });
  dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
  watchJob.now = now;
}

async function load(number) {
  clearTimeout(timer);
  let found;
  try {
    found = await ask(`${path}/jobs/${number}`);
  } catch (error) {
    if (byId("job").dataset.job === String(number)) byId("job-body").replaceChildren(make("p", "problem", error.message));
    return;
  }
  if (byId("job").dataset.job !== String(number)) return;
  render(found);
  const running = watchJob.now?.()?.state === "running";
  if (found.state === "running" || (running && found.state === "left")) timer = setTimeout(() => load(number), 1000);
}

function render(found) {
  badge(byId("job-state"), found.state, found.state === "left" ? "not done" : found.state);
  const stop = byId("job-stop");
  if (stop) stop.hidden = found.state !== "running";
  const body = byId("job-body");
  block(body, "input", "Input", found.input, "");
  list(body, found);
  block(body, "result", "Result", found.result, "");
  block(body, "traceback", "Traceback", found.traceback, "");
  for (const name of ["stdout", "stderr"]) {
    const printed = found[name];
    if (!printed) {
      block(body, name, name, null, "");
      continue;
    }
    const parts = [`${count(printed.size)} bytes`];
    if (printed.dropped) parts.push(`${count(printed.dropped)} of them were dropped`);
    if (printed.cut) parts.push("the end of it");
    block(body, name, name, printed.problem ?? printed.text, parts.join(", "));
  }
  if (found.state === "running" && !found.stdout && !found.stderr) note(body, "It has printed nothing so far, or nothing that can be read before it ends.");
  else note(body, "");
}

function block(body, key, title, value, more) {
  let node = body.querySelector(`[data-part=${key}]`);
  if (value === null || value === undefined || value === "") {
    node?.remove();
    return;
  }
  if (!node) {
    node = make("div");
    node.dataset.part = key;
    const head = make("h3", "", title);
    head.append(" ", make("span", "count"));
    const pre = make("pre", key === "input" ? "input" : "");
    pre.tabIndex = 0;
    pre.setAttribute("role", "region");
    pre.setAttribute("aria-label", title);
    pre.dir = "ltr";
    node.append(head, pre);
    body.append(node);
  }
  text(node.firstChild.lastChild, more);
  const pre = node.lastChild, atEnd = pre.scrollTop + pre.clientHeight >= pre.scrollHeight - 8 || pre.textContent === "";
  if (pre.textContent === value) return;
  pre.textContent = value;
  if (atEnd && key !== "input") pre.scrollTop = pre.scrollHeight;
}

function list(body, found) {
  let node = body.querySelector("[data-part=attempts]");
  if (!node) {
    node = make("div");
    node.dataset.part = "attempts";
    body.append(node);
  }
  const lines = found.attempts.map((one) => {
    const stage = found.several_stages ? `stage ${one.stage}, ` : "";
    const when = one.started ? `, ${moment(one.started)}` : "";
    const where = `${one.slot ? `, slot ${one.slot}` : ""}${one.host ? ` on ${one.host}` : ""}`;
    const left = one.left_behind ? `; it ${one.left_behind}` : "";
    return `${stage}attempt ${one.attempt} ${one.how}${when}${where}: ${duration(one.wall)}, ${duration(one.cpu)} of CPU${one.max_rss ? `, ${size(one.max_rss)}` : ""}${left}`;
  });
  if (found.running) lines.push(`attempt ${found.running.attempt} runs since ${moment(found.running.since)}${found.running.pid ? `, pid ${found.running.pid}` : ""}`);
  if (node.dataset.words === lines.join("\n")) return;
  node.dataset.words = lines.join("\n");
  node.replaceChildren(make("h3", "", "Attempts"), ...lines.map((line) => make("p", "note", line)));
}

function note(body, words) {
  let node = body.querySelector("[data-part=note]");
  if (!node) {
    node = make("p", "note");
    node.dataset.part = "note";
    body.append(node);
  }
  text(node, words);
}

// -- the table

export async function listJobs(run, after = 0) {
  path = run;
  const said = byId("jobs-note"), rows = byId("rows");
  try {
    const found = await ask(`${run}/jobs?state=${choice}&after=${after}`);
    const nodes = found.jobs.map(row);
    if (after) rows.append(...nodes);
    else rows.replaceChildren(...nodes);
    last = found.jobs.at(-1)?.job ?? after;
    byId("further").hidden = !found.more;
    text(said, rows.children.length ? `${count(rows.children.length)} shown${found.more ? ", there are more" : ""}` : "none");
    return nodes[0];
  } catch (error) {
    text(said, error.message);
    return undefined;
  }
}

function row(job) {
  const node = make("tr"), head = make("th", "number"), button = make("button", "plain", String(job.job));
  head.scope = "row";
  button.type = "button";
  button.setAttribute("aria-label", `Job ${job.job}`);
  button.addEventListener("click", () => showJob(path, job.job, button));
  head.append(button);
  node.append(
    head, make("td", `state ${job.state}`, job.how || (job.state === "left" ? "not done" : job.state)), make("td", "number tries", String(job.tries)),
    make("td", "number", job.wall === null ? "" : duration(job.wall)), make("td", "number memory", job.max_rss === null ? "" : size(job.max_rss)),
    make("td", "input", job.host ? `${job.input} (${job.host})` : job.input),
  );
  return node;
}

byId("choice").addEventListener("change", (event) => {
  choice = event.target.value;
  listJobs(path);
});
byId("again").addEventListener("click", () => listJobs(path));
byId("further").addEventListener("click", async () => (await listJobs(path, last))?.querySelector("button")?.focus());
byId("find").addEventListener("submit", (event) => {
  event.preventDefault();
  showJob(path, Number(byId("number").value), byId("number"));
});
