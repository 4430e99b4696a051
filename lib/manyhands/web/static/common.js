// What all pages share: text is set, never parsed (textContent), and an update changes only what differs, so that the focus stays.

export const byId = (id) => document.getElementById(id);
const meta = (name) => document.querySelector(`meta[name=${name}]`)?.content ?? "";

export function text(node, value) {
  if (node && node.textContent !== value) node.textContent = value;
}

export function make(tag, className = "", said = "") {
  const node = document.createElement(tag);
  if (className) node.className = className;
  if (said !== "") node.textContent = said;
  return node;
}

/** Show `items` in `parent`: a node for each key, made by `create`, brought up to date by `update`, in their order. */
export function keyed(parent, items, key, create, update) {
  const there = new Map([...parent.children].map((node) => [node.dataset.key, node]));
  let before = parent.firstElementChild;
  for (const item of items) {
    const name = String(key(item));
    let node = there.get(name);
    if (node) there.delete(name);
    else {
      node = create(item);
      node.dataset.key = name;
    }
    update(node, item);
    if (node === before) before = before.nextElementSibling;
    else parent.insertBefore(node, before);
  }
  let focused = false;
  for (const node of there.values()) {
    focused ||= node.contains(document.activeElement);
    node.remove();
  }
  return focused; // what had the focus is gone
}

export function duration(seconds) {
  if (seconds >= 0.00005 && seconds < 0.05) return `${(1000 * seconds).toFixed(seconds < 0.00995 ? 1 : 0)} ms`;
  if (seconds < 99.95) return `${Math.max(seconds, 0).toFixed(1)} s`;
  const whole = Math.round(seconds), two = (number) => String(number).padStart(2, "0");
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${two(whole % 60)} s`;
  if (whole < 86400) return `${Math.floor(whole / 3600)} h ${two(Math.floor((whole % 3600) / 60))} min`;
  return `${Math.floor(whole / 86400).toLocaleString("en")} d ${two(Math.floor((whole % 86400) / 3600))} h`;
}

export function size(count) {
  if (!count) return "-";
  let number = count;
  for (const unit of ["B", "KiB", "MiB", "GiB"]) {
    if (number < 1024 || unit === "GiB") return `${unit === "B" || number >= 99.95 ? number.toFixed(0) : number.toFixed(1)} ${unit}`;
    number /= 1024;
  }
  return "";
}

export const count = (number) => number.toLocaleString("en");
export const jobs = (number) => `${count(number)} ${number === 1 ? "job" : "jobs"}`;

export function moment(seconds) {
  const date = new Date(1000 * seconds), now = new Date(), two = (number) => String(number).padStart(2, "0");
  const clock = `${two(date.getHours())}:${two(date.getMinutes())}`;
  if (date.toDateString() === now.toDateString()) return `today ${clock}`;
  const day = `${two(date.getMonth() + 1)}-${two(date.getDate())}`;
  return date.getFullYear() === now.getFullYear() ? `${day} ${clock}` : `${date.getFullYear()}-${day}`;
}

const STATES = { left: "not finished", complete: "complete", running: "running", submitted: "submitted", damaged: "cannot be read", counting: "…", paused: "paused" };

export function badge(node, state, name = STATES[state] ?? state) {
  text(node, name);
  const wanted = `badge ${state}`;
  if (node.className !== wanted) node.className = wanted;
}

export function bar(node, ok, failed, running, all) {
  const part = (number) => `${all ? Math.min(100, (100 * number) / all) : 0}%`;
  const [well, bad, now] = node.children;
  for (const [child, number] of [[well, ok], [bad, failed], [now, running]]) {
    if (child && child.style.width !== part(number)) child.style.width = part(number);
  }
}

/** Ask the server; the answer, or an error with its one line. */
export async function ask(path, body) {
  const headers = { Accept: "application/json" };
  const options = { headers, credentials: "same-origin", cache: "no-store" };
  if (body !== undefined) {
    Object.assign(headers, { "Content-Type": "application/json", "X-CSRF-Token": meta("word") });
    Object.assign(options, { method: "POST", body: JSON.stringify(body) });
  }
  let answer;
  try {
    answer = await fetch(path, options);
  } catch {
    throw new Error("the server does not answer");
  }
  const found = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Error(found.error ?? `the server answered ${answer.status}`);
  return found;
}

/** Server-sent events; `handlers` by the name of the event. A lost connection is said once, and tried again. */
export function listen(path, handlers) {
  const said = byId("connection");
  let source, pause = 1000;
  const state = (name, words) => {
    said.className = `connection ${name}`;
    text(said, words);
  };
  const open = () => {
    source = new EventSource(path);
    source.onopen = () => {
      pause = 1000;
      state("live", "live");
    };
    source.onerror = () => {
      source.close();
      state("lost", "connection lost: trying again");
      setTimeout(open, pause);
      pause = Math.min(2 * pause, 15000);
    };
    for (const [name, handle] of Object.entries(handlers)) {
      source.addEventListener(name, (event) => handle(JSON.parse(event.data)));
    }
    source.addEventListener("machine", (event) => {
      const found = JSON.parse(event.data);
      set(found.at);
      machine(found);
    });
  };
  open();
  addEventListener("pagehide", () => source.close());
  addEventListener("pageshow", (event) => event.persisted && open());
}

let offset = 0;

/** Seconds since the epoch by the clock of the server, from which that of this browser may differ. */
export const clock = () => Date.now() / 1000 + offset;

function set(at) {
  const found = at - Date.now() / 1000;
  offset = Math.abs(found) > 2 ? found : 0; // less is the way of the message
}

function machine(found) {
  const gib = (bytes) => (bytes / 2 ** 30).toFixed(1);
  const parts = [
    found.cpu !== null && ["CPU", `${found.cpu.toFixed(0)}%`, `of ${found.cores} ${found.cores === 1 ? "core" : "cores"}`, found.cpu > 90],
    ["load", found.load[0].toFixed(1), "", found.load[0] > 2 * found.cores],
    ["memory", gib(found.memory.used), `of ${gib(found.memory.total)} GiB`, found.memory.used > 0.9 * found.memory.total],
  ].filter(Boolean);
  keyed(byId("machine"), parts, (part) => part[0], () => {
    const node = make("span");
    node.append(make("span"), " ", make("b"), " ", make("span"));
    return node;
  }, (node, [name, value, of, high]) => {
    node.className = high ? "high" : "";
    text(node.children[0], name);
    text(node.children[1], value);
    text(node.children[2], of);
  });
}

/** Tell a screen reader something new, but not more often than every `pause` milliseconds; what matters most at once. */
export function teller(pause = 20000) {
  let last = 0, before = "";
  return (words, urgent = false) => {
    const now = Date.now();
    if (words === before || (!urgent && now - last < pause)) return;
    last = now;
    before = words;
    text(byId("news"), words);
  };
}
