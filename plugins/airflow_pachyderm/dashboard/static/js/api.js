// Requests to the page's own API, which lies beside it.

/** What went wrong, in words for the reader. `kind` is the server's, or "offline". */
export class Problem extends Error {
  constructor({ kind, title, way_out, retry, status }) {
    super(title);
    Object.assign(this, { kind, title, wayOut: way_out, retry: Boolean(retry), status });
  }
}

/** The address of something in the API; parameters that are null, undefined or "" are left out. */
export function address(path, parameters = {}) {
  const url = new URL(`api/${path}`, document.baseURI);
  for (const [name, value] of Object.entries(parameters)) {
    if (value !== undefined && value !== null && value !== "") url.searchParams.set(name, value);
  }
  return url.href;
}

/** A path of names, each encoded. */
export const path = (...names) => names.map(encodeURIComponent).join("/");

async function request(url, signal) {
  try {
    return await fetch(url, { signal, credentials: "same-origin" });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem({
      kind: "offline",
      title: "Airflow does not answer",
      way_out: "Look whether its API server runs and whether you are connected. This page goes on by itself when it is back.",
      retry: true,
    });
  }
}

async function refuse(response) {
  let said = {};
  try {
    said = await response.json();
  } catch {
    // A proxy in between answers in its own way.
  }
  throw new Problem({
    kind: said.kind ?? (response.status === 401 ? "anonymous" : "failed"),
    title: said.title ?? `Airflow answered ${response.status}`,
    way_out: said.way_out ?? "Try again; if it stays so, the log of Airflow's API server says why.",
    retry: said.retry ?? response.status >= 500,
    status: response.status,
  });
}

/** An answer as JSON. Throws Problem. */
export async function get(path, parameters, signal) {
  const response = await request(address(path, parameters), signal);
  if (!response.ok) await refuse(response);
  return response.json();
}

/** A file of a repo as text, up to maxBytes. */
export async function getText(url, signal) {
  const response = await request(url, signal);
  if (!response.ok) await refuse(response);
  return { type: response.headers.get("Content-Type") ?? "", text: await response.text() };
}
