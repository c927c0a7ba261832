// The frame of the page: which view is shown, and what is said when something is wrong.

import { followTheme, framed, mirrorAddress } from "./airflow.js";
import { h, show } from "./dom.js";
import { Live } from "./live.js";
import { age, loading, problemBox } from "./parts.js";
import * as jobs from "./views/jobs.js";
import * as pipelines from "./views/pipelines.js";
import * as repos from "./views/repos.js";
import * as status from "./views/status.js";
import * as threats from "./views/threats.js";

const VIEWS = { status, pipelines, jobs, repos, threats };
const main = document.getElementById("main");
const notice = document.getElementById("notice");
const fresh = document.getElementById("fresh");
let parts = [];

/** Tell above the view what is wrong; what was loaded before stays to be read. */
function tell(problem, again) {
  // In a frame the login page would nest Airflow in itself.
  const login = problem.kind === "anonymous" && !framed && h("a", { href: "../auth/login", class: "button" }, "Log in");
  notice.replaceChildren(
    h(
      "div",
      { class: "notice" },
      h("p", {}, h("strong", {}, problem.title ?? "The page failed"), " ", problem.wayOut ?? "Reload it; if it stays so, please report it."),
      login || h("button", { type: "button", onclick: again }, "Try now"),
    ),
  );
}

/**
 * What a view gets to build itself: part(element, what, options) loads into an element again and again. The element first says that it is
 * loading, then what was loaded; a first failure is said in it, a later one above the view.
 */
function part(element, what, { load, render, every }) {
  let loaded = false;
  show(element, loading(what));
  const live = new Live({
    load,
    every,
    show: (data) => {
      show(element, render(data, live));
      if (!loaded) element.dispatchEvent(new Event("loaded"));
      loaded = true;
    },
    done: () => {
      notice.replaceChildren();
      fresh.dataset.state = "live";
      fresh.textContent = "Up to date";
      document.body.classList.remove("stale");
    },
    fail: (problem) => {
      const again = () => live.refresh();
      fresh.dataset.state = "stale";
      fresh.textContent = loaded ? "Not up to date" : "";
      const general = problem.retry || problem.kind === "anonymous" || problem.kind === "forbidden";
      if (loaded || general) tell(problem, again);
      if (!loaded) show(element, problemBox(problem, again));
      else document.body.classList.add("stale");
    },
  });
  parts.push(live);
  return live;
}

function render({ focus }) {
  for (const live of parts) live.stop();
  parts = [];
  notice.replaceChildren();
  document.body.classList.remove("stale");
  fresh.textContent = "";
  const query = Object.fromEntries(new URLSearchParams(location.search));
  const name = Object.hasOwn(VIEWS, query.view ?? "") ? query.view : "status";
  for (const item of document.querySelectorAll("#views a")) {
    if (item.dataset.view === name) item.setAttribute("aria-current", "page");
    else item.removeAttribute("aria-current");
  }
  const { title, element } = VIEWS[name].view({ ...query, view: name }, { part, go });
  document.title = `${title} · Pachyderm`;
  show(main, element);
  mirrorAddress();
  if (focus) {
    main.focus({ preventScroll: true });
    window.scrollTo(0, 0);
  }
}

/** Go to a view of this page: "?view=jobs". */
function go(target, { replace = false } = {}) {
  history[replace ? "replaceState" : "pushState"](null, "", target);
  render({ focus: !replace });
}

document.addEventListener("click", (event) => {
  const anchor = event.target.closest?.("a[href^='?']");
  if (!anchor || event.defaultPrevented || event.button || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
  event.preventDefault();
  go(anchor.getAttribute("href"));
});
window.addEventListener("popstate", () => render({ focus: true }));

setInterval(() => !document.hidden && age(main), 5000);

followTheme();
render({ focus: false });
