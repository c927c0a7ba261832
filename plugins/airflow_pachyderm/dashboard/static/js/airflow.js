// The page's place in Airflow's UI, which shows it in a frame: its theme, its address, and links to Airflow's own pages.

/** Whether Airflow's UI is around this page. */
export const framed = window.parent !== window;

/** Where Airflow's UI is: the folder above this page. */
const base = new URL("..", document.baseURI).pathname;

function parentDocument() {
  try {
    return framed ? window.parent.document : null;
  } catch {
    return null; // framed by something else
  }
}

/** Follow Airflow's light or dark theme, or the system's outside of Airflow. */
export function followTheme() {
  const system = matchMedia("(prefers-color-scheme: dark)");
  const root = parentDocument()?.documentElement;
  const apply = () => {
    const themed = root && (root.classList.contains("dark") || root.classList.contains("light"));
    const dark = themed ? root.classList.contains("dark") : system.matches;
    document.documentElement.dataset.theme = dark ? "dark" : "light";
    document.dispatchEvent(new Event("themechange"));
  };
  apply();
  system.addEventListener("change", apply);
  if (root) new MutationObserver(apply).observe(root, { attributes: true, attributeFilter: ["class"] });
}

/** Let the address bar show where the reader is, so that it can be copied and reloaded. */
export function mirrorAddress() {
  if (!parentDocument() || !window.parent.location.pathname.startsWith(`${base}plugin/`)) return;
  window.parent.history.replaceState(window.parent.history.state, "", `${base}plugin/pachyderm${location.pathname}${location.search}`);
}

/** Attributes of a link to a page of Airflow. In a frame such a link would nest Airflow in itself: its router is told instead. */
export function airflowLink(path) {
  const href = base + path;
  return {
    href,
    onclick: (event) => {
      if (!parentDocument() || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
      event.preventDefault();
      window.parent.history.pushState({}, "", href);
      window.parent.dispatchEvent(new PopStateEvent("popstate", { state: {} }));
    },
  };
}

/** The task instance that pushed a commit. */
export function taskPath({ dag_id, run_id, task_id, map_index }) {
  const mapped = map_index >= 0 ? `/mapped/${map_index}` : "";
  return `dags/${encodeURIComponent(dag_id)}/runs/${encodeURIComponent(run_id)}/tasks/${encodeURIComponent(task_id)}${mapped}`;
}
