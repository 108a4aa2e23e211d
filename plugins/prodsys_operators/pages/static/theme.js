// Light or dark, before anything is drawn: as Airflow's UI round this page has it, else as chosen here, else as the system.
"use strict";
(() => {
  const root = document.documentElement;
  const outer = () => {
    try {
      if (window.parent === window) return null;
      const classes = window.parent.document.documentElement.classList;
      return classes.contains("dark") ? "dark" : classes.contains("light") ? "light" : null;
    } catch {
      return null;
    }
  };
  const stored = () => {
    try {
      return localStorage.getItem("prodsys-theme");
    } catch {
      return null;
    }
  };
  const system = matchMedia("(prefers-color-scheme: dark)");
  const apply = () => {
    const theme = outer() || stored() || (system.matches ? "dark" : "light");
    if (root.dataset.theme !== theme) {
      root.dataset.theme = theme;
      window.dispatchEvent(new Event("prodsys-theme"));
    }
  };
  window.prodsysTheme = { apply, framed: outer() !== null };
  if (window.parent !== window) root.dataset.framed = "";
  apply();
  system.addEventListener("change", apply);
  if (window.prodsysTheme.framed) {
    new MutationObserver(apply).observe(window.parent.document.documentElement, {
      attributes: true,
      attributeFilter: ["class"],
    });
  }
})();
