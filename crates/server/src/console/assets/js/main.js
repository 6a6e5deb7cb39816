// Starts the page: language and theme first, so that nothing flashes in the wrong one, then the search, then the page that the address names.

import { byId } from "./dom.js";
import { redrawPage, startPages } from "./pages.js";
import { redrawSearch, startSearch } from "./search/page.js";
import { nameTheme, startTheme } from "./theme-switch.js";
import { startLanguage, switchLanguage } from "./words.js";

startLanguage();
startTheme();
byId("language").addEventListener("click", () => {
  switchLanguage();
  nameTheme();
  redrawSearch();
  redrawPage();
});
byId("skip").addEventListener("click", (event) => {
  event.preventDefault(); // the part behind # names pages here
  const results = byId("results");
  (byId("search").hidden || !results.firstChild ? byId("main") : results).focus();
});
startPages();
await startSearch();
