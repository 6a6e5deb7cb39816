// Sets the remembered theme before anything is painted; without one the system's choice stands. A plain script, not a module, so that
// it runs before the first paint. theme-switch.js holds the button.
try {
  const kept = localStorage.getItem("bilin.theme");
  if (kept === "light" || kept === "dark") document.documentElement.dataset.theme = kept;
} catch {
  // Storage may be switched off; the system's choice then stands.
}
