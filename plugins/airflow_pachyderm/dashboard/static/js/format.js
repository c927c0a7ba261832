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

/** The installation's time zone, in which all times are shown: whoever looks from elsewhere sees the same as the reports and mails. */
export const zone = knownZone(document.documentElement.dataset.timeZone);

function knownZone(name) {
  try {
    return new Intl.DateTimeFormat(undefined, { timeZone: name }).resolvedOptions().timeZone && name;
  } catch {
    return "UTC"; // a zone that this browser has never heard of
  }
}

const exact = new Intl.DateTimeFormat(undefined, {
  timeZone: zone,
  year: "numeric",
  month: "short",
  day: "numeric",
  hour: "numeric",
  minute: "2-digit",
  second: "2-digit",
  timeZoneName: "short",
});

/** Unix seconds in the installation's time zone, which is named. */
export const time = (seconds) => (seconds === null || seconds === undefined || Number.isNaN(seconds) ? "–" : exact.format(seconds * 1000));

const parts = new Intl.DateTimeFormat("en-GB", {
  timeZone: zone,
  hourCycle: "h23",
  year: "numeric",
  month: "2-digit",
  day: "2-digit",
  hour: "2-digit",
  minute: "2-digit",
  second: "2-digit",
});

/** The clock of the installation's time zone at a moment, in milliseconds, as if it were UTC. */
function wall(milliseconds) {
  const found = Object.fromEntries(parts.formatToParts(milliseconds).map(({ type, value }) => [type, Number(value)]));
  return Date.UTC(found.year, found.month - 1, found.day, found.hour, found.minute, found.second);
}

/** Hours, minutes and seconds. */
export const clock = (seconds) => new Date(wall(Math.floor(seconds) * 1000)).toISOString().slice(11, 19);

/** What a datetime field holds ("2026-03-29T01:30"), taken as of the installation's time zone, as Unix seconds. */
export function moment(text) {
  if (!text) return undefined;
  const wanted = Date.parse(`${text}Z`);
  let found = wanted;
  for (let turn = 0; turn < 2; turn += 1) found += wanted - wall(found); // twice: the first may land beyond a change of the clock
  return Math.floor(found / 1000);
}

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
