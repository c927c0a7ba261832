// Parts that several views are made of.

import { h } from "./dom.js";
import * as format from "./format.js";
import { address, path } from "./api.js";

/** A link to a view: link({view: "jobs", set: id}, "text"). */
export function link(query, ...children) {
  return h("a", { href: href(query), "data-key": href(query) }, ...children);
}

export function href(query) {
  const parameters = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    if (value !== undefined && value !== null && value !== "") parameters.set(name, value);
  }
  return `?${parameters}`;
}

export const heading = (text, ...beside) => h("div", { class: "heading" }, h("h1", {}, text), ...beside);

export function crumbs(...items) {
  return h("nav", { "aria-label": "Breadcrumb", class: "crumbs" }, h("ol", {}, items.map((item) => h("li", {}, item))));
}

export const loading = (what) => h("p", { class: "empty", role: "status" }, h("span", { class: "spinner", "aria-hidden": "true" }), `Loading ${what} …`);

/** Nothing to see, and what to do about it. */
export const empty = (title, ...wayOut) => h("div", { class: "empty" }, h("p", { class: "empty-title" }, title), h("p", {}, ...wayOut));

export function problemBox(problem, again) {
  return h(
    "div",
    { class: "empty problem" },
    h("p", { class: "empty-title" }, problem.title ?? "The page failed"),
    h("p", {}, problem.wayOut ?? "Reload it; if it stays so, please report it."),
    again && h("p", {}, h("button", { type: "button", onclick: again }, "Try again")),
  );
}

export const when = (seconds) => h("time", { title: format.time(seconds), datetime: iso(seconds), "data-since": seconds }, format.ago(seconds));

/** Let the times that are said as "3 min ago" grow older. */
export function age(root) {
  for (const element of root.querySelectorAll("time[data-since]")) element.textContent = format.ago(Number(element.dataset.since));
}

export const iso = (seconds) => (seconds === null || seconds === undefined || Number.isNaN(seconds) ? null : new Date(seconds * 1000).toISOString());

/** A table: columns are [title, cell function, class]. */
export function table(caption, columns, rows) {
  return h(
    "div",
    { class: "scroll", tabindex: "0", role: "group", "aria-label": caption, "data-key": `table ${caption}` },
    h(
      "table",
      {},
      h("caption", { class: "hidden" }, caption),
      h("thead", {}, h("tr", {}, columns.map(([title, , kind]) => h("th", { scope: "col", class: kind }, title)))),
      h("tbody", {}, rows.map((row) => h("tr", {}, columns.map(([title, cell, kind]) => h("td", { class: kind, "data-label": title }, cell(row)))))),
    ),
  );
}

/** Facts side by side: [[name, value], ...]; those without a value are left out. */
export function facts(items) {
  const shown = items.filter(([, value]) => value !== null && value !== undefined && value !== "");
  return h("dl", { class: "facts" }, shown.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value))));
}

/** Links between the pages of a list; where they lead is in the address, so that going back works. */
export function pager(query, name, next, { first = "First page", more = "Next page" } = {}) {
  const later = query[name] !== undefined;
  if (!later && !next) return null;
  return h(
    "nav",
    { class: "pager", "aria-label": "Pages" },
    later && link({ ...query, [name]: undefined }, first),
    next && link({ ...query, [name]: next }, more),
  );
}

export const rawUrl = (file, parameters = {}) => address(`repos/${path(file.repo)}/raw`, { ref: file.commit, path: file.path, ...parameters });

export const thumbnailUrl = (file) => address(`repos/${path(file.repo)}/thumbnail`, { ref: file.commit, path: file.path });

/** A link to a file in the Repos view. */
export const fileLink = (file, text = file.path) => link({ view: "repos", repo: file.repo, ref: file.commit, file: file.path }, text);

export const isImage = (name) => /\.(jpe?g|png|gif|webp)$/i.test(name);
