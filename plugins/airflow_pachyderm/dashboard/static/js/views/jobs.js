// Jobs: commit sets, newest first; one set; one job with its datums; one datum.

import { airflowLink, taskPath } from "../airflow.js";
import { get, path } from "../api.js";
import { h } from "../dom.js";
import * as format from "../format.js";
import { crumbs, empty, facts, fileLink, heading, href, isImage, link, pager, table, thumbnailUrl, when } from "../parts.js";
import { badge, isActive, progress } from "../states.js";

const BUSY_MS = 1500;
const IDLE_MS = 6000;
const STATES = ["", "failed", "success", "skipped", "recovered"];

export function view(query, tools) {
  if (query.datum && query.pipeline && query.set) return datumView(query, tools);
  if (query.pipeline && query.set) return jobView(query, tools);
  if (query.set) return setView(query, tools);
  return listView(query, tools);
}

const rhythm = (active) => (active ? BUSY_MS : IDLE_MS);

const setCrumb = (query) => link({ view: "jobs", set: query.set }, h("code", {}, format.shortId(query.set)));

// All

function listView(query, { part }) {
  const body = h("div", {});
  part(body, "the jobs", {
    load: (signal) => get("jobsets", { before: query.before, limit: 20 }, signal),
    render: (data) => renderList(data, query),
    every: (data) => (query.before ? null : rhythm(data.items.some((set) => isActive(set.state)))),
  });
  return { title: "Jobs", element: h("div", { class: "stack" }, heading("Jobs"), body) };
}

function renderList(data, query) {
  if (!data.items.length) {
    return query.before
      ? empty("There are no older jobs", link({ view: "jobs" }, "Back to the newest"))
      : empty("No job has run yet", "Jobs start when data comes in: run the DAG push_images in Airflow, or make demo.");
  }
  return [h("ul", { class: "rows" }, data.items.map(setRow)), pager(query, "before", data.next, { first: "Newest", more: "Older" })];
}

function setRow(set) {
  return h(
    "li",
    { class: "row card" },
    h("div", { class: "row-head" }, link({ view: "jobs", set: set.id }, h("code", {}, format.shortId(set.id))), badge(set.state), h("span", { class: "muted" }, when(set.created))),
    h(
      "ul",
      { class: "chips" },
      set.jobs.map((job) =>
        h("li", {}, h("a", { href: href({ view: "jobs", set: set.id, pipeline: job.pipeline }), class: "chip", "data-key": `${set.id} ${job.pipeline}` }, badge(job.state, job.pipeline), h("span", { class: "hidden" }, job.state), progress(job))),
      ),
    ),
  );
}

// One commit set

function setView(query, { part }) {
  const body = h("div", { class: "stack" });
  part(body, "the jobs of this commit", {
    load: (signal) => get(`jobsets/${path(query.set)}`, {}, signal),
    render: renderSet,
    every: (data) => (data.jobs.some((job) => isActive(job.state)) ? BUSY_MS : null),
  });
  const trail = crumbs(link({ view: "jobs" }, "Jobs"), h("code", {}, format.shortId(query.set)));
  return { title: `Commit ${format.shortId(query.set)}`, element: h("div", { class: "stack" }, trail, body) };
}

function renderSet(data) {
  const done = data.jobs.map((job) => job.finished);
  const took = done.length && done.every((end) => end !== null) && data.created !== null ? Math.max(...done) - data.created : null;
  return [
    heading(`Commit ${format.shortId(data.id)}`, data.jobs.length ? badge(data.state) : null),
    h(
      "section",
      { class: "card" },
      facts([
        ["Commit set", h("code", { class: "wrap" }, data.id)],
        ["Began", when(data.created)],
        ["Took", took === null ? null : format.duration(took)],
      ]),
      data.pushed.map(pushedLine),
    ),
    data.jobs.length
      ? h("section", { class: "card" }, h("h2", {}, "Jobs"), jobTable(data.jobs))
      : empty("This commit started no job", "No pipeline reads what it changed."),
  ];
}

function pushedLine(pushed) {
  const where = link({ view: "repos", repo: pushed.repo, tab: "diff", commit: new URLSearchParams(location.search).get("set") }, pushed.branch ? `${pushed.repo}@${pushed.branch}` : pushed.repo);
  const by = pushed.dag_id
    ? [" by the Airflow task ", h("a", airflowLink(taskPath(pushed)), `${pushed.dag_id} · ${pushed.task_id}${pushed.map_index >= 0 ? ` [${pushed.map_index}]` : ""}`), ` (${pushed.run_id})`]
    : [pushed.description && `: ${pushed.description}`];
  return h("p", {}, "Pushed to ", where, ...by);
}

function jobTable(jobs) {
  return table(
    "Jobs of this commit, upstream ones first",
    [
      ["Pipeline", (job) => link({ view: "jobs", set: job.id, pipeline: job.pipeline }, job.pipeline)],
      ["State", (job) => [badge(job.state), job.reason && h("p", { class: "reason" }, job.reason)]],
      ["Datums", progress],
      ["Took", (job) => format.duration(format.elapsed(job)), "right"],
      ["Downloaded", (job) => format.bytes(job.download_bytes), "right"],
      ["Uploaded", (job) => format.bytes(job.upload_bytes), "right"],
    ],
    jobs,
  );
}

// One job

function jobView(query, { part, go }) {
  const head = h("section", { class: "card", "aria-label": "Job" });
  const datums = h("section", { class: "card", "aria-label": "Datums" });
  const log = h("section", { class: "card", "aria-label": "Log" });
  const base = `jobs/${path(query.pipeline, query.set)}`;
  let active = true;
  part(head, "the job", {
    load: (signal) => get(base, {}, signal),
    render: (job) => {
      active = isActive(job.state);
      return renderJob(job);
    },
    every: (job) => (isActive(job.state) ? BUSY_MS : null),
  });
  part(datums, "the datums", {
    load: (signal) => get(`${base}/datums`, { after: query.after, state: query.state, limit: 50 }, signal),
    render: (data) => renderDatums(data, query, go),
    every: () => (active && !query.after ? BUSY_MS : null),
  });
  part(log, "the log", {
    load: (signal) => get(`${base}/log`, {}, signal),
    render: renderLog,
    every: () => (active ? BUSY_MS : null),
  });
  const trail = crumbs(link({ view: "jobs" }, "Jobs"), setCrumb(query), query.pipeline);
  return { title: `Job ${query.pipeline}`, element: h("div", { class: "stack" }, trail, heading(`Job of ${query.pipeline}`), head, datums, log) };
}

function renderJob(job) {
  return [
    h("p", { class: "row-head" }, badge(job.state), progress(job)),
    job.reason && h("p", { class: "reason" }, job.reason),
    facts([
      ["Pipeline", [link({ view: "pipelines", pipeline: job.pipeline }, job.pipeline), ` version ${job.version}`]],
      ["Output", link({ view: "repos", repo: job.pipeline, ref: job.id }, "files of this commit")],
      ["Began", when(job.started ?? job.created)],
      ["Took", format.duration(format.elapsed(job))],
      ["User code", format.duration(job.process_seconds)],
      ["Downloaded", `${format.bytes(job.download_bytes)} in ${format.duration(job.download_seconds)}`],
      ["Uploaded", `${format.bytes(job.upload_bytes)} in ${format.duration(job.upload_seconds)}`],
      ["Restarts", job.restarts ? String(job.restarts) : null],
    ]),
  ];
}

function renderDatums(data, query, go) {
  const choose = h(
    "label",
    {},
    "Show ",
    h(
      "select",
      { "data-key": "datum state", onchange: (event) => go(href({ ...query, after: undefined, state: event.target.value })) },
      STATES.map((state) => h("option", { value: state, selected: state === (query.state ?? "") }, state || "all")),
    ),
  );
  const rows = table(
    "Datums",
    [
      ["Datum", (datum) => link({ ...query, after: undefined, state: undefined, datum: datum.id }, h("code", {}, datum.id.slice(0, 12)))],
      ["State", (datum) => badge(datum.state)],
      ["Inputs", (datum) => shortInputs(datum.inputs)],
      ["User code", (datum) => format.duration(datum.process_seconds), "right"],
      ["Uploaded", (datum) => format.bytes(datum.upload_bytes), "right"],
    ],
    data.items,
  );
  const none = h("p", { class: "hint" }, query.state ? `No datum is ${query.state}.` : "None is done yet, or the job has none.");
  return [h("div", { class: "heading" }, h("h2", {}, "Datums"), choose), data.items.length ? rows : none, pager(query, "after", data.next)];
}

const shortInputs = (inputs) => (inputs.length > 3 ? `${inputs.slice(0, 3).join(", ")} and ${inputs.length - 3} more` : inputs.join(", "));

function renderLog(log) {
  const lines = log.lines.filter((line) => line.message);
  return [
    h("h2", {}, "Log"),
    lines.some((line) => line.time !== null) && h("p", { class: "hint" }, `Times are those of ${format.zone}.`),
    log.cut && h("p", { class: "hint" }, "Only its end is shown; pachctl logs has all of it."),
    lines.length
      ? h(
          "pre",
          { class: "log", tabindex: "0", "data-key": "log" },
          lines.map((line) => h("span", { class: line.user ? "log-user" : "log-worker" }, `${line.time === null ? "" : format.clock(line.time)}  ${line.message}\n`)),
        )
      : !log.note && h("p", { class: "hint" }, "Nothing was written."),
    log.note && h("p", { class: "hint" }, log.note),
  ];
}

// One datum

function datumView(query, { part }) {
  const head = h("div", { class: "stack" });
  const log = h("section", { class: "card", "aria-label": "Log" });
  const base = `jobs/${path(query.pipeline, query.set)}`;
  part(head, "the datum", { load: (signal) => get(`${base}/datums/${path(query.datum)}`, {}, signal), render: renderDatum });
  part(log, "the log", { load: (signal) => get(`${base}/log`, { datum: query.datum }, signal), render: renderLog });
  const trail = crumbs(link({ view: "jobs" }, "Jobs"), setCrumb(query), link({ ...query, datum: undefined }, query.pipeline), h("code", {}, query.datum.slice(0, 12)));
  return { title: "Datum", element: h("div", { class: "stack" }, trail, heading(`Datum of ${query.pipeline}`), head, log) };
}

function renderDatum(datum) {
  return [
    h(
      "section",
      { class: "card" },
      h("p", {}, badge(datum.state)),
      facts([
        ["Id", h("code", { class: "wrap" }, datum.id)],
        ["User code", format.duration(datum.process_seconds)],
        ["Downloaded", format.bytes(datum.download_bytes)],
        ["Uploaded", format.bytes(datum.upload_bytes)],
      ]),
    ),
    h("section", { class: "card" }, h("h2", {}, "Inputs"), fileList(datum.files)),
    h("section", { class: "card" }, h("h2", {}, "Outputs"), fileList(datum.outputs), datum.outputs_note && h("p", { class: "hint" }, datum.outputs_note)),
  ];
}

function fileList(files) {
  if (!files.length) return h("p", { class: "hint" }, "None.");
  return h(
    "ul",
    { class: "files" },
    files.map((file) =>
      h(
        "li",
        {},
        isImage(file.path) && h("img", { src: thumbnailUrl(file), alt: "", loading: "lazy", class: "tiny" }),
        file.path.endsWith("/") ? link({ view: "repos", repo: file.repo, ref: file.commit, path: file.path.replace(/\/$/, "") || "/" }, `${file.repo}:${file.path}`) : fileLink(file, `${file.repo}:${file.path}`),
        h("span", { class: "muted" }, ` ${format.bytes(file.size_bytes)}`),
      ),
    ),
  );
}
