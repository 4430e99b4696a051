import { ask, badge, bar, byId, count, duration, keyed, listen, make, moment, teller, text } from "./common.js";

const tell = teller();
const states = new Map();

function create(run) {
  const node = make("li");
  const link = make("a", "name", run.name);
  link.href = `/runs/${encodeURIComponent(run.id)}`;
  const line = make("div", "bar");
  line.setAttribute("aria-hidden", "true");
  line.append(make("i", "ok"), make("i", "failed"), make("i", "running"));
  node.append(link, make("span", "what", run.command), make("span", "badge"), make("span", "when"), line, make("span", "sum"));
  node.children[1].title = run.command;
  return node;
}

function update(node, run) {
  const [link, , state, when, line, sum] = node.children;
  text(link, run.name);
  badge(state, run.state);
  text(when, moment(run.created));
  if (run.ok === undefined) return;
  const done = run.ok + run.failed, all = run.total ?? done + run.left;
  bar(line, run.ok, run.failed, run.running ?? 0, all);
  const parts = [`${count(run.ok)} ok`];
  const after = [];
  if (run.left) after.push(`${count(run.left)}${run.total === null ? "+" : ""} left`);
  if (run.running !== undefined) after.push(`${count(run.running)} running`);
  if (run.rate) after.push(`${run.rate.toFixed(1)}/s`);
  if (run.eta) after.push(`${duration(run.eta)} to go`);
  else if (run.took) after.push(`in ${duration(run.took)}`);
  const words = JSON.stringify([parts, run.failed, after]);
  if (sum.dataset.words === words) return;
  sum.dataset.words = words;
  sum.replaceChildren(parts.join(", "));
  if (run.failed) sum.append(", ", make("b", "", `${count(run.failed)} failed`));
  sum.append([...[""], ...after].join(", "));
}

function show(found) {
  byId("empty").hidden = found.runs.length > 0;
  if (keyed(byId("runs"), found.runs, (run) => run.id, create, update)) byId("main").querySelector("a, button")?.focus();
  text(byId("more"), found.more ? `${count(found.more)} older runs are not shown: manyhands batch.list shows them all.` : "");
  for (const run of found.runs) {
    const before = states.get(run.id);
    if (before !== undefined && before !== run.state && run.state !== "counting" && before !== "counting") {
      tell(`run ${run.name}: ${run.state === "left" ? "stopped" : run.state}`, true);
    }
    states.set(run.id, run.state);
  }
}

byId("link")?.addEventListener("click", async () => {
  const said = byId("linked");
  said.hidden = false;
  try {
    said.replaceChildren("Open this link in the other browser; it works once: ", make("code", "", (await ask("/link", {})).link));
  } catch (error) {
    text(said, error.message);
  }
});

listen("/events", { runs: show });
