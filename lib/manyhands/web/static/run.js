import { ask, badge, bar, byId, clock, count, duration, jobs, keyed, listen, make, moment, size, teller, text } from "./common.js";
import { draw } from "./timeline.js";
import { listJobs, showJob, watchJob } from "./job.js";

const id = document.querySelector("meta[name=run]").content;
const path = `/runs/${encodeURIComponent(id)}`;
const tell = teller(30000);
let now = null, picture = null, paused = false, said = "", decile = -1, wanted = NaN;

const created = byId("created");
created.textContent = moment(Number(created.dataset.at));
created.dateTime = new Date(1000 * created.dataset.at).toISOString();

function numbers() {
  const all = now.total ?? null, done = now.ok + now.failed + now.skipped;
  const percent = all ? Math.floor((100 * done) / all) : null;
  const rows = [
    ["done", "done", count(done), all === null ? "" : `of ${count(all)}`],
    ["ok", "ok", count(now.ok), ""],
    ["failed", "failed", count(now.failed), ""],
  ];
  if (now.skipped) rows.push(["skipped", "skipped", count(now.skipped), ""]);
  if (now.lost) rows.push(["lost", "lost", count(now.lost), ""]);
  if (now.state === "running") rows.push(["running", "running", count(now.running), `of ${count(now.jobs.reduce((sum, one) => sum + one, 0))}`]);
  rows.push(["left", "left", `${count(now.left)}${all === null && now.left ? "+" : ""}`, ""]);
  if (now.waiting) rows.push(["waiting", "to retry", count(now.waiting), now.next_retry ? `in ${duration(Math.max(0, now.next_retry - clock()))}` : ""]);
  if (now.started) rows.push(["elapsed", "elapsed", duration(clock() - now.started), ""]);
  else if (now.took) rows.push(["took", "took", duration(now.took), ""]);
  if (now.rate !== null) rows.push(["rate", "rate", now.rate >= 100 ? count(Math.round(now.rate)) : now.rate.toFixed(1), "/s"]);
  if (now.eta !== null) rows.push(["eta", "to go", duration(now.eta), ""]);
  if (now.state !== "running" && now.work) rows.push(["work", "work", duration(now.work), now.took ? `${(now.work / now.took).toFixed(1)}x` : ""]);
  if (now.max_rss) rows.push(["memory", "largest job", size(now.max_rss), ""]);
  if (now.retries) rows.push(["retries", "retries", count(now.retries), ""]);
  keyed(byId("numbers"), rows, (row) => row[0], (row) => {
    const node = make("div", ["ok", "running", "done"].includes(row[0]) ? row[0] : "");
    const value = make("dd");
    value.append(make("span"), " ", make("small"));
    node.append(make("dt", "", row[1]), value);
    return node;
  }, (node, [name, , value, small]) => {
    if (name === "done") node.classList.toggle("wide", all >= 10000);
    if (name === "failed") node.className = now.failed ? "failed" : "";
    text(node.lastChild.children[0], value);
    text(node.lastChild.children[1], small);
  });
  const line = byId("bar"), shown = all ?? done + now.left;
  bar(line, now.ok, now.failed, Math.min(now.running, now.left), shown);
  if (percent !== null) line.setAttribute("aria-valuenow", String(percent));
  else line.removeAttribute("aria-valuenow");
  line.setAttribute("aria-valuetext", `${count(done)}${all === null ? "" : ` of ${count(all)}`} done, ${count(now.failed)} failed`);
  document.title = `${now.state === "running" && percent !== null ? `${percent}% ` : ""}${id} - manyhands`;
  return percent;
}

function controls() {
  const group = byId("controls");
  if (!group) return;
  const runs = now.state === "running";
  const shown = { pause: runs && !paused, continue: runs && paused, stop: runs, width: runs, retry: !runs && now.failed > 0, resume: !runs && now.left > 0 };
  const focused = document.activeElement;
  let lost = false;
  for (const [name, there] of Object.entries(shown)) {
    const node = byId(name);
    if (node.hidden !== !there) {
      lost ||= !there && (node === focused || node.contains(focused));
      node.hidden = !there;
    }
  }
  group.hidden = !Object.values(shown).some(Boolean);
  if (lost) [...group.querySelectorAll("button")].find((node) => node.offsetParent)?.focus();
  const width = byId("jobs");
  if (document.activeElement !== width && width.dataset.from !== now.jobs.join(",")) width.value = width.dataset.from = now.jobs.join(",");
}

function going() {
  const section = byId("running");
  section.hidden = now.state !== "running" || (!now.going.length && !now.running);
  text(byId("running-count"), now.running ? count(now.running) : "");
  const gone = keyed(byId("going"), now.going, (one) => `${one.stage}.${one.job}.${one.attempt}`, (one) => {
    const node = make("li");
    const act = make("div", "do"), look = make("button", "", "Output");
    look.type = "button";
    look.setAttribute("aria-label", `Output of job ${one.job}`);
    look.addEventListener("click", () => showJob(path, one.job, look));
    act.append(look);
    if (byId("controls")) {
      const stop = make("button", "danger", "Stop");
      stop.type = "button";
      stop.setAttribute("aria-label", `Stop job ${one.job}`);
      stop.addEventListener("click", () => act_({ do: "stop", job: one.job }, `job ${one.job} is being stopped`));
      act.append(stop);
    }
    node.append(make("span", "age"), make("span", "where"), make("span", "input", one.input), make("span", "last"), act);
    node.children[2].title = one.input;
    return node;
  }, (node, one) => {
    text(node.children[0], duration(clock() - one.since));
    const stage = document.querySelectorAll(".command code").length > 1 ? `, stage ${one.stage}` : "";
    text(node.children[1], `job ${one.job}${stage}${one.attempt > 1 ? `, try ${one.attempt}` : ""}${one.host ? `, ${one.host}` : ""}`);
    text(node.children[3], one.last);
  });
  if (gone) (byId("going").querySelector("button") ?? byId("main").querySelector("a")).focus();
  const more = now.running - now.going.length;
  text(byId("going-more"), more > 0 && now.going.length ? `and ${count(more)} more` : "");
}

function show(found) {
  now = found;
  if (now.state !== "running") paused = false;
  else if (now.written !== wanted) paused = now.paused; // else the run has not written since the button
  badge(byId("state"), paused ? "paused" : now.state);
  const problem = byId("problem");
  text(problem, now.problem ?? "");
  problem.hidden = !now.problem;
  const percent = numbers();
  controls();
  going();
  const state = paused ? "paused" : now.state;
  const words = `${state === "left" ? "not finished" : state}: ${jobs(now.ok)} ok, ${count(now.failed)} failed, ${count(now.left)} left`;
  if (said && said !== state) tell(words, true);
  else if (percent !== null && Math.floor(percent / 10) !== decile && now.state === "running") tell(`${percent}% done, ${count(now.failed)} failed`);
  decile = percent === null ? -1 : Math.floor(percent / 10);
  if (said === "running" && now.state !== "running") listJobs(path);
  said = state;
}

function failures(found) {
  const all = found.groups.reduce((sum, group) => sum + group.number, 0);
  byId("failures").hidden = !all;
  text(byId("failures-count"), all ? `${jobs(all)}, by how ${all === 1 ? "it" : "they"} ended and the last line of stderr` : "");
  keyed(byId("groups"), found.groups, (group) => `${group.how} ${group.said}`, (group) => {
    const node = make("li"), how = make("p", "how");
    how.append(make("b"), " ", make("span", "", group.how));
    node.append(how, make("p", "said", group.said), make("p", "which"));
    node.children[1].hidden = !group.said;
    return node;
  }, (node, group) => {
    text(node.children[0].firstChild, `${count(group.number)} ×`);
    const which = node.children[2], words = group.jobs.join(" ") + group.number;
    if (which.dataset.words === words) return;
    which.dataset.words = words;
    keyed(which, [...group.jobs, "more"], (job) => job, (job) => {
      if (job === "more") return make("span");
      const part = make("span"), button = make("button", "plain", `job ${job}`);
      button.type = "button";
      button.addEventListener("click", () => showJob(path, job, button));
      part.append(button, " ");
      return part;
    }, (child, job) => job === "more" && text(child, group.number > group.jobs.length ? ` and ${count(group.number - group.jobs.length)} more` : ""));
  });
  text(byId("groups-more"), found.more ? `and ${count(found.more)} other ways to fail` : "");
}

function redraw() {
  if (picture) draw(picture, now?.state === "running" ? now.going : [], clock(), (job) => showJob(path, job, byId("slots")));
}

let asking = false;

/** A button: one request at a time. Buttons are not disabled meanwhile, which would take the focus from them. */
async function act_(body, done) {
  if (asking) return;
  const answer = byId("answer"), group = byId("controls");
  asking = true;
  group.setAttribute("aria-busy", "true");
  try {
    await ask(path, body);
    if (["pause", "continue"].includes(body.do)) {
      paused = body.do === "pause";
      wanted = now?.written;
    }
    answer.className = "answer";
    text(answer, done);
    if (now) show(now);
  } catch (error) {
    answer.className = "answer wrong";
    text(answer, error.message);
  } finally {
    asking = false;
    group.setAttribute("aria-busy", "false");
  }
}

if (byId("controls")) {
  byId("pause").addEventListener("click", () => act_({ do: "pause" }, "paused: running jobs are suspended"));
  byId("continue").addEventListener("click", () => act_({ do: "continue" }, "continued"));
  byId("retry").addEventListener("click", () => act_({ do: "retry" }, "the failed jobs are done again"));
  byId("resume").addEventListener("click", () => act_({ do: "resume" }, "the run is continued"));
  byId("width").addEventListener("submit", (event) => {
    event.preventDefault();
    const widths = byId("jobs").value.split(",").map(Number);
    act_({ do: "set", jobs: widths }, `${widths.join(", ")} at once from now on`);
  });
  const dialog = byId("ask");
  byId("stop").addEventListener("click", () => dialog.showModal());
  for (const button of dialog.querySelectorAll("button")) {
    button.addEventListener("click", () => {
      dialog.close();
      const how = button.dataset.how;
      if (how) act_({ do: "stop", how }, how === "soon" ? "stopping when the running jobs have ended" : "stopping now");
    });
  }
  byId("job-stop").addEventListener("click", () => {
    const job = Number(byId("job").dataset.job);
    act_({ do: "stop", job }, `job ${job} is being stopped`);
    byId("job").close();
  });
}

setInterval(() => {
  if (!now || now.state !== "running") return;
  numbers();
  going();
  redraw();
}, 1000);
addEventListener("resize", redraw);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
watchJob(() => now);
listJobs(path);
listen(`${path}/events`, {
  now: show,
  failures,
  timeline: (found) => {
    picture = found;
    byId("timeline").hidden = !found.rows.length;
    redraw();
  },
});
