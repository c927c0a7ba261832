// Pipelines: the graph, and one pipeline beside it.

import { get, path } from "../api.js";
import { h } from "../dom.js";
import * as format from "../format.js";
import { drawGraph } from "../graph.js";
import { empty, facts, heading, link, table, when } from "../parts.js";
import { badge, isActive, pipelineBadge, progress } from "../states.js";

const BUSY_MS = 2000;
const IDLE_MS = 8000;

const busy = (graph) => graph.nodes.some((node) => node.job_state && isActive(node.job_state));

export function view(query, { part }) {
  const graph = h("section", { class: "card", "aria-label": "Graph" });
  const detail = h("section", { class: "card", "aria-label": "Pipeline" });
  let counted = false;
  const live = part(graph, "the pipelines", {
    // The files on the edges take longer to count: the graph is there first.
    load: (signal) => get("graph", { counted: counted ? "true" : "" }, signal),
    render: (data) => renderGraph(data, query.pipeline),
    every: (data) => {
      if (!counted) {
        counted = true;
        return 0;
      }
      return busy(data) ? BUSY_MS : IDLE_MS;
    },
  });
  const redraw = () => {
    live.shown = undefined;
    live.refresh();
  };
  matchMedia("(max-width: 699px)").addEventListener("change", redraw, { once: true });
  if (query.pipeline) {
    part(detail, `pipeline ${query.pipeline}`, {
      load: (signal) => get(`pipelines/${path(query.pipeline)}`, {}, signal),
      render: renderPipeline,
      every: (data) => (data.jobs.some((job) => isActive(job.state)) ? BUSY_MS : IDLE_MS),
    });
  }
  const title = query.pipeline ? `Pipeline ${query.pipeline}` : "Pipelines";
  return { title, element: h("div", { class: "stack" }, heading("Pipelines"), graph, query.pipeline && detail) };
}

function renderGraph(data, selected) {
  if (!data.nodes.length) {
    return empty(
      "There is no repo and no pipeline yet",
      "The DAG bootstrap_pipelines makes them: trigger it in Airflow, or run make demo, which does this and pushes images.",
    );
  }
  return [
    h("div", { class: "scroll graph-scroll", tabindex: "0", role: "group", "aria-label": "Graph, scrolls sideways", "data-key": "graph" }, drawGraph(data, selected)),
    h("p", { class: "hint" }, "Choose a pipeline for its spec, state and jobs, or a repo for its files. On the arrows: what a pipeline reads, and how many files that is now."),
  ];
}

function renderPipeline(data) {
  return [
    h("div", { class: "heading" }, h("h2", {}, data.name), pipelineBadge(data.state), h("span", { class: "spacer" }), link({ view: "pipelines" }, "Close")),
    data.reason && h("p", { class: "reason" }, data.reason),
    data.description && h("p", {}, data.description),
    facts([
      ["Version", String(data.version)],
      ["Created", data.created && when(data.created)],
      ["Workers", `${data.workers_available} of ${data.workers_requested}`],
      ["Reads", list(data.inputs.map((edge) => [link({ view: "repos", repo: edge.source, ref: edge.branch }, edge.source), ` ${edge.glob}`]))],
      ["Writes", link({ view: "repos", repo: data.name }, data.name)],
      ["Read by", data.readers.length ? list(data.readers.map((name) => link({ view: "pipelines", pipeline: name }, name))) : "no pipeline"],
    ]),
    h("h3", {}, "Last jobs"),
    data.jobs.length ? jobTable(data.jobs) : h("p", { class: "hint" }, "None yet: a job starts when data comes into one of its inputs."),
    data.workers.length > 0 && [h("h3", {}, "At work now"), workers(data.workers)],
    h(
      "details",
      { "data-key": "spec" },
      h("summary", {}, "Spec"),
      h("p", { class: "hint" }, "Values of environment variables are never shown."),
      h("pre", { tabindex: "0" }, JSON.stringify(data.spec, null, 2)),
    ),
  ];
}

const list = (items) => h("ul", { class: "inline" }, items.map((item) => h("li", {}, item)));

function jobTable(jobs) {
  return table(
    "Last jobs",
    [
      ["Job", (job) => link({ view: "jobs", set: job.id, pipeline: job.pipeline }, h("code", {}, format.shortId(job.id)))],
      ["State", (job) => badge(job.state)],
      ["Datums", progress],
      ["Began", (job) => when(job.started ?? job.created)],
      ["Took", (job) => format.duration(format.elapsed(job)), "right"],
    ],
    jobs,
  );
}

function workers(items) {
  return table(
    "Workers",
    [
      ["Worker", (worker) => h("code", {}, worker.id)],
      ["Since", (worker) => when(worker.started)],
      ["Datum", (worker) => worker.inputs.join(", ") || "–"],
    ],
    items,
  );
}
