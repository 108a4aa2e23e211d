// Live numbers, charts, and links out of Airflow's frame. The pages work without it; then they are reloaded by hand.
import { drawCharts, redrawCharts } from "./charts.js";

const EVERY_MS = 5000;
const SLOWEST_MS = 60000;
const main = document.getElementById("content");
const freshness = document.querySelector("[data-freshness]");
let wait = EVERY_MS;
let etag = "";
let timer = 0;
let seen = Date.now();

const busy = () => {
  const active = document.activeElement;
  const typing = active && main.contains(active) && active.matches("input, select, textarea");
  return typing || main.querySelector("details.confirm[open]") !== null;
};

const say = (text) => {
  if (freshness && freshness.textContent !== text) freshness.textContent = text;
};

const schedule = () => {
  clearTimeout(timer);
  if (!document.hidden) timer = setTimeout(refresh, wait * (0.8 + 0.4 * Math.random()));
};

const morph = (html) => {
  window.Idiomorph.morph(main, html, {
    morphStyle: "innerHTML",
    ignoreActiveValue: true,
    callbacks: {
      beforeNodeMorphed: (old) => !(old instanceof Element && old.hasAttribute("data-keep")),
      beforeAttributeUpdated: (name, node) => !(name === "open" && node.tagName === "DETAILS"),
    },
  });
};

async function refresh() {
  if (busy()) return schedule();
  try {
    const headers = { "X-Prodsys-Live": "1" };
    if (etag) headers["If-None-Match"] = etag;
    const answer = await fetch(location.href, { headers, credentials: "same-origin", cache: "no-store" });
    if (answer.status === 401) return location.reload();
    if (!answer.ok && answer.status !== 304) throw new Error(String(answer.status));
    if (answer.status === 200) {
      const html = await answer.text();
      etag = answer.headers.get("etag") || "";
      if (!busy()) {
        morph(html);
        redrawCharts();
      }
    }
    seen = Date.now();
    wait = EVERY_MS;
    main.classList.remove("stale");
    say(`Live; last looked ${new Date(seen).toISOString().slice(11, 19)}.`);
  } catch {
    wait = Math.min(wait * 2, SLOWEST_MS);
    main.classList.add("stale");
    say(`The server does not answer since ${new Date(seen).toISOString().slice(11, 19)}; it is asked again.`);
  }
  schedule();
}

if (main.dataset.live !== undefined) {
  document.addEventListener("visibilitychange", () => {
    clearTimeout(timer);
    if (!document.hidden) refresh();
  });
  say("Live.");
  schedule();
}

// A page in a sandboxed frame may not lead its own links to the window round it; that window's links may.
document.addEventListener("click", (event) => {
  const link = event.target instanceof Element ? event.target.closest("a[data-airflow]") : null;
  if (!link || window.parent === window || event.ctrlKey || event.metaKey) return;
  try {
    const outer = window.parent.document.createElement("a");
    outer.href = link.href;
    window.parent.document.body.append(outer);
    event.preventDefault();
    outer.click();
    outer.remove();
  } catch {
    // Another site's frame: the browser decides.
  }
});

const toggle = document.querySelector("[data-theme-toggle]");
if (toggle && !window.prodsysTheme.framed) {
  const root = document.documentElement;
  const name = () => (root.dataset.theme === "dark" ? "Light" : "Dark");
  toggle.hidden = false;
  toggle.textContent = name();
  toggle.addEventListener("click", () => {
    localStorage.setItem("prodsys-theme", root.dataset.theme === "dark" ? "light" : "dark");
    window.prodsysTheme.apply();
    toggle.textContent = name();
  });
}

for (const log of document.querySelectorAll("[data-log]")) log.scrollTop = log.scrollHeight;
drawCharts();
