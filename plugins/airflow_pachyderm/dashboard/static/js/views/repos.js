// Repos: the list; one repo's files and commits; one file; the difference that a commit made.

import { get, getText, path } from "../api.js";
import { h } from "../dom.js";
import * as format from "../format.js";
import { crumbs, empty, facts, heading, href, isImage, link, loading, pager, rawUrl, table, when } from "../parts.js";
import { badge } from "../states.js";

const IDLE_MS = 10000;
const TEXT_BYTES = 128 * 1024;

export function view(query, tools) {
  if (!query.repo) return listView(query, tools);
  if (query.file) return fileView(query, tools);
  if (query.tab === "diff" && query.commit) return diffView(query, tools);
  return repoView(query, tools);
}

// All

function listView(query, { part }) {
  const body = h("div", {});
  part(body, "the repos", {
    load: (signal) => get("repos", { after: query.after }, signal),
    render: (data) => renderList(data, query),
    every: () => IDLE_MS,
  });
  return { title: "Repos", element: h("div", { class: "stack" }, heading("Repos"), body) };
}

function renderList(data, query) {
  if (!data.items.length) {
    return empty("There is no repo yet", "The DAG bootstrap_pipelines makes them, or run make demo; by hand: pachctl create repo images.");
  }
  const rows = table(
    "Repos",
    [
      ["Repo", (repo) => link({ view: "repos", repo: repo.name }, repo.name)],
      ["Made by", (repo) => (repo.pipeline ? link({ view: "pipelines", pipeline: repo.name }, `pipeline ${repo.name}`) : "users")],
      ["Size", (repo) => format.bytes(repo.size_bytes), "right"],
      ["Branches", (repo) => repo.branches.join(", ") || "none"],
      ["Created", (repo) => when(repo.created)],
      ["Description", (repo) => repo.description || "–"],
    ],
    data.items,
  );
  return [h("section", { class: "card" }, rows), pager(query, "after", data.next)];
}

// One repo

function repoView(query, { part, go }) {
  const ref = query.ref ?? "master";
  const tab = query.tab === "commits" ? "commits" : "files";
  const head = h("section", { class: "card", "aria-label": "Repo" });
  const body = h("section", { class: "card", "aria-label": tab === "commits" ? "Commits" : "Files" });
  part(head, "the repo", {
    load: (signal) => get(`repos/${path(query.repo)}`, {}, signal),
    render: (repo) => renderRepo(repo, { ...query, ref }, go),
    every: () => IDLE_MS,
  });
  if (tab === "commits") {
    part(body, "the commits", {
      load: (signal) => get(`repos/${path(query.repo)}/commits`, { ref, before: query.before }, signal),
      render: (data) => renderCommits(data, query),
      every: () => (query.before ? null : IDLE_MS),
    });
  } else {
    part(body, "the files", {
      load: (signal) => get(`repos/${path(query.repo)}/files`, { ref, path: query.path ?? "/", after: query.after, limit: 100 }, signal),
      render: (data) => renderFiles(data, { ...query, ref }),
      every: () => (query.after ? null : IDLE_MS),
    });
  }
  const choice = (name, label) => {
    const target = href({ view: "repos", repo: query.repo, ref: query.ref, tab: name === "files" ? undefined : name });
    return h("li", {}, h("a", { href: target, "aria-current": name === tab ? "page" : null }, label));
  };
  const tabs = h("nav", { "aria-label": "Repo" }, h("ul", { class: "tabs small" }, choice("files", "Files"), choice("commits", "Commits")));
  const trail = crumbs(link({ view: "repos" }, "Repos"), query.repo);
  return { title: `Repo ${query.repo}`, element: h("div", { class: "stack" }, trail, heading(query.repo), head, tabs, body) };
}

function renderRepo(repo, query, go) {
  const names = repo.heads.map((branch) => branch.name);
  const options = names.includes(query.ref) ? names : [...names, query.ref];
  const choose = h(
    "select",
    { "aria-label": "Branch or commit", "data-key": "branch", onchange: (event) => go(href({ view: "repos", repo: repo.name, tab: query.tab, ref: event.target.value })) },
    options.map((name) => h("option", { value: name, selected: name === query.ref }, name)),
  );
  return [
    repo.description && h("p", {}, repo.description),
    facts([
      [names.includes(query.ref) ? "Branch" : "Branch or commit", choose],
      ["Size", format.bytes(repo.size_bytes)],
      ["Created", when(repo.created)],
      ["Written by", repo.pipeline ? link({ view: "pipelines", pipeline: repo.name }, `pipeline ${repo.name}`) : "users"],
    ]),
  ];
}

function commitLine(commit) {
  return h("p", { class: "row-head" }, h("code", { title: commit.id }, format.shortId(commit.id)), badge(commit.state), h("span", { class: "muted" }, when(commit.finished ?? commit.started), " · ", format.bytes(commit.size_bytes)));
}

function folderCrumbs(query) {
  const parts = (query.path ?? "/").split("/").filter(Boolean);
  const to = (depth) => `/${parts.slice(0, depth).join("/")}`;
  const base = { view: "repos", repo: query.repo, ref: query.ref };
  return h(
    "nav",
    { class: "crumbs", "aria-label": "Folder" },
    h("ol", {}, h("li", {}, link({ ...base, path: "/" }, "/")), parts.map((name, index) => h("li", {}, link({ ...base, path: to(index + 1) }, name)))),
  );
}

function renderFiles(data, query) {
  const base = { view: "repos", repo: query.repo, ref: query.ref };
  const open = (entry) =>
    entry.is_dir
      ? link({ ...base, path: entry.path.replace(/\/$/, "") }, `${format.baseName(entry.path)}/`)
      : link({ ...base, ref: data.commit.id, file: entry.path }, format.baseName(entry.path));
  const rows = table(
    "Files",
    [
      ["Name", open],
      ["Size", (entry) => format.bytes(entry.size_bytes), "right"],
      ["Digest", (entry) => h("code", { title: entry.digest, class: "muted" }, entry.digest.slice(0, 12))],
    ],
    data.items,
  );
  const none = query.after ? h("p", { class: "hint" }, "No more files.") : empty("No file here", data.commit.state === "open" ? "The commit is still open: files may follow." : "This commit holds none in this folder.");
  return [commitLine(data.commit), folderCrumbs(query), data.items.length ? rows : none, pager(query, "after", data.next)];
}

function renderCommits(data, query) {
  const rows = table(
    "Commits, newest first",
    [
      ["Commit", (commit) => link({ view: "repos", repo: query.repo, tab: "diff", commit: commit.id }, h("code", {}, format.shortId(commit.id)))],
      ["State", (commit) => [badge(commit.state), commit.error && h("p", { class: "reason" }, commit.error)]],
      ["Finished", (commit) => when(commit.finished ?? commit.started)],
      ["Size", (commit) => format.bytes(commit.size_bytes), "right"],
      ["By", (commit) => (commit.origin === "user" ? commit.description || "a user" : "a pipeline")],
      ["Jobs", (commit) => link({ view: "jobs", set: commit.id }, "jobs")],
      ["Files", (commit) => link({ view: "repos", repo: query.repo, ref: commit.id }, "files")],
    ],
    data.items,
  );
  return [rows, pager(query, "before", data.next, { first: "Newest", more: "Older" })];
}

// One commit

function diffView(query, { part }) {
  const body = h("section", { class: "card", "aria-label": "Changes" });
  part(body, "the changes", {
    load: (signal) => get(`repos/${path(query.repo)}/diff`, { commit: query.commit, after: query.after }, signal),
    render: (data) => renderDiff(data, query),
  });
  const trail = crumbs(link({ view: "repos" }, "Repos"), link({ view: "repos", repo: query.repo, tab: "commits" }, query.repo), h("code", {}, format.shortId(query.commit)));
  return { title: `Changes of ${format.shortId(query.commit)}`, element: h("div", { class: "stack" }, trail, heading(`Changes in ${query.repo}`), body) };
}

const SIGNS = { added: "+ added", removed: "− removed", modified: "± changed" };

function renderDiff(data, query) {
  const file = (change) =>
    change.change === "removed"
      ? link({ view: "repos", repo: query.repo, ref: data.commit.parent, file: change.path }, change.path)
      : link({ view: "repos", repo: query.repo, ref: data.commit.id, file: change.path }, change.path);
  const size = (bytes) => (bytes === null ? "–" : format.bytes(bytes));
  const rows = table(
    "Changed files",
    [
      ["Change", (change) => h("span", { class: `change change-${change.change}` }, SIGNS[change.change])],
      ["File", file],
      ["Before", (change) => size(change.old_size_bytes), "right"],
      ["After", (change) => size(change.new_size_bytes), "right"],
    ],
    data.items,
  );
  return [
    commitLine(data.commit),
    data.commit.description && h("p", {}, data.commit.description),
    h("p", {}, link({ view: "jobs", set: data.commit.id }, "Jobs of this commit"), " · ", link({ view: "repos", repo: query.repo, ref: data.commit.id }, "All its files")),
    data.items.length ? rows : empty("Nothing changed", data.commit.parent ? "It holds the same files as its parent." : "It is the first commit and it is empty."),
    pager(query, "after", data.next),
  ];
}

// One file

function fileView(query) {
  const file = { repo: query.repo, commit: query.ref ?? "master", path: query.file };
  const folder = file.path.slice(0, file.path.lastIndexOf("/")) || "/";
  const body = h("div", { class: "preview" });
  preview(body, file);
  const trail = crumbs(link({ view: "repos" }, "Repos"), link({ view: "repos", repo: file.repo, ref: query.ref }, file.repo), link({ view: "repos", repo: file.repo, ref: query.ref, path: folder }, folder), format.baseName(file.path));
  const save = h("a", { href: rawUrl(file, { download: "true" }), class: "button", download: format.baseName(file.path) }, "Download");
  return { title: format.baseName(file.path), element: h("div", { class: "stack" }, trail, heading(format.baseName(file.path), save), h("section", { class: "card" }, body)) };
}

async function preview(body, file) {
  const fail = (problem) => body.replaceChildren(empty(problem.title ?? "It cannot be shown", problem.wayOut ?? "Download it instead."));
  if (isImage(file.path)) {
    const image = h("img", { src: rawUrl(file), alt: format.baseName(file.path), class: "large", onerror: () => fail({ title: "This is not an image that a browser shows" }) });
    body.replaceChildren(h("a", { href: rawUrl(file) }, image));
    return;
  }
  body.replaceChildren(loading("the file"));
  try {
    const { type, text } = await getText(rawUrl(file, { max_bytes: TEXT_BYTES }));
    if (!type.startsWith("text/")) {
      body.replaceChildren(empty("This file is not text", "Download it to look into it."));
      return;
    }
    const cut = text.length >= TEXT_BYTES - 3;
    body.replaceChildren(cut ? h("p", { class: "hint" }, `The first ${format.bytes(TEXT_BYTES)}; download it for the rest.`) : "", h("pre", { tabindex: "0" }, pretty(text, file.path)));
  } catch (problem) {
    fail(problem);
  }
}

function pretty(text, name) {
  if (!name.endsWith(".json")) return text;
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}
