// Is everything all right: the first view.

import { airflowLink } from "../airflow.js";
import { get } from "../api.js";
import { h } from "../dom.js";
import * as format from "../format.js";
import { empty, facts, heading, link, table, when } from "../parts.js";

const REFRESH_MS = 10000;
const DAY_SECONDS = 86400;

export function view(query, { part }) {
  const body = h("div", { class: "stack" });
  part(body, "the status", {
    load: (signal) => get("status", {}, signal),
    render: (data) => [summary(data), warnings(data), runs(data), cameras(data), invalid(data), restarts(data)],
    every: () => REFRESH_MS,
  });
  return { title: "Status", element: h("div", { class: "stack" }, heading("Is everything all right?"), body) };
}

const card = (title, ...children) => h("section", { class: "card", "aria-label": title }, h("h2", {}, title), ...children);

/** What a person should look at, in a few words each. */
function concerns(data) {
  const found = data.runs.filter((run) => run.state !== "success").map((run) => `the last run of ${run.dag_id} failed`);
  if (data.warnings.length) found.push(format.plural(data.warnings.length, "warning"));
  const lately = restarted(data).filter((restart) => Date.now() / 1000 - restart.time < DAY_SECONDS);
  if (lately.length) found.push(`${names(lately)}: ended by itself and was started again in the last 24 hours`);
  if (!data.told) found.push("no run has reported yet");
  return found;
}

function summary(data) {
  const found = concerns(data);
  const last = data.runs[0];
  const newest = data.cameras[data.cameras.length - 1];
  return card(
    "Summary",
    h("p", {}, h("strong", {}, found.length ? `To look at: ${found.join("; ")}.` : "Nothing is wrong that anybody knows of.")),
    facts([
      ["Last report", last && [last.dag_id, " ", moment(last.time)]],
      ["Newest image", newest && [newest.device, " ", when(newest.time)]],
      ["Mail", data.mail_on === null ? "not known" : data.mail_on ? "on" : "off"],
      ["Invalid images", invalidCount(data)],
      ["Threats", link({ view: "threats" }, "the newest")],
    ]),
  );
}

const seconds = (text) => (text ? Date.parse(text) / 1000 : null);
const moment = (text) => when(seconds(text));
const invalidCount = (data) => `${format.number(data.invalid_count)}${data.invalid_count >= 1000 ? " or more" : ""}`;

const restarted = (data) => data.restarts ?? [];
const names = (restarts) => [...new Set(restarts.map((restart) => restart.part))].sort().join(", ");

function warnings(data) {
  if (!data.told) return card("Warnings", empty("Not known yet", "Run bootstrap_pipelines or push_images: their reports say what is wrong with rules, model and settings."));
  return card(
    "Warnings",
    data.warnings.length ? h("ul", {}, data.warnings.map((text) => h("li", {}, text))) : h("p", {}, "None about rules, model and settings."),
    h("p", {}, `Mail: ${data.mail}.`),
    h("p", {}, "As of ", moment(data.time), "."),
  );
}

function runs(data) {
  if (!data.runs.length) return card("Last runs", empty("No run has reported yet", "Trigger push_images in Airflow with a folder of images."));
  const page = (run) => `dags/${encodeURIComponent(run.dag_id)}/runs/${encodeURIComponent(run.run_id)}`;
  return card(
    "Last runs",
    table(
      "Last runs",
      [
        ["DAG", (run) => h("a", airflowLink(page(run)), run.dag_id)],
        ["When", (run) => moment(run.time)],
        ["State", (run) => run.state],
        ["Report", (run) => (run.report ? link({ view: "repos", repo: run.report.repo, file: run.report.path }, "report") : "–")],
        ["Reason", (run) => run.reason],
      ],
      data.runs,
    ),
  );
}

function cameras(data) {
  if (!data.cameras.length) return card("Cameras", empty("No image was looked at yet", "Trigger push_images in Airflow with a folder of images."));
  return card(
    "Cameras",
    h("p", {}, "The one that has been silent for longest first.", data.more_cameras && " Not all cameras are shown."),
    table(
      "Cameras",
      [
        ["Camera", (camera) => camera.device],
        ["Last image", (camera) => when(camera.time)],
        ["Threats", (camera) => link({ view: "threats", device: camera.device }, "threats")],
      ],
      data.cameras,
    ),
  );
}

function invalid(data) {
  if (!data.invalid_count) return card("Invalid images", h("p", {}, "None."));
  const left = data.invalid_count - data.invalid.length;
  return card(
    "Invalid images",
    table("Invalid images", [["Image", (item) => item.name], ["Reason", (item) => item.reason]], data.invalid),
    left > 0 && h("p", {}, link({ view: "repos", repo: "validate", path: "/invalid" }, `${format.number(left)} more`)),
  );
}

/** Parts of the installation that ended unasked; nothing where nobody writes that down. */
function restarts(data) {
  if (data.restarts === null) return null;
  if (!data.restarts.length) return card("Started again", h("p", {}, "No part has ended by itself since the last start."));
  return card(
    "Started again",
    h("p", {}, "Parts that ended by themselves and were started again since the last start, the newest first."),
    table(
      "Started again",
      [
        ["Part", (restart) => restart.part],
        ["When", (restart) => when(restart.time)],
        ["How it ended", (restart) => restart.how],
        ["The end of its log", (restart) => logEnd(restart)],
      ],
      data.restarts,
    ),
  );
}

const logEnd = (restart) =>
  restart.log.length ? h("details", {}, h("summary", {}, "show"), h("pre", { class: "log", tabindex: "0" }, restart.log.join("\n"))) : "empty";
