// States by colour, by shape and by word: no one of them alone has to be seen.

import { h, s } from "./dom.js";

// Shapes on a 16 x 16 field.
const SHAPES = {
  check: "M3 8.5l3.2 3.2L13 5",
  cross: "M4 4l8 8M12 4l-8 8",
  play: "M5 3.5v9l7.5-4.5z",
  pause: "M5.5 3.5v9M10.5 3.5v9",
  square: "M4.5 4.5h7v7h-7z",
  ban: "M8 2.5a5.5 5.5 0 100 11 5.5 5.5 0 000-11zM4.2 4.2l7.6 7.6",
  clock: "M8 2.5a5.5 5.5 0 100 11 5.5 5.5 0 000-11zM8 5v3.2l2 1.6",
  bang: "M8 3v6M8 12.4v.2",
  moon: "M11.8 10A5 5 0 017 3.6 5 5 0 1011.8 10z",
  dots: "M3.5 8h.1M8 8h.1M12.5 8h.1",
  question: "M5.8 6A2.3 2.3 0 118 8.4V9.6M8 12.4v.2",
};

const STATES = {
  created: ["Waiting", "clock", "wait"],
  starting: ["Starting", "clock", "wait"],
  running: ["Running", "play", "run"],
  egressing: ["Sending out", "dots", "run"],
  finishing: ["Finishing", "dots", "run"],
  success: ["Succeeded", "check", "good"],
  failure: ["Failed", "cross", "bad"],
  killed: ["Stopped", "square", "bad"],
  unrunnable: ["Cannot run", "ban", "bad"],
  restarting: ["Restarting", "clock", "wait"],
  paused: ["Paused", "pause", "idle"],
  standby: ["Standby", "moon", "idle"],
  crashing: ["Crashing", "bang", "bad"],
  open: ["Open", "dots", "run"],
  finished: ["Finished", "check", "good"],
  failed: ["Failed", "cross", "bad"],
  skipped: ["Skipped", "dots", "idle"],
  recovered: ["Recovered", "bang", "wait"],
  unknown: ["Unknown", "question", "idle"],
};

const ACTIVE = new Set(["created", "starting", "running", "egressing", "finishing"]);

export const describe = (state) => {
  const [label, shape, tone] = Object.hasOwn(STATES, state) ? STATES[state] : [state, "question", "idle"];
  return { label, shape, tone };
};

export const isActive = (state) => ACTIVE.has(state);

export function shapeOf(state) {
  const { shape } = describe(state);
  return s("path", { d: SHAPES[shape], class: "shape" });
}

export const icon = (state) => s("svg", { viewBox: "0 0 16 16", class: "icon", "aria-hidden": "true" }, shapeOf(state));

/** A state as a badge. A pipeline that runs is ready, which is no activity: it has its own word. */
export function badge(state, label = describe(state).label) {
  return h("span", { class: `badge tone-${describe(state).tone}` }, icon(state), label);
}

export function pipelineBadge(state) {
  return state === "running" ? h("span", { class: "badge tone-good" }, icon("success"), "Ready") : badge(state);
}

/** How far a job is: a bar in parts and the same in words. */
export function progress(job) {
  if (!job.total && !isActive(job.state)) return h("span", { class: "progress-text" }, "no datums");
  const done = job.processed + job.skipped + job.recovered + job.failed;
  const parts = [`${done} of ${job.total}`];
  if (job.skipped) parts.push(`${job.skipped} skipped`);
  if (job.recovered) parts.push(`${job.recovered} recovered`);
  if (job.failed) parts.push(`${job.failed} failed`);
  const part = (count, tone) => count > 0 && h("span", { class: `part tone-${tone}`, "data-share": Math.round((1000 * count) / job.total) });
  const bar = h(
    "span",
    { class: "progress", "aria-hidden": "true" },
    part(job.processed, "good"),
    part(job.skipped, "idle"),
    part(job.recovered, "wait"),
    part(job.failed, "bad"),
  );
  // By script: a style attribute would need a weaker content security policy.
  for (const element of bar.children) element.style.width = `${element.dataset.share / 10}%`;
  return h("span", { class: "progress-line" }, bar, h("span", { class: "progress-text" }, parts.join(", ")));
}
