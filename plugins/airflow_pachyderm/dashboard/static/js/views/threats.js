// Threats: what the pipeline found, newest first; one threat with the way of its image through the stages.

import { get, path } from "../api.js";
import { drawCharts } from "../charts.js";
import { h } from "../dom.js";
import * as format from "../format.js";
import { crumbs, empty, facts, fileLink, heading, href, iso, link, pager, rawUrl, table, thumbnailUrl, when } from "../parts.js";
import { badge } from "../states.js";

const REFRESH_MS = 10000;
const ALERTS = {
  sent: "Mail sent",
  off: "Mail is off",
  "too-old": "Too old for a mail",
  "outside-window": "Outside the alert hours",
  cooldown: "No mail so soon after the last",
};

const alertText = ({ alert }) => (Object.hasOwn(ALERTS, alert) ? ALERTS[alert] : alert);

export const view = (query, tools) => (query.device && query.time ? detailView(query, tools) : listView(query, tools));

// All

function listView(query, { part, go }) {
  const filters = h("section", { class: "card", "aria-label": "Filters" });
  const charts = h("section", { class: "card", "aria-label": "Counts" });
  const list = h("section", { "aria-label": "Threats" });
  const known = { devices: query.device ? [query.device] : [], classes: query.label ? [query.label] : [] };
  const redrawFilters = () => filters.replaceChildren(filterForm(query, known, go));
  const learn = (name, values) => {
    const all = [...new Set([...known[name], ...values])].sort();
    if (all.length === known[name].length) return;
    known[name] = all;
    if (!filters.contains(document.activeElement)) redrawFilters();
  };
  redrawFilters();
  part(list, "the threats", {
    load: (signal) => get("threats", { ...filterOf(query), after: query.after, limit: 24 }, signal),
    render: (data) => {
      learn("devices", data.devices);
      learn("classes", data.items.flatMap((item) => item.objects.map((found) => found.label)));
      return renderList(data, query);
    },
    every: () => (query.after ? null : REFRESH_MS),
  });
  part(charts, "the counts", {
    load: (signal) => get("threats/counts", {}, signal),
    render: (data) => {
      learn("classes", data.classes.map((bar) => bar.name));
      return drawCharts(data);
    },
    every: () => REFRESH_MS,
  });
  return { title: "Threats", element: h("div", { class: "stack" }, heading("Threats"), filters, list, charts) };
}

const filterOf = (query) => ({ device: query.device, label: query.label, since: format.moment(query.since), until: format.moment(query.until) });

function filterForm(query, known, go) {
  const select = (name, label, values, all) =>
    h(
      "label",
      {},
      label,
      h("select", { name }, h("option", { value: "" }, all), values.map((value) => h("option", { value, selected: value === query[name] }, value))),
    );
  const field = (name, label) => h("label", {}, label, h("input", { type: "datetime-local", name, value: query[name] ?? "" }));
  const apply = (event) => {
    event.preventDefault();
    go(href({ view: "threats", ...Object.fromEntries(new FormData(event.target.closest("form"))) }));
  };
  const filtered = query.device || query.label || query.since || query.until;
  return h(
    "form",
    { class: "filters", onsubmit: apply, onchange: (event) => event.target.tagName === "SELECT" && apply(event) },
    select("device", "Device", known.devices, "all devices"),
    select("label", "Class", known.classes, "all classes"),
    field("since", `From (${format.zone})`),
    field("until", `To (${format.zone})`),
    h("button", { type: "submit" }, "Filter"),
    filtered && link({ view: "threats" }, "Show all"),
  );
}

function renderList(data, query) {
  const filtered = query.device || query.label || query.since || query.until;
  const more = pager(query, "after", data.next, { first: "Newest", more: "Older" });
  if (!data.items.length) {
    if (data.next) return [empty(`None of the newest ${format.number(data.scanned)} matches`, "Look further back."), more];
    if (filtered || query.after) return empty("No threat matches", link({ view: "threats" }, "Show all threats"));
    return empty("No threat so far", "Images without people, cars or whatever the rules name leave none. To see one: make demo.");
  }
  return [h("ul", { class: "grid" }, data.items.map(card)), data.note && h("p", { class: "hint" }, data.note), more];
}

const summary = (threat) => threat.objects.map((found) => `${found.label} ${format.percent(found.score)}`).join(", ");

function card(threat) {
  const target = { view: "threats", device: threat.device, time: threat.timestamp };
  const seen = Number.parseInt(threat.timestamp, 10);
  const picture = threat.image
    ? h("img", { src: thumbnailUrl(threat.image), alt: `${threat.device}: ${summary(threat)}`, loading: "lazy", width: 480, height: 360 })
    : h("span", { class: "no-image" }, "The image is gone");
  return h(
    "li",
    { class: "card threat" },
    h("a", { href: href(target), "data-key": href(target), class: "threat-link" }, picture),
    h(
      "div",
      { class: "threat-text" },
      h("p", { class: "threat-head" }, h("strong", {}, threat.device), h("time", { datetime: iso(seen) }, format.time(seen))),
      h("ul", { class: "chips" }, threat.objects.slice(0, 6).map((found) => h("li", { class: "label" }, h("bdi", {}, found.label), h("span", { class: "score" }, format.percent(found.score))))),
      h(
        "p",
        { class: "muted small" },
        threat.source && link({ view: "repos", repo: "images", file: `/${threat.source}` }, "Original image"),
        threat.source && " · ",
        link(target, "History"),
        threat.alert && ` · ${alertText(threat)}`,
      ),
    ),
  );
}

// One

function detailView(query, { part }) {
  const body = h("div", { class: "stack" });
  part(body, "the threat", { load: (signal) => get(`threats/${path(query.device, query.time)}`, {}, signal), render: renderDetail });
  const trail = crumbs(link({ view: "threats" }, "Threats"), link({ view: "threats", device: query.device }, query.device), format.time(Number.parseInt(query.time, 10)));
  return { title: `Threat of ${query.device}`, element: h("div", { class: "stack" }, trail, heading(`${query.device}, ${format.time(Number.parseInt(query.time, 10))}`), body) };
}

function figure(file, caption) {
  return h(
    "figure",
    {},
    file ? h("a", { href: href({ view: "repos", repo: file.repo, ref: file.commit, file: file.path }) }, h("img", { src: rawUrl(file), alt: caption, class: "large" })) : h("p", { class: "no-image" }, "It is not there any more"),
    h("figcaption", {}, caption, file && [" · ", fileLink(file, `${file.repo}:${file.path}`)]),
  );
}

function renderDetail(threat) {
  return [
    h("section", { class: "card pair", "aria-label": "Images" }, figure(threat.image, "With what was found"), figure(threat.original, "Original image")),
    h(
      "section",
      { class: "card" },
      h("h2", {}, "Found"),
      table(
        "Objects",
        [
          ["Class", (found) => h("bdi", {}, found.label)],
          ["Score", (found) => format.percent(found.score), "right"],
        ],
        threat.objects,
      ),
      facts([["Alert", alertText(threat)]]),
    ),
    h("section", { class: "card" }, h("h2", {}, "Its way through the stages"), h("ol", { class: "timeline" }, threat.steps.map(step))),
    h("section", { class: "card" }, h("details", {}, h("summary", {}, "The record as it was written"), h("pre", { tabindex: "0" }, JSON.stringify(threat.record, null, 2)))),
  ];
}

function step(item) {
  const state = item.job ? badge(item.job.state) : item.commit ? badge("finished", "Arrived") : badge("unknown", "Not there");
  return h(
    "li",
    {},
    h("p", { class: "row-head" }, h("strong", {}, item.stage), state, item.time !== null && h("span", { class: "muted" }, when(item.time))),
    h("ul", { class: "files" }, item.files.map((file) => h("li", {}, fileLink(file), h("span", { class: "muted" }, ` ${format.bytes(file.size_bytes)}`)))),
    h(
      "p",
      { class: "muted small" },
      item.commit && link({ view: "jobs", set: item.commit, pipeline: item.job ? item.stage : undefined }, item.job ? "job" : "commit", " ", h("code", {}, format.shortId(item.commit))),
      item.job && ` took ${format.duration(format.elapsed(item.job))}`,
      item.note && ` ${item.note}`,
    ),
  );
}
