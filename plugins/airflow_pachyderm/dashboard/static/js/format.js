// Numbers and times for people.

const UNITS = ["B", "kB", "MB", "GB", "TB", "PB"];

export function bytes(count) {
  let value = count;
  let unit = 0;
  while (value >= 999.5 && unit < UNITS.length - 1) {
    value /= 1000;
    unit += 1;
  }
  return `${unit && value < 9.95 ? value.toFixed(1) : Math.round(value)} ${UNITS[unit]}`;
}

export const number = (count) => count.toLocaleString("en");

export const plural = (count, noun) => `${number(count)} ${noun}${count === 1 ? "" : "s"}`;

export function duration(seconds) {
  if (seconds === null || seconds === undefined) return "–";
  if (seconds < 1) return `${Math.round(seconds * 1000)} ms`;
  if (seconds < 9.95) return `${seconds.toFixed(1)} s`;
  if (seconds < 60) return `${Math.round(seconds)} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} min ${Math.round(seconds % 60)} s`;
  const hours = Math.floor(minutes / 60);
  return hours < 48 ? `${hours} h ${minutes % 60} min` : `${Math.floor(hours / 24)} days`;
}

const exact = new Intl.DateTimeFormat(undefined, {
  year: "numeric",
  month: "short",
  day: "numeric",
  hour: "numeric",
  minute: "2-digit",
  second: "2-digit",
  timeZoneName: "short",
});

/** Unix seconds in the reader's own time zone, which is named. */
export const time = (seconds) => (seconds === null || seconds === undefined ? "–" : exact.format(seconds * 1000));

export function ago(seconds) {
  if (seconds === null || seconds === undefined) return "–";
  const past = Date.now() / 1000 - seconds;
  if (past < 5) return "just now";
  return past < 86400 * 3 ? `${duration(Math.floor(past))} ago` : time(seconds);
}

/** How long a job ran, or runs. */
export function elapsed(job) {
  if (job.started === null) return null;
  return Math.max(0, (job.finished ?? Date.now() / 1000) - job.started);
}

export const shortId = (id) => id.slice(0, 8);

export const percent = (score) => `${Math.round(score * 100)} %`;

export const baseName = (path) => path.replace(/\/$/, "").split("/").pop();
