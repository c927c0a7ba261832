// The graph of repos and pipelines: dagre places it, this draws it.

import { Graph, layout } from "../vendor/dagre.js";
import { s } from "./dom.js";
import { href } from "./parts.js";
import { describe, shapeOf } from "./states.js";
import * as format from "./format.js";

const WIDTH = 190;
const HEIGHT = { pipeline: 74, repo: 52 };
const CHARACTER = 6.3;
const NARROW = 700;

const id = (node) => `${node.kind}:${node.name}`;

function countText(edge) {
  if (edge.glob === "/") return "/ · everything";
  if (edge.files === null) return edge.glob;
  return `${edge.glob} · ${edge.more ? `${format.number(edge.files)}+ files` : format.plural(edge.files, "file")}`;
}

const shorten = (text, length) => (text.length > length ? `${text.slice(0, length - 1)}…` : text);

function place(graph, direction) {
  const placed = new Graph({ multigraph: true });
  placed.setGraph({ rankdir: direction, nodesep: 28, ranksep: direction === "LR" ? 34 : 26, edgesep: 14, marginx: 8, marginy: 8 });
  placed.setDefaultEdgeLabel(() => ({}));
  const kinds = new Map(graph.nodes.map((node) => [node.name, node.kind]));
  for (const node of graph.nodes) placed.setNode(id(node), { node, width: WIDTH, height: HEIGHT[node.kind] });
  graph.edges.forEach((edge, index) => {
    const text = shorten(countText(edge), 30);
    placed.setEdge(
      `${kinds.get(edge.source)}:${edge.source}`,
      `${kinds.get(edge.target)}:${edge.target}`,
      { edge, text, width: text.length * CHARACTER + 14, height: 22, labelpos: "c" },
      String(index),
    );
  });
  layout(placed);
  return placed;
}

/** A smooth line through the points that dagre gives. */
function curve(points) {
  const [first, ...rest] = points;
  let d = `M${first.x},${first.y}`;
  rest.forEach((point, index) => {
    const next = rest[index + 1];
    d += next ? `Q${point.x},${point.y} ${(point.x + next.x) / 2},${(point.y + next.y) / 2}` : `L${point.x},${point.y}`;
  });
  return d;
}

function drawEdge({ edge, text, points, x, y }) {
  const width = text.length * CHARACTER + 10;
  return s(
    "g",
    { class: "edge" },
    s("title", {}, `${edge.target} reads ${edge.source}@${edge.branch}, glob ${edge.glob}`),
    s("path", { d: curve(points), "marker-end": "url(#arrow)" }),
    s("rect", { x: x - width / 2, y: y - 9, width, height: 18, rx: 9 }),
    s("text", { x, y: y + 4, "text-anchor": "middle" }, text),
  );
}

function jobText(node) {
  if (!node.job_state) return "no job yet";
  const failed = node.failed ? `, ${node.failed} failed` : "";
  return `${node.done} of ${format.plural(node.total, "datum")}${failed}`;
}

/** What a pipeline shows: its own state unless all is well there, then the last job's. */
export function shownState(node) {
  if (node.state !== "running" && node.state !== "standby") return { state: node.state, label: describe(node.state).label };
  if (!node.job_state) return { state: node.state === "standby" ? "standby" : "success", label: node.state === "standby" ? "Standby" : "Ready" };
  return { state: node.job_state, label: describe(node.job_state).label };
}

function drawNode({ node, x, y, width, height }, selected) {
  const left = x - width / 2;
  const top = y - height / 2;
  const name = s("text", { class: "name", x: left + 14, y: top + 23 }, s("title", {}, node.name), shorten(node.name, 22));
  if (node.kind === "repo") {
    return s(
      "a",
      { href: href({ view: "repos", repo: node.name }), class: "node repo", "data-key": `node ${node.name}`, "aria-label": `Repo ${node.name}, ${format.bytes(node.size_bytes)}` },
      s("rect", { x: left, y: top, width, height, rx: height / 2 }),
      s("text", { class: "name", x, y: top + 23, "text-anchor": "middle" }, shorten(node.name, 22)),
      s("text", { class: "small", x, y: top + 40, "text-anchor": "middle" }, node.reason || `repo · ${format.bytes(node.size_bytes)}`),
    );
  }
  const { state, label } = shownState(node);
  return s(
    "a",
    {
      href: href({ view: "pipelines", pipeline: node.name }),
      class: `node pipeline tone-${describe(state).tone}`,
      "data-key": `node ${node.name}`,
      "aria-current": node.name === selected ? "true" : null,
      "aria-label": `Pipeline ${node.name}: ${label}, ${jobText(node)}`,
    },
    s("rect", { x: left, y: top, width, height, rx: 8 }),
    s("rect", { class: "edge-mark", x: left, y: top, width: 6, height, rx: 3 }),
    name,
    s("svg", { x: left + 13, y: top + 31, width: 16, height: 16, viewBox: "0 0 16 16", class: "icon" }, shapeOf(state)),
    s("text", { class: "state", x: left + 34, y: top + 43 }, label),
    s("text", { class: "small", x: left + 14, y: top + 62 }, `${jobText(node)} · ${format.bytes(node.size_bytes)}`),
  );
}

/** Draw the graph left to right, or top to bottom where the window is narrow. */
export function drawGraph(graph, selected) {
  const placed = place(graph, window.innerWidth < NARROW ? "TB" : "LR");
  const { width, height } = placed.graph();
  const edges = placed.edges().map((edge) => drawEdge(placed.edge(edge)));
  const nodes = placed.nodes().map((name) => drawNode(placed.node(name), selected));
  const arrow = s("marker", { id: "arrow", viewBox: "0 0 8 8", refX: 7, refY: 4, markerWidth: 7, markerHeight: 7, orient: "auto" }, s("path", { d: "M0 0L8 4L0 8z" }));
  const drawing = s(
    "svg",
    { class: "graph", viewBox: `0 0 ${width} ${height}`, role: "group", "aria-label": "Repos and pipelines, from the data to the results" },
    s("defs", {}, arrow),
    edges,
    nodes,
  );
  // Never larger than life, and never too small to be read: then it scrolls.
  drawing.style.width = `${width}px`;
  drawing.style.minWidth = `${Math.min(width, width * 0.72)}px`;
  return drawing;
}
