// Two pictures: what each slot did, and how many jobs ended when. Drawn again when there is something new; colours are those of the page.
import { byId, count, duration, text } from "./common.js";

const ROW = 14, GAP = 3, AXIS = 20, LABEL = 58, HEIGHT = 90;

function begin(id, height) {
  const canvas = byId(id), width = canvas.clientWidth, ratio = devicePixelRatio || 1;
  canvas.style.height = `${height}px`;
  if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
  }
  const pen = canvas.getContext("2d");
  pen.setTransform(ratio, 0, 0, ratio, 0, 0);
  pen.clearRect(0, 0, width, height);
  pen.font = `11px ${getComputedStyle(document.body).fontFamily}`;
  pen.textBaseline = "middle";
  return { canvas, pen, width };
}

function step(seconds, room) {
  const steps = [0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 21600, 43200, 86400, 172800, 604800];
  return steps.find((one) => (one / seconds) * room >= 64) ?? 1209600;
}

const short = (seconds) => (seconds < 60 ? `${+seconds.toFixed(1)} s` : seconds < 3600 ? `${+(seconds / 60).toFixed(1)} min` : seconds < 172800 ? `${+(seconds / 3600).toFixed(1)} h` : `${+(seconds / 86400).toFixed(1)} d`);

function axis(pen, colours, span, left, width, height) {
  const each = step(span, width - left);
  pen.fillStyle = colours.soft;
  pen.strokeStyle = colours.line;
  pen.lineWidth = 1;
  pen.textAlign = "left";
  for (let at = 0; at <= span; at += each) {
    const x = Math.round(left + (at / span) * (width - left)) + 0.5;
    pen.beginPath();
    pen.moveTo(x, 0);
    pen.lineTo(x, height - AXIS + 4);
    pen.stroke();
    if (x < width - 34) pen.fillText(short(at), x + 2, height - 7);
  }
}

export function draw(picture, going, now, open) {
  const style = getComputedStyle(document.documentElement), colour = (name) => style.getPropertyValue(`--${name}`).trim();
  const colours = Object.fromEntries(["ok", "failed", "running", "soft", "line", "text", "faint", "left"].map((name) => [name, colour(name)]));
  const live = going.length ? now - picture.start : 0;
  const span = Math.max(picture.columns * picture.width, live, 0.1);
  const hits = slots(picture, going, now, span, colours);
  ends(picture, span, colours);
  const canvas = byId("slots");
  canvas.onmousemove = (event) => {
    const hit = find(hits, event);
    canvas.style.cursor = hit?.job ? "pointer" : "";
    text(byId("pointed"), hit?.words ?? "");
  };
  canvas.onmouseleave = () => text(byId("pointed"), "");
  canvas.onclick = (event) => {
    const hit = find(hits, event);
    if (hit?.job) open(hit.job);
  };
}

function find(hits, event) {
  const x = event.offsetX, y = event.offsetY;
  for (let at = hits.length - 1; at >= 0; at -= 1) {
    const hit = hits[at];
    if (y >= hit.y && y < hit.y + ROW + GAP && x >= hit.x - 1 && x <= hit.x + hit.w + 1) return hit;
  }
  return null;
}

function slots(picture, going, now, span, colours) {
  const rows = picture.rows.map((row) => ({ ...row }));
  const places = new Map(rows.map((row, at) => [row.key.join(" "), at]));
  for (const one of going) {
    const key = `${one.stage} ${one.host ?? ""} ${one.slot}`;
    if (!places.has(key) && rows.length < 64) {
      places.set(key, rows.length);
      rows.push({ key: [one.stage, one.host ?? "", one.slot], name: one.host ? `${one.host} ${one.slot}` : `slot ${one.slot}`, busy: null, bad: null });
    }
  }
  const height = rows.length * (ROW + GAP) + AXIS;
  const { canvas, pen, width } = begin("slots", height);
  axis(pen, colours, span, LABEL, width, height);
  const scale = (width - LABEL) / span, hits = [];
  pen.fillStyle = colours.soft;
  rows.forEach((row, at) => pen.fillText(row.name, 0, at * (ROW + GAP) + ROW / 2, LABEL - 6));
  const put = (row, from, wide, fill, hit) => {
    const x = LABEL + from * scale, y = row * (ROW + GAP), w = Math.max(wide * scale, 1);
    pen.fillStyle = fill;
    pen.fillRect(x, y, w > 3 ? w - 0.7 : w, ROW);
    if (hit) hits.push({ x, y, w, ...hit });
  };
  let bad = 0;
  if (picture.bars) {
    for (const [row, from, wide, status, job, attempt] of picture.bars) {
      const well = status === "ok";
      bad += !well;
      put(row, from, wide, well ? colours.ok : colours.failed, { job, words: `job ${job}${attempt > 1 ? `, try ${attempt}` : ""}: ${status}, ${duration(wide)}` });
      if (!well && wide * scale > 4) {
        pen.fillStyle = colours.text;
        pen.fillRect(LABEL + from * scale, row * (ROW + GAP) + ROW - 2, wide * scale - 0.7, 2);
      }
    }
  } else {
    rows.forEach((row, at) => row.busy?.forEach((busy, column) => {
      if (!busy && !row.bad[column]) return;
      pen.globalAlpha = 0.15 + (0.85 * busy) / 100;
      const words = `${row.name}: ${busy}% busy${row.bad[column] ? `, ${count(row.bad[column])} failed` : ""}`;
      put(at, column * picture.width, picture.width, colours.ok, { words });
      pen.globalAlpha = 1;
      if (row.bad[column]) {
        pen.fillStyle = colours.failed;
        pen.fillRect(LABEL + column * picture.width * scale, at * (ROW + GAP) + ROW - 5, Math.max(picture.width * scale - 0.7, 1), 5);
      }
    }));
  }
  for (const one of going) {
    const row = places.get(`${one.stage} ${one.host ?? ""} ${one.slot}`);
    if (row !== undefined) put(row, Math.max(0, one.since - picture.start), Math.max(0, now - one.since), colours.running, { job: one.job, words: `job ${one.job} runs for ${duration(now - one.since)}` });
  }
  canvas.setAttribute("aria-label", `What each of ${rows.length} slots did in ${duration(span)}. The table of jobs below has the same in words.`);
  text(byId("slots-note"), `${picture.bars ? "each bar is an attempt" : `each cell is ${duration(picture.width)} of a slot: the fuller, the busier`}${picture.more ? `; ${count(picture.more)} attempts in further slots are not drawn` : ""}`);
  return hits;
}

/** Columns that are wide enough to be seen apart: each of the same number of the picture's. */
function joined(values, each) {
  const found = [];
  values.forEach((value, at) => (found[Math.floor(at / each)] = (found[Math.floor(at / each)] ?? 0) + value));
  return found;
}

function ends(exact, span, colours) {
  const each = Math.max(1, Math.ceil(8 / ((exact.width / span) * (byId("ends").clientWidth - LABEL))));
  const picture = { width: each * exact.width, ok: joined(exact.ok, each), bad: joined(exact.bad, each) };
  const { canvas, pen, width } = begin("ends", HEIGHT + AXIS);
  axis(pen, colours, span, LABEL, width, HEIGHT + AXIS);
  const most = Math.max(1, ...picture.ok.map((ok, at) => ok + picture.bad[at]));
  const scale = (width - LABEL) / span, wide = picture.width * scale, up = (HEIGHT - 8) / most;
  picture.ok.forEach((ok, at) => {
    const x = LABEL + at * wide, bad = picture.bad[at], w = Math.max(wide > 3 ? wide - 0.7 : wide, 0.7);
    pen.fillStyle = colours.ok;
    pen.fillRect(x, HEIGHT - (ok + bad) * up, w, ok * up);
    pen.fillStyle = colours.failed;
    pen.fillRect(x, HEIGHT - bad * up, w, bad * up);
  });
  pen.fillStyle = colours.soft;
  pen.textAlign = "left";
  pen.fillText(count(most), 0, 8, LABEL - 6);
  text(byId("ends-note"), `in each ${duration(picture.width)}`);
  const ok = picture.ok.reduce((sum, one) => sum + one, 0), bad = picture.bad.reduce((sum, one) => sum + one, 0);
  canvas.setAttribute("aria-label", `${count(ok + bad)} attempts ended in ${duration(span)}, ${count(bad)} of them not well; at most ${count(most)} in ${duration(picture.width)}.`);
}
